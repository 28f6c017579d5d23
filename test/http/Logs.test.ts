import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Asked, entryText, TestServer } from "./TestServer.ts"

const input = { name: "orders", table_name: "orders", events: ["INSERT"], url: "https://example.com/hook" }

const webhook = Effect.gen(function*() {
  const server = yield* TestServer
  const { json } = yield* server.ask("POST", "/api/webhooks", input)
  return `/api/webhooks/${json.id}`
})

it.layer(TestServer.layer(), { excludeTestServices: true })("the delivery log", (it) => {
  it.effect("comes digit for digit", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const path = yield* webhook
      const list = yield* server.ask("GET", `${path}/logs`)
      assert.strictEqual(list.status, 200)
      assert.strictEqual(list.headers.get("content-type"), "application/json")
      assert.strictEqual(list.text, `{"data":[${entryText("dlv_1")}],"next_cursor":null}`)
      const entry = yield* server.ask("GET", `${path}/logs/dlv_1`)
      assert.deepStrictEqual([entry.status, entry.text], [200, entryText("dlv_1")])
      const replayed = yield* server.ask("POST", `${path}/replay/dlv_1`)
      assert.deepStrictEqual([replayed.status, replayed.text], [200, entryText("dlv_3")])
    }))

  it.effect("has no page, entry or replay of what is not there", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const path = yield* webhook
      const none = `/api/webhooks/${crypto.randomUUID()}`
      const requests = [
        ["GET", `${none}/logs`],
        ["GET", `${none}/logs/dlv_1`],
        ["POST", `${none}/replay/dlv_1`],
        ["POST", `${none}/test`],
        ["GET", `${path}/logs/dlv_9`],
        ["POST", `${path}/replay/dlv_9`]
      ] as const
      for (const [method, url] of requests) {
        const answer = yield* server.ask(method, url)
        assert.strictEqual(answer.status, 404, `${method} ${url}`)
        assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
      }
    }))

  it.effect("is asked for by every parameter of the contract", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const asked = yield* Asked
      const path = yield* webhook
      assert.strictEqual((yield* server.ask("GET", `${path}/logs`)).status, 200)
      assert.deepStrictEqual(asked.logs, { limit: 50 })
      const query = "limit=1&cursor=c&event_type=TEST&outcome=failed&status_code=404&event_id=evt_1" +
        "&from=2025-01-15T10:00:00%2B02:00&to=2025-01-16"
      assert.strictEqual((yield* server.ask("GET", `${path}/logs?${query}`)).status, 200)
      assert.deepStrictEqual(asked.logs, {
        limit: 1,
        cursor: "c",
        event_type: "TEST",
        outcome: "failed",
        status_code: 404,
        event_id: "evt_1",
        from: new Date("2025-01-15T08:00:00Z"),
        to: new Date("2025-01-16T00:00:00Z")
      })
    }))

  it.effect("takes times in UTC unless they say otherwise", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const asked = yield* Asked
      const path = yield* webhook
      const times = [
        ["2025-01-15T10:00:00Z", "2025-01-15T10:00:00.000Z"],
        ["2025-01-15T10:00:00.123456", "2025-01-15T10:00:00.123Z"],
        ["2025-01-15T10:00", "2025-01-15T10:00:00.000Z"],
        ["2025-01-15T10:00:00+0200", "2025-01-15T08:00:00.000Z"],
        ["2025-01-15T10:00:00-02:00", "2025-01-15T12:00:00.000Z"]
      ] as const
      for (const [text, time] of times) {
        assert.strictEqual((yield* server.ask("GET", `${path}/logs?from=${text}`)).status, 200, text)
        assert.strictEqual(asked.logs?.from?.toISOString(), time)
      }
    }))

  it.effect("is not asked for by parameters that do not fit", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const path = yield* webhook
      const queries = [
        ["limit=501", "limit"],
        ["limit=1e9", "limit"],
        ["event_type=UPSERT", "event_type"],
        ["outcome=lost", "outcome"],
        ["status_code=abc", "status_code"],
        ["status_code=1000", "status_code"],
        ["event_id=%00", "event_id"],
        ["from=yesterday", "from"],
        ["from=2025-02-30", "from"],
        ["from=0000-01-01", "from"],
        ["from=0001-01-01T00:00:00%2B01:00", "from"],
        ["to=9999-12-31T23:59:59-01:00", "to"],
        ["to=2025-13-01T00:00:00Z", "to"],
        ["to=2025-01-01T25:00:00Z", "to"]
      ] as const
      for (const [query, name] of queries) {
        const answer = yield* server.ask("GET", `${path}/logs?${query}`)
        assert.strictEqual(answer.status, 400, query)
        assert.deepStrictEqual(answer.json.errors.map((error: { path: string }) => error.path), [name])
      }
      const all = yield* server.ask("GET", `${path}/logs?${queries.map(([query]) => query).join("&")}`)
      assert.strictEqual(all.json.errors.length, new Set(queries.map(([, name]) => name)).size)
    }))

  it.effect("needs no body for a test or a replay, and takes an empty one", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const path = yield* webhook
      for (const url of [`${path}/test`, `${path}/replay/dlv_1`]) {
        assert.strictEqual((yield* server.ask("POST", url)).status, 200)
        assert.strictEqual((yield* server.ask("POST", url, {})).status, 200)
        const types = ["application/json", "text/plain", "application/x-www-form-urlencoded"]
        for (const type of types) {
          assert.strictEqual((yield* server.ask("POST", url, undefined, { "content-type": type })).status, 200, type)
        }
        const unknown = yield* server.ask("POST", url, { colour: "red" })
        assert.deepStrictEqual([unknown.status, unknown.json.errors[0].path], [400, "colour"])
        assert.strictEqual((yield* server.ask("POST", url, "a=b", { "content-type": "text/plain" })).status, 415)
      }
    }))
})
