import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { readKey, TestServer, writeKey } from "./TestServer.ts"

const input = { name: "orders", table_name: "orders", events: ["INSERT"], url: "https://example.com/hook" }

const needsKey = (prefix: string) =>
  Effect.gen(function*() {
    const server = yield* TestServer
    const path = `${prefix}/webhooks`
    const bad: ReadonlyArray<Record<string, string>> = [
      {},
      { apikey: "" },
      { apikey: "truss_sk_wrong" },
      { authorization: writeKey },
      { authorization: `Basic ${writeKey}` },
      { authorization: "Bearer " },
      { cookie: `apikey=${writeKey}` }
    ]
    for (const headers of bad) {
      const answer = yield* server.ask("GET", path, undefined, headers)
      assert.strictEqual(answer.status, 401, JSON.stringify(headers))
      assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
      assert.match(answer.headers.get("www-authenticate") ?? "", /^Bearer /)
    }
    assert.strictEqual((yield* server.ask("GET", `${path}?apikey=${writeKey}`)).status, 401)
    const good: ReadonlyArray<Record<string, string>> = [
      { apikey: readKey },
      { apikey: "", "x-api-key": readKey },
      { APIKEY: writeKey },
      { "x-api-key": readKey },
      { authorization: `Bearer ${readKey}` },
      { authorization: `bearer ${writeKey}` }
    ]
    for (const headers of good) {
      assert.strictEqual((yield* server.ask("GET", path, undefined, headers)).status, 200, JSON.stringify(headers))
    }
  })

const keepsReadersFromWriting = (prefix: string) =>
  Effect.gen(function*() {
    const server = yield* TestServer
    const { json } = yield* server.ask("POST", `${prefix}/webhooks`, input, { apikey: writeKey })
    const path = `${prefix}/webhooks/${json.id}`
    const requests = [
      ["POST", `${prefix}/webhooks`, input],
      ["PATCH", path, { active: false }],
      ["POST", `${path}/test`, undefined],
      ["POST", `${path}/replay/dlv_1`, undefined],
      ["DELETE", path, undefined]
    ] as const
    for (const [method, url, body] of requests) {
      const answer = yield* server.ask(method, url, body, { apikey: readKey })
      assert.strictEqual(answer.status, 403, `${method} ${url}`)
      assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
    }
    assert.strictEqual((yield* server.ask("GET", path, undefined, { apikey: readKey })).json.active, true)
    assert.strictEqual((yield* server.ask("DELETE", path, undefined, { apikey: writeKey })).status, 204)
  })

it.layer(TestServer.layer(), { excludeTestServices: true })("an open service", (it) => {
  it.effect("still needs a key under /v1", () => needsKey("/v1"))

  it.effect("keeps a read key under /v1 from changing anything", () => keepsReadersFromWriting("/v1"))

  it.effect("says 401 before it says what is wrong with a request", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      assert.strictEqual((yield* server.ask("GET", "/v1/webhooks?limit=abc")).status, 401)
      assert.strictEqual((yield* server.ask("POST", "/v1/webhooks", "{")).status, 401)
      assert.strictEqual((yield* server.ask("GET", "/v1/webhooks/nope")).status, 401)
    }))

  it.effect("says 503 when keys cannot be checked", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const answer = yield* server.ask("GET", "/v1/webhooks", undefined, { apikey: "away" })
      assert.deepStrictEqual([answer.status, answer.headers.get("retry-after")], [503, "1"])
    }))

  it.effect("ignores keys under /api", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      assert.strictEqual((yield* server.ask("GET", "/api/webhooks", undefined, { apikey: "wrong" })).status, 200)
    }))

  it.effect("answers only to loopback names", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const names = ["localhost", "LOCALHOST:8787", "truss.localhost:1", "127.0.0.1", "127.8.9.10:80", "[::1]:8787"]
      for (const host of names) assert.strictEqual(yield* server.status("GET", "/api/webhooks", { host }), 200, host)
      const others = [
        "example.com",
        "evil.com:8787",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "evillocalhost",
        "10.0.0.1",
        "0.0.0.0",
        "127.0.0.999",
        "[::2]",
        "localhost:x",
        "a@localhost",
        ""
      ]
      for (const host of others) assert.strictEqual(yield* server.status("GET", "/api/webhooks", { host }), 403, host)
    }))

  it.effect("takes no change from another site's page", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const post = (headers: Record<string, string>) =>
        server.status("POST", "/api/webhooks", { host: "localhost:8787", ...headers })
      const foreign: ReadonlyArray<Record<string, string>> = [
        { origin: "https://evil.com" },
        { origin: "null" },
        { origin: "http://localhost:3000" },
        { origin: "http://127.0.0.1:8787" },
        { "sec-fetch-site": "cross-site" },
        { "sec-fetch-site": "same-site" },
        { origin: "http://localhost:8787", "sec-fetch-site": "cross-site" }
      ]
      for (const headers of foreign) assert.strictEqual(yield* post(headers), 403, JSON.stringify(headers))
      assert.strictEqual(yield* post({ host: "localhost:99999", origin: "null" }), 403)
      const own: ReadonlyArray<Record<string, string>> = [
        {},
        { origin: "http://localhost:8787" },
        { origin: "http://localhost:8787", "sec-fetch-site": "same-origin" },
        { "sec-fetch-site": "none" }
      ]
      for (const headers of own) assert.strictEqual(yield* post(headers), 400, JSON.stringify(headers))
      assert.strictEqual(
        yield* server.status("GET", "/api/webhooks", { host: "localhost", origin: "https://evil.com" }),
        200
      )
    }))
})

it.layer(TestServer.layer({ auth: "required" }), { excludeTestServices: true })("a service that needs keys", (it) => {
  it.effect("needs one under /api too", () => needsKey("/api"))
  it.effect("keeps a read key from changing anything", () => keepsReadersFromWriting("/api"))

  it.effect("answers to any host name", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      assert.strictEqual(
        yield* server.status("GET", "/api/webhooks", { host: "truss.example.com", apikey: readKey }),
        200
      )
    }))
})
