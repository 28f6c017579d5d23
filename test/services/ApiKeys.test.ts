import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schedule } from "effect"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { DatabaseUnavailable } from "../../src/domain/Errors.ts"
import { ApiKeys } from "../../src/services/ApiKeys.ts"
import { migrate } from "../../src/services/Migrations.ts"
import { Partitions } from "../../src/services/Partitions.ts"
import { TestDatabase } from "../support/Database.ts"

const Migrated = Layer.effectDiscard(migrate()).pipe(
  Layer.provide(Partitions.layer),
  Layer.provideMerge(TestDatabase.layer)
)

const Keys = Layer.provideMerge(ApiKeys.layer(), Migrated)

const lastUsed = Effect.fnUntraced(function*(id: string) {
  const keys = yield* ApiKeys
  return (yield* keys.list).find((key) => key.id === id)?.last_used_at ?? null
})

it.layer(Keys, { excludeTestServices: true })("API keys", (it) => {
  it.effect("are truss_sk_ and 32 random bytes, shown once, and stored as a hash", () =>
    Effect.gen(function*() {
      const keys = yield* ApiKeys
      const sql = yield* PgClient.PgClient
      const created = yield* keys.create("deploy", "read")
      const text = Redacted.value(created.key)
      assert.match(text, /^truss_sk_[A-Za-z0-9_-]{43}$/)
      assert.strictEqual(created.prefix, text.slice(0, 16))
      assert.notInclude(JSON.stringify(created), text)
      assert.notStrictEqual(Redacted.value((yield* keys.create("deploy", "read")).key), text)

      const listed = (yield* keys.list).find((key) => key.id === created.id)
      assert.deepStrictEqual(listed, {
        id: created.id,
        name: "deploy",
        scope: "read",
        prefix: text.slice(0, 16),
        created_at: created.created_at,
        last_used_at: null
      })
      const [row] = yield* sql<{ all: string; hash: Uint8Array }>`
        SELECT k::text AS all, hash FROM truss.api_keys k WHERE id = ${created.id}::uuid`
      assert.strictEqual(row!.hash.length, 32)
      assert.notInclude(row!.all, text.slice(17))
    }))

  it.effect("stand for their owner until they are revoked, and no moment longer", () =>
    Effect.gen(function*() {
      const keys = yield* ApiKeys
      const created = yield* keys.create("ci", "write")
      const owner = { id: created.id, name: "ci", scope: "write" as const }
      assert.deepStrictEqual(yield* keys.verify(created.key), owner)
      assert.deepStrictEqual(yield* keys.verify(created.key), owner)
      yield* keys.revoke(created.id)
      assert.isUndefined(yield* keys.verify(created.key))
      assert.strictEqual((yield* Effect.flip(keys.revoke(created.id)))._tag, "ApiKeyNotFound")
      assert.strictEqual((yield* Effect.flip(keys.revoke("nope")))._tag, "ApiKeyNotFound")
      assert.strictEqual((yield* Effect.flip(keys.revoke("\u0000")))._tag, "ApiKeyNotFound")
    }))

  it.effect("that nobody made stand for nobody", () =>
    Effect.gen(function*() {
      const keys = yield* ApiKeys
      const { key } = yield* keys.create("x", "write")
      const text = Redacted.value(key)
      const others = [
        "",
        "truss_sk_",
        `truss_sk_${"A".repeat(43)}`,
        text.slice(0, -1),
        `${text}x`,
        ` ${text}`,
        "\u0000"
      ]
      for (const other of others) assert.isUndefined(yield* keys.verify(Redacted.make(other)), JSON.stringify(other))
    }))

  it.effect("have a name of 1 to 200 printable characters", () =>
    Effect.gen(function*() {
      const keys = yield* ApiKeys
      for (const name of ["", "a".repeat(201), "a\u0000b", "\ud800"]) {
        const error = yield* Effect.flip(keys.create(name, "read"))
        assert.deepInclude(error, { _tag: "InvalidParameter", path: "name" })
      }
    }))

  it.effect("note when they were last used, at most once a minute", () =>
    Effect.gen(function*() {
      const keys = yield* ApiKeys
      const sql = yield* PgClient.PgClient
      const { id, key } = yield* keys.create("used", "read")
      const verify = Effect.all(Array.from({ length: 20 }, () => keys.verify(key)), { concurrency: "unbounded" })
      const noted = lastUsed(id).pipe(
        Effect.repeat({ until: (at) => at !== null, schedule: Schedule.spaced("10 millis") }),
        Effect.timeout("10 seconds")
      )
      yield* verify
      const first = yield* noted
      yield* verify
      assert.strictEqual(yield* noted, first)
      yield* sql`UPDATE truss.api_keys SET last_used_at = now() - interval '2 minutes' WHERE id = ${id}::uuid`
      const stale = yield* lastUsed(id)
      yield* verify
      yield* lastUsed(id).pipe(
        Effect.repeat({ until: (at) => at !== stale, schedule: Schedule.spaced("10 millis") }),
        Effect.timeout("10 seconds")
      )
    }))

  it.effect("can come from the configuration, unstored, with write scope", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`DELETE FROM truss.api_keys`
      const bare = yield* Effect.provide(ApiKeys, Layer.fresh(ApiKeys.layer()))
      assert.strictEqual(yield* bare.any, false)
      const apiKey = Redacted.make(`truss_sk_${"c".repeat(40)}`)
      const keys = yield* Effect.provide(ApiKeys, Layer.fresh(ApiKeys.layer({ apiKey })))
      assert.strictEqual(yield* keys.any, true)
      assert.deepStrictEqual(yield* keys.verify(apiKey), { id: null, name: "TRUSS_API_KEY", scope: "write" })
      assert.deepStrictEqual(yield* keys.list, [])
      assert.isUndefined(yield* bare.verify(apiKey))
      yield* bare.create("first", "read")
      assert.strictEqual(yield* bare.any, true)
    }))
})

/** A way to the database that can be cut. */
const relayTo = Effect.fnUntraced(function*(target: URL) {
  const sockets = new Set<Socket>()
  const relay = createServer((near) => {
    const far = connect(Number(target.port), target.hostname)
    for (const [socket, other] of [[near, far], [far, near]] as const) {
      sockets.add(socket)
      socket.pipe(other).on("error", () => {})
      socket.on("close", () => other.destroy())
    }
  })
  yield* Effect.callback<void>((resume) => void relay.listen(0, "127.0.0.1", () => resume(Effect.void)))
  const cut = Effect.sync(() => {
    relay.close()
    for (const socket of sockets) socket.destroy()
  })
  yield* Effect.addFinalizer(() => cut)
  const url = new URL(target)
  url.host = `127.0.0.1:${(relay.address() as AddressInfo).port}`
  return { url: Redacted.make(url.href), cut }
})

it.layer(Keys, { excludeTestServices: true })("without a database", (it) => {
  it.effect("no key can be checked but the configured one", () =>
    Effect.gen(function*() {
      const relay = yield* relayTo(new URL((yield* TestDatabase).url))
      const apiKey = Redacted.make(`truss_sk_${"c".repeat(40)}`)
      const keys = yield* Layer.build(
        Layer.provide(ApiKeys.layer({ apiKey }), PgClient.layer({ url: relay.url, connectTimeout: "1 second" }))
      ).pipe(Effect.flatMap((context) => Effect.provide(ApiKeys, context)))
      const { key } = yield* keys.create("x", "read")
      assert.strictEqual((yield* keys.verify(key))?.scope, "read")
      yield* relay.cut
      assert.instanceOf(yield* Effect.flip(keys.verify(key)), DatabaseUnavailable)
      assert.strictEqual((yield* keys.verify(apiKey))?.scope, "write")
    }))
})
