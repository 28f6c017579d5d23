import { assert, it } from "@effect/vitest"
import { Effect, Layer, Logger, References } from "effect"
import { TestServer } from "./TestServer.ts"

const lines: Array<string> = []
const layerLog = Layer.merge(
  Logger.layer([Logger.map(Logger.formatJson, (line) => void lines.push(line))]),
  Layer.succeed(References.MinimumLogLevel, "Debug")
)

const layer = TestServer.layer().pipe(Layer.provide(layerLog))

const input = { name: "orders", events: ["INSERT"], url: "https://example.com" }

it.layer(layer, { excludeTestServices: true })("a request's id", (it) => {
  it.effect("is made up, a new one for each, and is in its answer whatever that is", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const ids = new Set<string | null>()
      for (
        const [method, path, status] of [
          ["GET", "/api/webhooks", 200],
          ["GET", "/v1/webhooks", 401],
          ["GET", "/api/nothing", 404],
          ["PUT", "/api/webhooks", 405],
          ["GET", "/health/live", 200],
          ["GET", "/elsewhere", 404]
        ] as const
      ) {
        const answer = yield* server.ask(method, path)
        assert.strictEqual(answer.status, status)
        assert.match(answer.headers.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/)
        ids.add(answer.headers.get("x-request-id"))
      }
      assert.strictEqual(ids.size, 6)
    }))

  it.effect.each(["a", "Root=1-67891233-abcdef012345678912345678", "x".repeat(128), "7/8:9+a._-"])(
    "is what the request says: %s",
    (id) =>
      Effect.gen(function*() {
        const server = yield* TestServer
        const answer = yield* server.ask("GET", "/api/webhooks", undefined, { "x-request-id": id })
        assert.strictEqual(answer.headers.get("x-request-id"), id)
        assert.include(lines.at(-1), `"request_id":"${id}"`)
      })
  )

  it.effect.each(["", "x".repeat(129), "two words", "a\"b", "a<b>", "ä", "a, b", "{}"])(
    "is made up where what the request says will not do: %j",
    (id) =>
      Effect.gen(function*() {
        const server = yield* TestServer
        const answer = yield* server.ask("GET", "/api/webhooks", undefined, { "x-request-id": id })
        assert.match(answer.headers.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/)
      })
  )

  it.effect.each([["broken", 500], ["away", 503]] as const)(
    "is in the problem for a table that is %s, and in every line of the log about it",
    ([table_name, status]) =>
      Effect.gen(function*() {
        const server = yield* TestServer
        lines.length = 0
        const headers = { "x-request-id": `req-${table_name}` }
        const answer = yield* server.ask("POST", "/api/webhooks?token=hidden", { ...input, table_name }, headers)
        assert.strictEqual(answer.status, status)
        assert.match(answer.headers.get("content-type") ?? "", /^application\/problem\+json/)
        assert.strictEqual(Number(answer.headers.get("content-length")), Buffer.byteLength(answer.text))
        assert.include(answer.json.detail, `(request req-${table_name})`)
        assert.isAtLeast(lines.length, status === 500 ? 2 : 1)
        for (const line of lines) {
          assert.notInclude(line, "\n")
          assert.notInclude(line, "hidden")
          const entry = JSON.parse(line)
          assert.strictEqual(entry.annotations.request_id, `req-${table_name}`)
          assert.match(entry.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
          assert.include(["DEBUG", "ERROR"], entry.level)
        }
      })
  )

  it.effect("is not in a problem of the client's own making", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const answer = yield* server.ask("GET", "/api/nothing")
      assert.notInclude(answer.text, "request ")
    }))
})
