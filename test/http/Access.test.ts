import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { raw, readKey, TestServer, writeKey } from "./TestServer.ts"

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
    const wanted = { table_name: input.table_name }
    const preview = yield* server.ask("POST", `${prefix}/webhooks/preview`, wanted, { apikey: readKey })
    assert.strictEqual(preview.status, 200, "a preview changes nothing")
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
        "localhost@evil.com",
        "localhost..",
        "localhost:",
        "localhost:123456",
        "localhost, evil.com",
        "localhost evil.com",
        "127.1",
        "127.0.0.1.",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "::1",
        "[::1",
        "[::1%25lo]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
        "localhost%00.evil.com",
        ""
      ]
      for (const host of others) assert.strictEqual(yield* server.status("GET", "/api/webhooks", { host }), 403, host)
    }))

  it.effect("goes by the name in the request line where there is one", () =>
    Effect.gen(function*() {
      const { port } = yield* TestServer
      const ask = (target: string, host: string) =>
        Effect.map(
          raw(port, `GET ${target} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`),
          (answer) => Number(answer.slice(9, 12))
        )
      assert.strictEqual(yield* ask("http://evil.com/api/webhooks", "localhost"), 403)
      assert.strictEqual(yield* ask("/api/webhooks", "evil.com\r\nhost: localhost"), 400)
      for (const path of ["//api/webhooks", "/API/webhooks", "/api/%77ebhooks", "/api/webhooks/"]) {
        assert.strictEqual(yield* ask(path, "evil.com"), 403, path)
      }
    }))

  it.effect("lets no other origin read what it answers", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      for (
        const [method, path] of [["GET", "/api/webhooks"], ["OPTIONS", "/api/webhooks"], [
          "GET",
          "/api/session"
        ]] as const
      ) {
        const { headers } = yield* server.ask(method, path, undefined, {
          origin: "https://evil.com",
          "access-control-request-method": "POST",
          "access-control-request-headers": "content-type"
        })
        assert.deepStrictEqual([...headers.keys()].filter((name) => name.startsWith("access-control")), [])
        assert.strictEqual(headers.get("cross-origin-resource-policy"), "same-origin")
        assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
        assert.strictEqual(headers.get("cache-control"), "no-store")
      }
    }))

  it.effect("takes no body that a form or a page may send anywhere", () =>
    Effect.gen(function*() {
      const { port } = yield* TestServer
      const body = JSON.stringify(input)
      const post = (path: string, ...headers: ReadonlyArray<string>) =>
        Effect.map(
          raw(
            port,
            [
              `POST ${path} HTTP/1.1`,
              "host: localhost",
              "connection: close",
              `content-length: ${body.length}`,
              ...headers,
              "",
              body
            ].join("\r\n")
          ),
          (answer) => Number(answer.slice(9, 12))
        )
      for (const path of ["/api/webhooks", "/api/session"]) {
        for (
          const type of [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain;application/json"
          ]
        ) {
          assert.strictEqual(yield* post(path, `content-type: ${type}`), 415, type)
        }
        assert.strictEqual(yield* post(path), 415)
        assert.strictEqual(yield* post(path, "content-type: text/plain", "origin: https://evil.com"), 403)
      }
      assert.strictEqual(yield* post("/api/webhooks", "content-type: application/json"), 201)
      assert.strictEqual(yield* post("/v1/webhooks", `apikey: ${writeKey}`), 201)
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
        { "sec-fetch-site": "none, same-origin" },
        { origin: "http://localhost:8787", "sec-fetch-site": "cross-site" },
        { origin: "http://localhost:8787, https://evil.com" },
        { origin: "http://localhost:8787@evil.com" },
        { origin: "http://localhost.:8787" },
        { origin: "file://" },
        { origin: "chrome-extension://abc" },
        { referer: "https://evil.com/?http://localhost:8787" }
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
