import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { raw, TestServer } from "./TestServer.ts"

const input = { name: "orders", table_name: "orders", events: ["INSERT"], url: "https://example.com/hook" }
const post = (body: unknown, headers?: Record<string, string>) =>
  Effect.flatMap(TestServer, (server) => server.ask("POST", "/api/webhooks", body, headers))

it.layer(TestServer.layer(), { excludeTestServices: true })("a request that does not fit", (it) => {
  it.effect("gets 400 for a body that is no JSON object", () =>
    Effect.gen(function*() {
      const bodies = [
        "",
        "{",
        "null",
        "[]",
        "5",
        "\"x\"",
        "{} {}",
        "{'a':1}",
        "undefined",
        "\u0000",
        "{\"name\":\"\u0000\"}"
      ]
      for (const body of bodies) {
        const answer = yield* post(body)
        assert.strictEqual(answer.status, 400, JSON.stringify(body))
        assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
        assert.isNotEmpty(answer.json.errors)
      }
      assert.strictEqual((yield* post(new Uint8Array([0x7b, 0xff, 0xfe, 0x7d]))).status, 400)
    }))

  it.effect("gets 400 for JSON of any depth", () =>
    Effect.gen(function*() {
      const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels)
      assert.strictEqual((yield* post(nested(10_000))).status, 400)
      assert.strictEqual((yield* post("[".repeat(1_000_000))).status, 400)
      assert.strictEqual((yield* post(`{"headers":${"{\"a\":".repeat(10_000)}1${"}".repeat(10_000)}}`)).status, 400)
      const brackets = yield* post({ ...input, name: `${"[".repeat(100)}\\"{` })
      assert.strictEqual(brackets.status, 201)
    }))

  it.effect("gets 400 for strings and numbers that the database cannot hold", () =>
    Effect.gen(function*() {
      const bodies = [
        `{"name":"\\u0000","table_name":"a","events":["INSERT"],"url":"http://localhost"}`,
        `{"name":"\\ud800","table_name":"a","events":["INSERT"],"url":"http://localhost"}`,
        `{"name":"a","table_name":"\\udfff","events":["INSERT"],"url":"http://localhost"}`,
        `{"name":"a","table_name":"a","events":["INSERT"],"url":"http://localhost","concurrency":1e400}`,
        `{"name":"a","table_name":"a","events":["INSERT"],"url":"http://localhost","timeout_ms":99999999999999999999}`,
        `{"name":"a","table_name":"a","events":["INSERT"],"url":"http://localhost","headers":{"a":"\\ud800"}}`,
        `{"name":"a","table_name":"a","events":["INSERT"],"url":"http://localhost","headers":{"a":"\\u0000"}}`,
        `{"name":"a","table_name":"a","events":["INSERT"],"url":"http://localhost/\\ud800"}`,
        `{"__proto__":{"name":"a"},"constructor":1}`,
        `{"\\ud800":1,"\\u0000":2}`
      ]
      for (const body of bodies) assert.strictEqual((yield* post(body)).status, 400, body)
    }))

  it.effect("takes the last of members that are there twice", () =>
    Effect.gen(function*() {
      const text = JSON.stringify(input)
      const answer = yield* post(`${text.slice(0, -1)},"name":"second"}`)
      assert.deepStrictEqual([answer.status, answer.json.name], [201, "second"])
    }))

  it.effect("gets 415 for a body that is not JSON by its own account", () =>
    Effect.gen(function*() {
      const types = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/jsonp",
        "application/json; charset=latin1",
        "multipart/form-data; boundary=x",
        "nonsense"
      ]
      for (const type of types) {
        const answer = yield* post(input, { "content-type": type })
        assert.strictEqual(answer.status, 415, type)
        assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
      }
      assert.strictEqual((yield* post(input, { "content-encoding": "gzip" })).status, 415)
      for (
        const type of ["application/json; charset=utf-8", "Application/JSON;charset=\"UTF-8\"", "application/json;"]
      ) {
        assert.strictEqual((yield* post(input, { "content-type": type })).status, 201, type)
      }
    }))

  it.effect("gets 413 for a body over 1 MiB, and no sooner", () =>
    Effect.gen(function*() {
      const text = JSON.stringify(input)
      assert.strictEqual((yield* post(text + " ".repeat(1_048_576 - text.length))).status, 201)
      const answer = yield* post(text + " ".repeat(1_048_577 - text.length))
      assert.strictEqual(answer.status, 413)
      assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
    }))

  it.effect("gets 413 before a chunked body has ended", () =>
    Effect.gen(function*() {
      const { port } = yield* TestServer
      const head = "POST /api/webhooks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n" +
        "transfer-encoding: chunked\r\n\r\n"
      const chunk = `10000\r\n${" ".repeat(65_536)}\r\n`
      const answer = yield* raw(
        port,
        [head, ...Array.from({ length: 17 }, () => chunk)],
        (text) => text.includes("413")
      )
      assert.match(answer, /^HTTP\/1\.1 413 /)
      assert.match(answer, /application\/problem\+json/i)
    }))

  it.effect("gets 404 for an id that cannot be one", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const ids = [
        "nope",
        "%ff",
        "%00",
        "%",
        "%zz",
        "%2e%2e",
        "..%2f..",
        "x".repeat(5000),
        "%F0%9F%92%A9",
        "'",
        "a%0d%0ab"
      ]
      for (const id of ids) {
        for (const path of [`/api/webhooks/${id}`, `/api/webhooks/${id}/logs`, `/api/webhooks/x/logs/${id}`]) {
          const [, status, type] = /^HTTP\/1\.1 (\d+) [^]*?content-type: ([^\r]*)/i.exec(
            yield* raw(server.port, `GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`)
          ) ?? []
          assert.deepStrictEqual([status, type], ["404", "application/problem+json"], path)
        }
      }
    }))

  it.effect("gets 404 where there is nothing", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const paths = ["/nope", "/api", "/api/", "/v1", "/v1/nope", "/api/webhooks/x/y", "/%", "/a?b=%"]
      for (const path of paths) {
        for (const method of ["GET", "POST", "DELETE", "PROPFIND"]) {
          const answer = yield* server.ask(method, path)
          assert.strictEqual(answer.status, 404, `${method} ${path}`)
          assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
          assert.strictEqual(answer.json.status, 404)
        }
      }
    }))

  it.effect("gets 405 and the methods that a path has", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const requests = [
        ["PUT", "/api/webhooks", "GET, HEAD, POST"],
        ["DELETE", "/v1/webhooks", "GET, HEAD, POST"],
        ["OPTIONS", "/api/webhooks", "GET, HEAD, POST"],
        ["PROPFIND", "/api/webhooks", "GET, HEAD, POST"],
        ["POST", "/api/webhooks/x", "GET, HEAD, PATCH, DELETE"],
        ["PUT", "/v1/webhooks/x", "GET, HEAD, PATCH, DELETE"],
        ["GET", "/api/webhooks/x/test", "POST"],
        ["HEAD", "/api/webhooks/x/test", "POST"],
        ["DELETE", "/api/webhooks/x/logs", "GET, HEAD"],
        ["GET", "/v1/webhooks/x/replay/y", "POST"],
        ["POST", "/health/live", "GET, HEAD"],
        ["DELETE", "/openapi.json", "GET, HEAD"]
      ] as const
      for (const [method, path, allow] of requests) {
        const answer = yield* server.ask(method, path)
        assert.strictEqual(answer.status, 405, `${method} ${path}`)
        assert.strictEqual(answer.headers.get("allow"), allow)
        assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
      }
    }))

  it.effect("never gets 500, whatever is in its path and query", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const pieces = [
        "%",
        "%00",
        "%ff",
        "%ed%a0%80",
        "+",
        "&",
        "=",
        "[]",
        "a[b]=c",
        "\"",
        "<",
        "😀",
        "null",
        "__proto__"
      ]
      for (const piece of pieces) {
        const urls = [`/api/webhooks?cursor=${piece}`, `/api/webhooks?${piece}`, `/api/webhooks?table=${piece}&active`]
        for (const url of urls) {
          const { status } = yield* server.ask("GET", url)
          assert.include([200, 400], status, url)
        }
      }
    }))
})
