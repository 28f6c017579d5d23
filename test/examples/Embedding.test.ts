import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { verifyStandard } from "truss-webhooks/verify"
import { TestDatabase } from "../support/Database.ts"
import { testKey } from "../support/Encryption.ts"
import { startExample } from "../support/ExampleProcess.ts"
import { type Received, Receiver } from "../support/Receiver.ts"
import { Application, run, until } from "../support/RunningService.ts"
import { freePort } from "../support/ServiceProcess.ts"

const secret = "a long random string"

/** A database with a table, an endpoint, and nobody who delivers. */
const layer = Receiver.layer.pipe(
  Layer.provideMerge(Application.layer),
  Layer.provideMerge(TestDatabase.layerUrl)
)

const start = Effect.fnUntraced(function*(name: string, env: Readonly<Record<string, string>> = {}) {
  const { url } = yield* TestDatabase
  const receiver = yield* Receiver
  const example = yield* startExample([process.execPath, `embedding/${name}.ts`], {
    DATABASE_URL: url,
    TRUSS_ENCRYPTION_KEY: testKey,
    EGRESS_ALLOW: "127.0.0.1",
    ENDPOINT: receiver.url("/hook"),
    SECRET: secret,
    ...env
  })
  const says = (pattern: RegExp) =>
    until(
      `${name} to say ${pattern}`,
      Effect.suspend(() =>
        example.hasEnded() && !pattern.test(example.output())
          ? Effect.die(new Error(example.output()))
          : Effect.succeed(example.output())
      ),
      (text) => pattern.test(text)
    )
  return { ...example, says }
})

const ask = (url: string, headers: Record<string, string> = {}, method = "GET", body?: unknown) =>
  Effect.promise(async () => {
    const response = await fetch(url, {
      method,
      headers: { "content-type": "application/json", ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    }).catch(() => undefined)
    return { status: response?.status ?? 0, text: await response?.text() ?? "" }
  })

describe("the examples in examples/embedding", () => {
  for (const name of ["promises", "delivery"]) {
    it.layer(layer, { excludeTestServices: true })(`${name}.ts`, (it) => {
      it.effect(
        "delivers without HTTP, tells the outcomes, registers the same again, and ends well",
        () =>
          Effect.gen(function*() {
            const receiver = yield* Receiver
            yield* run("CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)")
            const first = yield* start(name)
            const [, id] = /ready (\S+)/.exec(yield* first.says(/ready \S+/))!
            // One that is made before the outcomes are followed may not be told.
            yield* until(
              "an outcome to be told",
              Effect.andThen(run("INSERT INTO orders (note) VALUES ('tea')"), Effect.sync(first.output)),
              (text) => /INSERT attempt 1 success 200/.test(text)
            )
            const [{ headers, text }] = yield* receiver.waitFor("/hook", 1) as Effect.Effect<readonly [Received]>
            const change = yield* Effect.promise(() => verifyStandard({ body: text, headers, secret }))
            assert.deepInclude(change.row, { id: 1, note: "tea" })
            const { code, signal } = yield* first.stop
            assert.isTrue(code === 0 || code === 130 || code === 143, `${code} ${signal} ${first.output()}`)

            yield* run("INSERT INTO orders (note) VALUES ('while away')")
            const second = yield* start(name)
            yield* second.says(new RegExp(`ready ${id}`))
            yield* receiver.waitFor(
              "/hook",
              (requests) => requests.some((one) => one.body.row?.["note"] === "while away")
            )
            yield* second.stop
          }).pipe(Effect.scoped),
        60_000
      )
    })
  }

  it.layer(layer, { excludeTestServices: true })("events.ts", (it) => {
    it.effect("takes changes in a loop and by a function, and ends well", () =>
      Effect.gen(function*() {
        yield* run("CREATE TABLE orders (id int PRIMARY KEY, note text)")
        const program = yield* start("events")
        const sql = yield* Application
        const webhooks = Effect.map(
          sql<{ count: number }>`SELECT count(*)::int FROM truss.webhooks`,
          ([row]) => row!.count
        ).pipe(Effect.orElseSucceed(() => 0))
        yield* until("both webhooks", webhooks, (count) => count === 2)
        yield* run("INSERT INTO orders VALUES (1, 'tea'), (1000, NULL)")
        for (const line of [/^INSERT 1 tea evt_/m, /^INSERT 1000 null evt_/m, /^large 1000 evt_/m]) {
          yield* program.says(line)
        }
        assert.notMatch(program.output(), /^large 1 /m)
        assert.deepStrictEqual(yield* program.stop, { code: 0, signal: null }, program.output())
        assert.match(program.output(), /^stopped$/m)
      }).pipe(Effect.scoped), 60_000)
  })

  it.layer(layer, { excludeTestServices: true })("api.ts", (it) => {
    it.effect("mounts the API under a prefix, behind the program's own authentication", () =>
      Effect.gen(function*() {
        yield* run("CREATE TABLE orders (id int PRIMARY KEY)")
        const port = yield* freePort
        const api = yield* start("api", { PORT: String(port), ADMIN_TOKEN: "letmein" })
        const url = `http://127.0.0.1:${port}`
        yield* until("the program's own page", ask(`${url}/`), ({ status }) => status !== 0)
        assert.strictEqual((yield* ask(`${url}/`)).text, "the program's own page", api.output())
        const own = { "x-admin-token": "letmein" }
        assert.strictEqual((yield* ask(`${url}/admin/hooks/webhooks`)).status, 401)
        assert.strictEqual((yield* ask(`${url}/admin/hooks/webhooks`, { "x-admin-token": "no" })).status, 401)
        assert.strictEqual((yield* ask(`${url}/api/webhooks`, own)).status, 404)
        const input = { name: "orders", table_name: "orders", events: ["INSERT"], url: "https://203.0.113.1/" }
        const foreign = { ...own, origin: "https://evil.example" }
        assert.strictEqual((yield* ask(`${url}/admin/hooks/webhooks`, foreign, "POST", input)).status, 403)
        const made = yield* ask(`${url}/admin/hooks/webhooks`, own, "POST", { ...input, url: "https://example.com/" })
        assert.strictEqual(made.status, 201, made.text)
        const { status, text } = yield* ask(`${url}/admin/hooks/nothing`, own)
        assert.deepStrictEqual([status, JSON.parse(text).type], [404, "urn:truss:problem:not-found"])
        assert.strictEqual((yield* ask(`${url}/admin/hooks/webhooks`, own, "PUT")).status, 405)
        const { data } = JSON.parse((yield* ask(`${url}/admin/hooks/audit`, own)).text)
        assert.deepInclude(data[0], { actor: "admin", action: "webhook.created" })
      }).pipe(Effect.scoped), 60_000)
  })

  it.layer(layer, { excludeTestServices: true })("service.ts and client.ts", (it) => {
    it.effect("runs the whole service, which the typed client asks", () =>
      Effect.gen(function*() {
        yield* run("CREATE TABLE orders (id int PRIMARY KEY)")
        const port = yield* freePort
        const url = `http://127.0.0.1:${port}`
        const service = yield* start("service", { PORT: String(port) })
        yield* until("the service to be ready", ask(`${url}/health/ready`), ({ status }) => status === 200)
        const made = yield* ask(`${url}/api/webhooks`, {}, "POST", {
          name: "orders",
          table_name: "orders",
          events: ["INSERT"],
          url: "http://127.0.0.1:1/"
        })
        assert.strictEqual(made.status, 201, made.text)
        const client = yield* start("client", { TRUSS_URL: url })
        assert.deepStrictEqual(yield* client.ended, { code: 0, signal: null }, client.output())
        assert.strictEqual(client.output(), "orders closed 0\n")
        yield* service.stop
      }).pipe(Effect.scoped), 60_000)
  })
})
