import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll } from "vitest"
import { generateSecret, makeSign, type SigningSecrets } from "../../src/services/Signing.ts"
import { startExample } from "../support/ExampleProcess.ts"
import { Receiver } from "../support/Receiver.ts"
import { run, RunningService, until } from "../support/RunningService.ts"
import { freePort } from "../support/ServiceProcess.ts"

const folder = fileURLToPath(new URL("../../examples/receivers/", import.meta.url))
const built = mkdtempSync(join(tmpdir(), "truss-receivers-"))
afterAll(() => rmSync(built, { recursive: true, force: true }))

interface Example {
  readonly name: string
  /** How it is started, or why it cannot be here. */
  readonly command: ReadonlyArray<string> | string
}

const works = (command: string, ...args: ReadonlyArray<string>) =>
  spawnSync(command, args, { stdio: "ignore" }).status === 0

const python = ["python3", "/usr/bin/python3"].find((one) => works(one, "-c", "import flask"))

const examples: ReadonlyArray<Example> = [
  { name: "node", command: [process.execPath, "receivers/node/receiver.ts"] },
  { name: "express", command: [process.execPath, "receivers/express/receiver.ts"] },
  { name: "hono", command: [process.execPath, "receivers/hono/receiver.ts"] },
  { name: "effect", command: [process.execPath, "receivers/effect/receiver.ts"] },
  {
    name: "flask",
    command: python === undefined
      ? "no Python with Flask is installed: apt install python3-flask"
      : [python, "receivers/flask/receiver.py"]
  },
  {
    name: "go",
    command: works("go", "version") ? [join(built, "go")] : "Go is not installed: apt install golang-go"
  }
]

/** Starts an example on a port of its own, which ends with the scope. */
const start = Effect.fnUntraced(function*(command: ReadonlyArray<string>, secret: string) {
  const port = yield* freePort
  const example = yield* startExample(command, { SECRET: secret, PORT: String(port) })
  const url = `http://127.0.0.1:${port}/`
  const post = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string>) =>
    Effect.promise(() =>
      fetch(url, { method: "POST", body, headers: { "content-type": "application/json", ...headers } }).then(
        ({ status }) => status,
        () => {
          if (example.hasEnded()) throw new Error(example.output())
          return 0
        }
      )
    )
  yield* until(`${command.join(" ")} to answer`, post("{}", {}), (status) => status === 401)
  return { url, post, output: example.output }
})

/** The headers of a delivery that is signed now, or at that time. */
const signed = (body: string, secrets: SigningSecrets, nowMs = Date.now()) => {
  const headers = ["webhook-id", "evt_1", "webhook-timestamp", String(Math.floor(nowMs / 1000))]
  makeSign(secrets)(headers, "evt_1", nowMs, body)
  return Object.fromEntries(headers.flatMap((name, i) => i % 2 === 0 ? [[name, headers[i + 1]!]] : []))
}

const layer = RunningService.layer().pipe(Layer.provideMerge(Receiver.layer))

for (const { command, name } of examples) {
  const skipped = typeof command === "string"
  describe.skipIf(skipped)(
    `the receiver in examples/receivers/${name}${skipped ? ` (skipped: ${command})` : ""}`,
    () => {
      it.layer(layer, { excludeTestServices: true })((it) => {
        it.effect("accepts what the service sends with its secret, and nothing else", () =>
          Effect.gen(function*() {
            if (skipped) return
            if (name === "go") {
              const { status, stderr } = spawnSync("go", ["build", "-o", join(built, "go"), "."], {
                cwd: join(folder, "go")
              })
              assert.strictEqual(status, 0, String(stderr))
            }
            const { create, log } = yield* RunningService
            const recorder = yield* Receiver
            yield* run("CREATE TABLE orders (id bigint PRIMARY KEY, note text)")
            for (const [index, secret] of [generateSecret(), "a long random string"].entries()) {
              const example = yield* start(command, secret)
              const right = yield* create({ table_name: "orders", url: example.url, secret, max_attempts: 1 })
              const wrong = yield* create({
                table_name: "orders",
                url: example.url,
                secret: "another",
                max_attempts: 1
              })
              yield* create({ table_name: "orders", url: recorder.url(`/${index}`), secret })
              yield* run(`INSERT INTO orders VALUES (${index}, 'Ärger 🔑')`)

              const [accepted] = yield* log(right.id, 1)
              assert.deepInclude(accepted, { status_code: 204, outcome: "success" }, example.output())
              assert.deepInclude((yield* log(wrong.id, 1))[0], { status_code: 401, outcome: "failed" })
              yield* until("the change to be printed", Effect.sync(example.output), (text) =>
                text.includes(accepted!.event_id))

              const [delivery] = yield* recorder.waitFor(`/${index}`, 1)
              const { bytes, headers, text } = delivery!
              const pick = Object.fromEntries(
                ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => [name, String(headers[name])])
              )
              assert.strictEqual(yield* example.post(Uint8Array.from(bytes), pick), 204)
              assert.strictEqual(yield* example.post(text.replace("INSERT", "DELETE"), pick), 401)
              assert.strictEqual(yield* example.post(JSON.stringify(JSON.parse(text), null, 1), pick), 401)
              assert.strictEqual(yield* example.post(text, { ...pick, "webhook-id": "evt_2" }), 401)
              assert.strictEqual(yield* example.post(text, { ...pick, "webhook-signature": "v1," }), 401)
              for (const name of Object.keys(pick)) {
                const { [name]: _, ...rest } = pick
                assert.strictEqual(yield* example.post(text, rest), 401, name)
              }
              const now = Date.now()
              for (const time of [now - 301_000, now + 310_000]) {
                assert.strictEqual(yield* example.post(text, signed(text, { secret, previousSecret: null }, time)), 401)
              }
              const overlap = { secret: "another", previousSecret: { secret, until: now + 60_000 } }
              assert.strictEqual(yield* example.post(text, signed(text, overlap)), 204)
            }
          }).pipe(Effect.scoped), 120_000)
      })
    }
  )
}
