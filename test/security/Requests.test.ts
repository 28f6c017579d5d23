import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { scene, withDatabase } from "../e2e/Scene.ts"
import { answersIn, ask, exchange, stateOf } from "./Attack.ts"

const body = JSON.stringify({ name: "smuggled", table_name: "orders", events: ["INSERT"], url: "http://127.0.0.1:9/" })
const inner = (host: string) =>
  `POST /api/webhooks HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n` +
  body
const chunked = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`

/** Requests of which a proxy in front may see another end than we do. One status is expected, and no second answer. */
const ambiguous = (host: string): ReadonlyArray<readonly [what: string, bytes: string]> => {
  const get = (...lines: ReadonlyArray<string>) => `GET /health/live HTTP/1.1\r\nhost: ${host}\r\n${lines.join("\r\n")}`
  const post = (...lines: ReadonlyArray<string>) =>
    `POST /api/webhooks/preview HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\n${lines.join("\r\n")}`
  const smuggled = inner(host)
  return [
    ["CL and TE", post(`content-length: 4`, "transfer-encoding: chunked", "", chunked("{}") + smuggled)],
    ["TE and CL", post("transfer-encoding: chunked", `content-length: 6`, "", "0\r\n\r\n" + smuggled)],
    ["two CL", post("content-length: 2", `content-length: ${smuggled.length + 2}`, "", "{}" + smuggled)],
    ["a list of CL", post(`content-length: 2, ${smuggled.length + 2}`, "", "{}" + smuggled)],
    ["CL with a sign", post("content-length: +2", "", "{}" + smuggled)],
    ["CL in hex", post("content-length: 0x2", "", "{}" + smuggled)],
    ["negative CL", post("content-length: -1", "", smuggled)],
    ["CL with blanks inside", post("content-length: 1 0", "", "{}" + smuggled)],
    ["huge CL", post("content-length: 99999999999999999999999", "", "{}")],
    ["TE twice", post("transfer-encoding: chunked", "transfer-encoding: identity", "", chunked("{}") + smuggled)],
    ["TE not chunked last", post("transfer-encoding: chunked, gzip", "", chunked("{}") + smuggled)],
    ["TE unknown", post("transfer-encoding: xchunked", "", chunked("{}") + smuggled)],
    ["TE with a tab", post("transfer-encoding:\tchunked", "content-length: 5", "", chunked("{}") + smuggled)],
    ["blank before the colon", post("content-length : 2", "", "{}" + smuggled)],
    ["TE behind a bare CR", post("x: y\rtransfer-encoding: chunked", "content-length: 2", "", "{}" + smuggled)],
    ["chunk size with a sign", post("transfer-encoding: chunked", "", "+2\r\n{}\r\n0\r\n\r\n" + smuggled)],
    ["chunk size in hex notation", post("transfer-encoding: chunked", "", "0x2\r\n{}\r\n0\r\n\r\n" + smuggled)],
    ["chunk size too large", post("transfer-encoding: chunked", "", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n" + smuggled)],
    ["chunk longer than said", post("transfer-encoding: chunked", "", "1\r\n{}\r\n0\r\n\r\n" + smuggled)],
    ["chunk ended by a bare LF", post("transfer-encoding: chunked", "", "2\n{}\n0\n\n" + smuggled)],
    ["obs-fold", get("x: a", " b", "", "")],
    ["obs-fold of the host", `GET /api/webhooks HTTP/1.1\r\nhost:\r\n ${host}\r\n\r\n`],
    ["bare LF", `GET /health/live HTTP/1.1\nhost: ${host}\n\n`],
    ["NUL in a header", get("x: a\0b", "", "")],
    ["control characters in a header", get("x: a\x01\x7fb", "", "")],
    ["a header without a name", get(": a", "", "")],
    ["a header without a colon", get("nothing", "", "")],
    ["no host", "GET /health/live HTTP/1.1\r\n\r\n"],
    ["two hosts", get(`host: evil.com`, "", "")],
    ["two hosts, the same", get(`host: ${host}`, "", "")],
    ["two hosts, in other case", get(`HOST: ${host}`, "", "")],
    ["no such version", `GET /health/live HTTP/9.9\r\nhost: ${host}\r\n\r\n`],
    ["a blank in the target", `GET /health /live HTTP/1.1\r\nhost: ${host}\r\n\r\n`],
    ["HTTP/2 without being asked", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ["garbage", "\0\x01\x02\x03\xff\xfe\r\n\r\n"],
    ["headers over 16 kB", get(`x: ${"a".repeat(20_000)}`, "", "")]
  ]
}

describe("the server", () => {
  it.live("answers an ambiguous request with 400 at most once, and does nothing of what is hidden in it", () =>
    withDatabase(Effect.gen(function*() {
      const { service, sql } = yield* scene()
      const host = new URL(service.url).host
      const before = yield* stateOf(sql)
      for (const [what, bytes] of ambiguous(host)) {
        const answer = yield* exchange(service, Buffer.from(bytes, "latin1"), 3_000)
        const statuses = answersIn(answer)
        assert.isAtMost(statuses.length, 1, `${what}: ${answer}`)
        for (const status of statuses) assert.include([400, 413, 431, 505], status, `${what}: ${answer}`)
      }
      assert.deepStrictEqual(yield* stateOf(sql), before)
      assert.strictEqual((yield* ask(service, "GET", "/health/live")).status, 200)
    })))

  it.live("serves its own paths under no other name, proxies nothing and changes no protocol", () =>
    withDatabase(Effect.gen(function*() {
      const { service } = yield* scene()
      const host = new URL(service.url).host
      const send = (line: string, ...headers: ReadonlyArray<string>) =>
        Effect.map(
          exchange(
            service,
            `${line} HTTP/1.1\r\n${["connection: close", ...headers].join("\r\n")}\r\n\r\n`,
            3_000
          ),
          (answer) => answersIn(answer)
        )
      const own = `host: ${host}`
      assert.deepStrictEqual(yield* send("GET http://evil.com/api/webhooks", own), [403])
      assert.deepStrictEqual(yield* send("GET http://169.254.169.254/latest/meta-data", own), [404])
      for (const target of ["evil.com:80", "localhost:80", "*", "api/webhooks", "//evil.com/api/webhooks", "/../api"]) {
        // `*` is taken for `/`, the dashboard's page, which is for everyone.
        const allowed = target === "*" ? [200, 400] : [400, 403, 404]
        for (const status of yield* send(`GET ${target}`, own)) assert.include(allowed, status, target)
      }
      for (const [line, ...headers] of [["CONNECT evil.com:80"], ["CONNECT /api/webhooks"], ["TRACE /api/webhooks"]]) {
        for (const status of yield* send(line!, own, ...headers)) assert.isAtLeast(status, 400, line)
      }
      for (const protocol of ["websocket", "h2c", "TLS/1.0, HTTP/1.1"]) {
        const answer = yield* exchange(
          service,
          `GET /api/webhooks HTTP/1.1\r\n${own}\r\nconnection: upgrade, http2-settings, close\r\nupgrade: ${protocol}\r\n` +
            "http2-settings: AAMAAABkAAQAAP__\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
          3_000
        )
        for (const status of answersIn(answer)) assert.notStrictEqual(status, 101, protocol)
        assert.notMatch(answer, /^upgrade:/im)
      }
      // Ways around a rule of a proxy: none of them is another way to a route.
      for (
        const path of ["/API/webhooks", "/api//webhooks", "/api/./webhooks", "/api/%2e/webhooks", "/x/../api/webhooks"]
      ) {
        const { json, status } = yield* ask(service, "GET", path, { headers: { host: "evil.com" } })
        assert.notStrictEqual(status, 200, path)
        assert.isUndefined(json?.data)
      }
      for (
        const name of [
          "x-http-method-override",
          "x-http-method",
          "x-method-override",
          "x-original-url",
          "x-rewrite-url"
        ]
      ) {
        const { status } = yield* ask(service, "GET", "/health/live", {
          headers: { [name]: name.endsWith("url") ? "/api/webhooks" : "DELETE", "x-forwarded-host": "localhost" }
        })
        assert.strictEqual(status, 200)
      }
      const forwarded = { host: "evil.com", "x-forwarded-host": "localhost", forwarded: "host=localhost" }
      assert.strictEqual((yield* ask(service, "GET", "/api/webhooks", { headers: forwarded })).status, 403)
    })))

  it.live("answers each of many requests on a connection by itself, and ends the connection at garbage", () =>
    withDatabase(Effect.gen(function*() {
      const { service } = yield* scene()
      const own = new URL(service.url).host
      const line = (host: string) => `GET /api/webhooks HTTP/1.1\r\nhost: ${host}\r\n\r\n`
      const pipelined = yield* exchange(service, line(own) + line("evil.com") + line(own), 2_000)
      assert.deepStrictEqual(answersIn(pipelined), [200, 403, 200])
      const broken = yield* exchange(service, line(own) + "\0garbage\r\n\r\n" + line(own), 2_000)
      assert.strictEqual(answersIn(broken).at(-1), 400)
      const many = Array.from({ length: 3_000 }, (_, i) => `x-${i}: 1\r\n`).join("")
      const crowd = yield* exchange(service, `GET /health/live HTTP/1.1\r\n${many}host: evil.com\r\n\r\n`, 3_000)
      for (const status of answersIn(crowd)) assert.include([400, 431], status)
      // What a header limit cuts off must not be the host that is looked at.
      const short = Array.from({ length: 1_990 }, (_, i) => `a${i}:\r\n`).join("")
      const cut = yield* exchange(
        service,
        `GET /api/webhooks HTTP/1.1\r\nhost: ${own}\r\n${short}host: evil.com\r\nconnection: close\r\n\r\n`,
        3_000
      )
      assert.notInclude(answersIn(cut), 200)
    })))

  it.live("is not kept busy by a header that takes long to understand", () =>
    withDatabase(Effect.gen(function*() {
      const { service, webhook } = yield* scene({ TRUSS_API_KEY: `truss_sk_${"k".repeat(43)}` })
      const blanks = " ".repeat(15_000)
      const tabs = "\t ".repeat(7_000)
      const path = `/api/webhooks/${webhook.id}`
      const headers: ReadonlyArray<Record<string, string>> = [
        { "if-match": `"a",${blanks}x` },
        { "if-match": `"a"${blanks}x` },
        { "if-none-match": `,${tabs}x` },
        { "if-none-match": `${",".repeat(15_000)}x` },
        { "if-none-match": `${"\"a\",".repeat(3_500)}x` },
        { authorization: `Bearer ${blanks}x` },
        { "content-type": `application/json${blanks};${blanks.slice(0, 500)}x`, "content-length": "0" },
        { host: `${"a.".repeat(7_000)}x` },
        { host: `${"a".repeat(15_000)}.localhost!` },
        { origin: `http://${"a".repeat(15_000)}` },
        { cookie: `${"truss_session=;".repeat(1_000)}` },
        { cookie: `${" ; ".repeat(5_000)}` },
        { "idempotency-key": "k".repeat(15_000) },
        { "last-event-id": "1".repeat(15_000) }
      ]
      for (const header of headers) {
        for (
          const [method, prefix] of [["GET", path], ["PATCH", path], ["GET", path.replace("/api", "/v1")]] as const
        ) {
          const [took, { status }] = yield* Effect.timed(
            ask(service, method, prefix, { headers: header, ...(method === "PATCH" && { body: {} }) })
          )
          const label = `${method} ${JSON.stringify(header).slice(0, 60)} ${status}`
          assert.isBelow(status, 500, label)
          assert.isBelow(Duration.toMillis(took), 1_000, label)
        }
      }
    })))
})
