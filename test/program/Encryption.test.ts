import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openKeyFile } from "../../src/cli/KeyFile.ts"
import { generateEncryptionKey } from "../../src/services/EncryptionKey.ts"
import { makeSigner } from "../../src/services/Signing.ts"
import { scene, withDatabase } from "../e2e/Scene.ts"
import { connect, createTables, delivered } from "../e2e/Workload.ts"
import { TestDatabase } from "../support/Database.ts"
import { keysOf } from "../support/Encryption.ts"
import { startService } from "../support/ServiceProcess.ts"

const temporary = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "truss-key-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

const line = (dataDir: string) => Effect.map(Effect.flip(openKeyFile(dataDir)), ({ lines }) => lines.join("\n"))

describe("the key file", () => {
  it.live("is made once, for its owner alone, whoever else starts at the same time", () =>
    Effect.scoped(Effect.gen(function*() {
      const dataDir = join(yield* temporary, "made", "too")
      const all = yield* Effect.forEach(Array.from({ length: 20 }), () => openKeyFile(dataDir), {
        concurrency: "unbounded"
      })
      assert.strictEqual(new Set(all.map(({ keys }) => keys[0].id)).size, 1)
      assert.lengthOf(all.filter(({ made }) => made === join(dataDir, "encryption.key")), 1)
      assert.strictEqual((yield* openKeyFile(dataDir)).keys[0].id, all[0]!.keys[0].id)
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(dataDir)), ["encryption.key"])
      const { mode } = yield* Effect.promise(() => stat(join(dataDir, "encryption.key")))
      assert.strictEqual(mode & 0o777, 0o600)
    })))

  it.live("is refused, and left as it is, where others can read it or it holds no keys", () =>
    Effect.scoped(Effect.gen(function*() {
      const dataDir = yield* temporary
      const path = join(dataDir, "encryption.key")
      const key = generateEncryptionKey()
      for (
        const [text, mode, says] of [
          [key, 0o640, "chmod 600"],
          [key, 0o604, "chmod 600"],
          [key.slice(0, 30), 0o600, "32 bytes in base64"],
          ["", 0o600, "32 bytes in base64"]
        ] as const
      ) {
        yield* Effect.promise(() => writeFile(path, text).then(() => chmod(path, mode)))
        const said = yield* line(dataDir)
        assert.include(said, says)
        assert.notInclude(said, "\n")
        assert.notInclude(said, key.slice(0, 8))
        assert.strictEqual(yield* Effect.promise(() => readFile(path, "utf8")), text)
      }
    })))

  it.live("may hold an older key after the newest, like the setting", () =>
    Effect.scoped(Effect.gen(function*() {
      const dataDir = yield* temporary
      const keys = [generateEncryptionKey(), generateEncryptionKey()]
      yield* Effect.promise(() => writeFile(join(dataDir, "encryption.key"), `${keys.join("\n")}\n`, { mode: 0o600 }))
      assert.deepStrictEqual(
        (yield* openKeyFile(dataDir)).keys.map(({ id }) => id),
        keysOf(...keys).map(({ id }) => id)
      )
    })))
})

const inFolder = (dataDir: string) => ({ TRUSS_DATA_DIR: dataDir, TRUSS_ENCRYPTION_KEY: "" })

describe("processes on one database", { concurrent: true }, () => {
  it.live("share the key file of their folder; one with another folder does not start once a secret is stored", () =>
    withDatabase(Effect.gen(function*() {
      const dataDir = yield* temporary
      const { endpoint, service, sql, url, webhook } = yield* scene(inFolder(dataDir))
      const [key] = (yield* openKeyFile(dataDir)).keys
      const other = yield* startService(url, inFolder(yield* temporary))
      assert.strictEqual((yield* other.ended).code, 1)
      const said = other.output().split("\n").filter((text) => text.includes("TRUSS_ENCRYPTION_KEY"))
      assert.lengthOf(said, 1)
      assert.include(said[0], key.id)
      assert.notInclude(other.output(), "    at ")

      assert.include(service.output(), `made the key ${key.id}`)

      yield* service.kill
      const next = yield* startService(url, inFolder(dataDir))
      yield* next.ready()
      yield* sql`INSERT INTO orders VALUES (1, 'a')`
      yield* sql`INSERT INTO ledger VALUES ('INSERT:a')`
      yield* delivered(sql, endpoint, webhook.id, { describe: next.output })
    })))

  it.live("that start for the first time with different keys both run, and one can store no secrets", () =>
    withDatabase(Effect.gen(function*() {
      const { url } = yield* TestDatabase
      yield* createTables(yield* connect(url))
      const services = yield* Effect.forEach(
        [1, 2],
        () => Effect.flatMap(temporary, (folder) => startService(url, inFolder(folder))),
        { concurrency: 2 }
      )
      yield* Effect.forEach(services, (service) => service.ready(), { concurrency: 2 })
      yield* Effect.raceFirst(services[0]!.ready("notify"), services[1]!.ready("notify"))
      const create = (secret?: string) =>
        Effect.forEach(services, (service) =>
          service.ask("POST", "/api/webhooks", {
            name: "orders",
            table_name: "orders",
            events: ["INSERT"],
            url: "http://127.0.0.1:9/",
            ...(secret === undefined ? {} : { secret })
          }))
      assert.deepStrictEqual((yield* create()).map(({ status }) => status), [201, 201])
      const answers = yield* create("s3cret")
      assert.sameMembers(answers.map(({ status }) => status), [201, 503])
      assert.include(JSON.stringify(answers.find(({ status }) => status === 503)!.body), "TRUSS_ENCRYPTION_KEY")
    })))

  it.live("change the key with a restart, and once more to be rid of the old one", () =>
    withDatabase(Effect.gen(function*() {
      const [before, after] = [generateEncryptionKey(), generateEncryptionKey()]
      const { endpoint, service, sql, url, webhook } = yield* scene({ TRUSS_ENCRYPTION_KEY: before })
      yield* service.ask("PATCH", `/api/webhooks/${webhook.id}`, { secret: "whole", headers: { "X-Own": "value" } })
      yield* service.stop
      const both = yield* startService(url, { TRUSS_ENCRYPTION_KEY: `${after},${before}` })
      yield* both.ready()
      assert.include(both.output(), "older encryption keys are not needed any more")
      yield* both.stop
      const alone = yield* startService(url, { TRUSS_ENCRYPTION_KEY: after })
      yield* alone.ready()
      yield* sql`INSERT INTO orders VALUES (1, 'a')`
      yield* sql`INSERT INTO ledger VALUES ('INSERT:a')`
      yield* delivered(sql, endpoint, webhook.id, { describe: alone.output })
      const request = endpoint.received().at(-1)!
      assert.strictEqual(request.headers["x-truss-signature"], makeSigner("whole").body(request.text))
      assert.strictEqual(request.headers["x-own"], "value")
      yield* alone.stop
      const old = yield* startService(url, { TRUSS_ENCRYPTION_KEY: before })
      assert.strictEqual((yield* old.ended).code, 1)
    })))
})
