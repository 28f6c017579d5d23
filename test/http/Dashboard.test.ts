import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { brotliDecompressSync, gunzipSync } from "node:zlib"
import { dashboardFiles } from "../../src/http/DashboardFiles.ts"
import { raw, TestServer } from "./TestServer.ts"

const html = { accept: "text/html,*/*;q=0.8" }

/** A file of the build that index.html loads. */
const script = Effect.gen(function*() {
  const server = yield* TestServer
  const { text } = yield* server.ask("GET", "/")
  const path = /<script type="module"[^>]* src="(\/assets\/[^"]+)"/.exec(text)?.[1]
  return assert.isDefined(path), path!
})

/** The body's bytes as they came; fetch would undo the encoding. */
const bytesOf = Effect.fnUntraced(function*(path: string, encoding: string) {
  const { port } = yield* TestServer
  const answer = yield* raw(
    port,
    `GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\naccept-encoding: ${encoding}\r\n\r\n`
  )
  const end = answer.indexOf("\r\n\r\n")
  return { head: answer.slice(0, end), bytes: Buffer.from(answer.slice(end + 4), "latin1") }
})

it.layer(TestServer.layer({ auth: "required" }), { excludeTestServices: true })("the dashboard", (it) => {
  it.effect("is at / and at each of its pages, for whoever asks", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      for (const path of ["/", "/webhooks", "/webhooks/some-id/edit?x=1", "/events/evt_1", "/settings/keys"]) {
        const answer = yield* server.ask("GET", path)
        assert.strictEqual(answer.status, 200, path)
        assert.include(answer.text, `<div id="root">`, path)
        assert.strictEqual(yield* server.status("HEAD", path, { host: "localhost" }), 200, path)
      }
    }))

  it.effect("allows nothing inline, nothing from elsewhere and no frame around it", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const { headers, text } = yield* server.ask("GET", "/")
      const policy = headers.get("content-security-policy") ?? ""
      assert.include(policy, "default-src 'none'")
      assert.include(policy, "frame-ancestors 'none'")
      assert.notInclude(policy, "unsafe")
      assert.notMatch(text, /<style|<script>|style=|\son\w+=|https?:/)
      assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
      assert.strictEqual(headers.get("referrer-policy"), "no-referrer")
    }))

  it.effect("is asked for anew each time, its hashed files once", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const page = yield* server.ask("GET", "/")
      assert.strictEqual(page.headers.get("cache-control"), "no-cache")
      const etag = page.headers.get("etag")!
      const again = yield* server.ask("GET", "/", undefined, { "if-none-match": `"other", ${etag}` })
      assert.deepStrictEqual([again.status, again.text, again.headers.get("etag")], [304, "", etag])
      assert.strictEqual((yield* server.ask("GET", "/", undefined, { "if-none-match": `"other"` })).status, 200)
      const file = yield* server.ask("GET", yield* script)
      assert.strictEqual(file.headers.get("cache-control"), "public, max-age=31536000, immutable")
      assert.match(file.headers.get("content-type") ?? "", /^text\/javascript/)
    }))

  it.effect("comes compressed as the client takes it", () =>
    Effect.gen(function*() {
      const path = yield* script
      const plain = yield* bytesOf(path, "identity")
      assert.notMatch(plain.head, /content-encoding/i)
      const brotli = yield* bytesOf(path, "gzip;q=0.5, br")
      assert.match(brotli.head, /content-encoding: br\r/i)
      assert.match(brotli.head, /vary: accept-encoding/i)
      assert.deepStrictEqual(brotliDecompressSync(brotli.bytes), plain.bytes)
      const gzip = yield* bytesOf(path, "gzip, br;q=0")
      assert.match(gzip.head, /content-encoding: gzip\r/i)
      assert.deepStrictEqual(gunzipSync(gzip.bytes), plain.bytes)
      assert.notMatch((yield* bytesOf(path, "br;q=0.0, gzip;q=0")).head, /content-encoding/i)
    }))

  it.effect("leads people who lost their way, and tells programs", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const lost = yield* server.ask("GET", "/nowhere/at/all", undefined, html)
      assert.strictEqual(lost.status, 404)
      assert.match(lost.headers.get("content-type") ?? "", /^text\/html/)
      for (const [path, headers] of [["/nowhere", {}], ["/api/nowhere", html], ["/v1/nowhere", html]] as const) {
        const answer = yield* server.ask("GET", path, undefined, headers)
        assert.strictEqual(answer.status, 404, path)
        assert.strictEqual(answer.headers.get("content-type"), "application/problem+json", path)
      }
    }))

  it.effect("gives no other file of the machine away", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const paths = [
        "/assets/../index.html",
        "/assets/../../package.json",
        "/assets/%2e%2e/%2e%2e/package.json",
        "/assets/..%2f..%2fpackage.json",
        "/assets/..\\..\\package.json",
        "//etc/passwd",
        "/assets/",
        "/assets/missing.js",
        "/index.html.br"
      ]
      for (const path of paths) {
        assert.strictEqual(yield* server.status("GET", path, { host: "localhost" }), 404, path)
      }
    }))
})

it.effect("a dashboard that is not built is no files", () =>
  Effect.gen(function*() {
    assert.strictEqual((yield* dashboardFiles("/nonexistent/dist")).size, 0)
  }))
