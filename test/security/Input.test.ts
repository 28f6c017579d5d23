import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { scene, withDatabase } from "../e2e/Scene.ts"
import { waitFor } from "../support/ServiceProcess.ts"
import { ask, fill, operationsOf, stateOf } from "./Attack.ts"

const key = `truss_sk_${"k".repeat(43)}`
const headers = { apikey: key }

const sqlTexts = [
  "'",
  "\"",
  "\\",
  "\\'",
  "';",
  "'; DROP TABLE orders; --",
  "\"; DROP TABLE orders; --",
  "\\'; DROP TABLE orders; --",
  "' OR '1'='1",
  "' UNION SELECT rolpassword FROM pg_authid --",
  "orders\" WHERE pg_sleep(9) IS NOT NULL --",
  "$$; DELETE FROM orders; $$",
  "$1",
  "%",
  "_",
  "{\"a\"}",
  "E'\\x27'",
  "(SELECT pg_sleep(9))",
  "/* */",
  "public.\"orders\"",
  "pg_catalog.pg_authid",
  "\u02bc; DROP TABLE orders; --",
  "\uff07; DROP TABLE orders; --"
]

const strangeTexts = [
  "\0",
  "a\0b",
  "\u0001\u001f\u007f",
  "\r\nset-cookie: a=b",
  "\ud800",
  "a\udfffb",
  "\u202egnp.exe",
  "\u200b",
  "\ufeff",
  "\ufffe",
  "e\u0301",
  "\u1100\u1161\u11a8",
  "ﷺ".repeat(30),
  "𝕏".repeat(40),
  "👩‍👩‍👧‍👦",
  "İı",
  "__proto__",
  "constructor",
  "toString",
  "null",
  "-0",
  "1e999",
  "NaN",
  "9007199254740993",
  "../../../etc/passwd",
  "{{7*7}}",
  "${7*7}",
  "<script>alert(1)</script>",
  "x".repeat(5_000)
]

const texts = [...sqlTexts, ...strangeTexts]

/** Bytes that are no UTF-8, as they go into a URL. */
const broken = ["%00", "%c0%a7", "%e0%80%af", "%ed%a0%80", "%f4%90%80%80", "%ff", "%", "%zz", "%u0027"]

const encoded = (text: string): string => {
  try {
    return encodeURIComponent(text)
  } catch {
    return "%ed%a0%80"
  }
}

const inUrl = [...texts.map(encoded), ...broken]

describe("a text of somebody else's", () => {
  it.live(
    "in any parameter, query or header of any operation is no SQL, changes nothing, and is never 500",
    () =>
      withDatabase(Effect.gen(function*() {
        const { service, sql, webhook } = yield* scene({ TRUSS_API_KEY: key })
        yield* sql`INSERT INTO orders VALUES (1, 'a')`
        const logs = `/v1/webhooks/${webhook.id}/logs`
        yield* waitFor(
          "the log",
          Effect.map(ask(service, "GET", logs, { headers }), ({ json }) => json.data.length === 1)
        )
        const before = yield* stateOf(sql)
        const valid = (name: string) => name === "id" ? webhook.id : "none"
        let attempts = 0
        for (const operation of yield* operationsOf(service, "/v1")) {
          const { method } = operation
          const send = Effect.fnUntraced(function*(path: string, more: Record<string, string> = {}) {
            attempts++
            const reply = yield* ask(service, method, path, { headers: { ...headers, ...more }, quietMs: 1_500 })
            const label = `${method} ${path} ${JSON.stringify(more)} ${reply.text.slice(0, 300)}`
            assert.isBelow(reply.status, 500, label)
            assert.notMatch(reply.text, /syntax error|sqlstate|pg_catalog\.|at file:/i, label)
            return reply
          })
          const names = [...operation.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!)
          for (const name of names) {
            for (const text of inUrl) {
              if (text === "" || text === "..") continue
              const reply = yield* send(fill(operation, (other) => other === name ? text : valid(other)))
              if (name === "id") {
                assert.include([400, 404, 405, 414], reply.status, `${method} ${operation.path} ${text}`)
              }
            }
          }
          if (method !== "GET") {
            continue
          }
          const path = fill(operation, valid)
          const streams = path.endsWith("/stream")
          for (const name of operation.query) {
            for (const text of streams ? inUrl.slice(0, 4) : inUrl) yield* send(`${path}?${name}=${text}`)
            yield* send(`${path}?${name}=1&${name}=2`)
            yield* send(`${path}?${name}[]=1&${name}[a]=2`)
          }
          for (const name of [...operation.headers, ...(streams ? ["last-event-id"] : [])]) {
            for (const text of streams ? sqlTexts.slice(0, 6) : sqlTexts) yield* send(path, { [name]: text })
          }
        }
        assert.isAbove(attempts, 2_000)
        assert.deepStrictEqual(yield* stateOf(sql), before)
      })),
    300_000
  )

  it.live(
    "in any string of a body is kept as it is or refused, and is no SQL",
    () =>
      withDatabase(Effect.gen(function*() {
        const { endpoint, service, sql, webhook } = yield* scene({ TRUSS_API_KEY: key })
        const path = `/v1/webhooks/${webhook.id}`
        const before = yield* stateOf(sql)
        const post = Effect.fnUntraced(function*(to: string, body: unknown, more: Record<string, string> = {}) {
          const reply = yield* ask(service, "POST", to, { headers: { ...headers, ...more }, body })
          const label = `${to} ${JSON.stringify(body).slice(0, 300)} ${reply.text.slice(0, 300)}`
          assert.isBelow(reply.status, 500, label)
          return reply
        })
        const base = { name: "n", table_name: "orders", events: ["INSERT"], url: endpoint.url }
        for (const text of texts) {
          const refused: ReadonlyArray<readonly [string, unknown]> = [
            ["/v1/webhooks", { ...base, table_name: text }],
            ["/v1/webhooks", { ...base, table_schema: text }],
            ["/v1/webhooks", { ...base, events: [text] }],
            ["/v1/webhooks", { ...base, events: ["INSERT"], columns: [text] }],
            ["/v1/webhooks", { ...base, filter: [{ column: text, op: "eq", value: 1 }] }],
            ["/v1/webhooks", { ...base, filter: [{ column: "id", op: text, value: 1 }] }],
            ["/v1/webhooks", {
              ...base,
              filter: [{ column: "id", op: "eq", value: text === "-0" ? "x" : `x${text}` }]
            }],
            ["/v1/webhooks", { ...base, ordering: text }],
            ["/v1/webhooks", { ...base, url: text }],
            ["/v1/webhooks", { ...base, [text]: 1 }],
            ["/v1/webhooks", { ...base, headers: { [`${text} `]: "x" } }],
            [`${path}/replay`, { outcome: text }],
            [`${path}/replay`, { event_type: text }],
            [`${path}/replay`, { from: text }],
            [`${path}/recover`, { since: text }],
            [`${path}/secret/rotate`, { secret: "s", overlap_seconds: text }],
            ["/v1/webhooks/preview", { table_name: text }],
            ["/v1/keys", { name: "n", scope: text }],
            ["/api/session", { api_key: text }]
          ]
          for (const [to, body] of refused) {
            const reply = yield* post(to, body)
            assert.isAtLeast(reply.status, 400, `${to} ${JSON.stringify(body).slice(0, 300)}`)
          }
          const preview = yield* post("/v1/webhooks/preview", {
            table_name: "orders",
            columns: ["mark"],
            filter: [{ column: "mark", op: "in", value: [text, `${text}'`] }, {
              column: "mark",
              op: "neq",
              value: text
            }]
          })
          assert.include([200, 400], preview.status, JSON.stringify(text))
          const host = yield* post("/v1/webhooks", { ...base, url: `http://${text}.example/` })
          if (host.status === 201) yield* ask(service, "DELETE", `/v1/webhooks/${host.json.id}`, { headers })
        }
        const after = yield* stateOf(sql)
        for (const table of ["truss.webhooks", "truss.jobs", "truss.api_keys", "orders", "ledger", "catalog"]) {
          assert.strictEqual(after[table], before[table], table)
        }

        // Where any text may stand, it is that text which comes back.
        for (const text of texts) {
          const reply = yield* ask(service, "PATCH", path, {
            headers,
            body: { name: text, filter: [{ column: "mark", op: "eq", value: text }], secret: text }
          })
          assert.include([200, 400], reply.status, JSON.stringify(text))
          if (reply.status === 200) {
            assert.strictEqual(reply.json.name, text)
            assert.strictEqual(reply.json.filter[0].value, text)
          }
          const made = yield* post("/v1/keys", { name: text, scope: "read" }, {
            "idempotency-key": `k-${text.length}'`
          })
          if (made.status === 201) assert.strictEqual(made.json.name, text)
        }
        assert.lengthOf(yield* sql`SELECT FROM orders`, 0)
      })),
    300_000
  )

  it.live("is in no header or request line of a delivery that it could break out of", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, webhook } = yield* scene({ TRUSS_API_KEY: key })
      const patch = (body: object) => ask(service, "PATCH", `/v1/webhooks/${webhook.id}`, { headers, body })
      const reserved = ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Content-Type", "TE", "Trailer"]
        .concat([
          "Upgrade",
          "Expect",
          "Keep-Alive",
          "Proxy-Connection",
          "X-Truss-Signature",
          "Webhook-Id",
          "Content-Encoding"
        ])
      const breaks = [
        "\r\n",
        "\n",
        "\r",
        "\0",
        "\u000b",
        "\u0085",
        "\u2028",
        "\u560d\u560a",
        " ",
        "\u0001",
        "\u007f",
        ":"
      ]
      const refused: Array<object> = []
      for (const name of reserved) {
        for (
          const spelled of [
            name,
            name.toLowerCase(),
            name.toUpperCase(),
            [...name].map((c, i) => i % 2 ? c.toUpperCase() : c.toLowerCase()).join("")
          ]
        ) {
          refused.push({ headers: { [spelled]: "1" } })
        }
        refused.push({ headers: { [`${name} `]: "1" } }, { headers: { [`${name}:`]: "1" } }, {
          headers: { [`${name}\0`]: "1" }
        })
      }
      for (const text of breaks) {
        refused.push({ headers: { [`x${text}y`]: "1" } }, { headers: { [text]: "1" } })
        if (text !== " " && text !== ":") {
          refused.push({ headers: { x: `a${text}x-injected: 1` } })
          if (!["\u0085", "\u2028", "\u560d\u560a"].includes(text)) {
            refused.push({ url: `${endpoint.url}?${text}x` }, { url: endpoint.url.replace("/all", `${text}/all`) }, {
              name: `a${text}b`
            })
          }
        }
      }
      refused.push({ headers: { x: " a" } }, { headers: { x: "a " } }, { headers: { x: "a\r\n\r\nGET / HTTP/1.1" } })
      refused.push({ headers: { a: "1", A: "2" } }, { headers: { "": "1" } }, { headers: { x: 1 } }, { headers: [] })
      refused.push({ url: endpoint.url.replace("http:", "http:\\\\") }, { url: endpoint.url.replace("//", "//a:b@") })
      for (const body of refused) {
        const reply = yield* patch(body)
        if (reply.status !== 400) assert.fail(`${JSON.stringify(body)} ${reply.status} ${reply.text}`)
      }
      // Names that JavaScript's objects have of their own are headers like others, or refused.
      const names = (text: string) => ask(service, "PATCH", `/v1/webhooks/${webhook.id}`, { headers, body: text })
      assert.strictEqual((yield* names(`{"headers":{"__proto__":"p"}}`)).status, 400)
      assert.strictEqual(
        (yield* names(`{"headers":{"constructor":"c","toString":"t","__Proto__":"p","x-a":"\u00e9"}}`)).status,
        200
      )
      yield* sql`INSERT INTO orders VALUES (1, 'a')`
      yield* waitFor("a delivery", Effect.sync(() => endpoint.received().length === 1))
      const { rawHeaders } = endpoint.received()[0]!
      const sent = new Map(rawHeaders.flatMap((name, i) => i % 2 === 0 ? [[name, rawHeaders[i + 1]]] : []))
      assert.deepStrictEqual(
        ["constructor", "toString", "__Proto__", "x-a"].map((name) => sent.get(name) ?? sent.get(name.toLowerCase())),
        ["c", "t", "p", "\u00e9"]
      )
      // Escapes of a line break stay escapes.
      assert.strictEqual((yield* patch({ url: `${endpoint.url}?a=%0d%0ax-injected:%201` })).status, 200)
      const tested = yield* ask(service, "POST", `/v1/webhooks/${webhook.id}/test`, { headers })
      assert.strictEqual(tested.json.status_code, 200)
    })))

  it.live(
    "in JSON that is deep, doubled, poisoned or endless is answered at once, and others meanwhile",
    () =>
      withDatabase(Effect.gen(function*() {
        const { service, sql, webhook } = yield* scene({ TRUSS_API_KEY: key })
        const before = yield* stateOf(sql)
        const many = (text: string, size = 1_000_000) => text.repeat(Math.floor(size / text.length)).slice(0, -1)
        const deep = (open: string, close: string, levels: number) => open.repeat(levels) + "1" + close.repeat(levels)
        const base = `"name":"n","table_name":"orders","events":["INSERT"],"url":"http://127.0.0.1:9/"`
        const bodies = [
          deep("[", "]", 10_000),
          deep("{\"a\":", "}", 10_000),
          `{${base},"filter":[{"column":"id","op":"eq","value":${deep("[", "]", 10_000)}}]}`,
          `{"__proto__":{"name":"n","table_name":"orders"},"constructor":{"prototype":{"active":false}}}`,
          `{${base},"__proto__":{"isAdmin":true}}`,
          `{${base},"constructor":{}}`,
          `{${base},"concurrency":1e999}`,
          `{${base},"concurrency":-0}`,
          `{${base},"concurrency":1e-999}`,
          `{${base},"timeout_ms":${"9".repeat(10_000)}}`,
          `{${base},"timeout_ms":0x10}`,
          `{${base},"max_attempts":"8"}`,
          `{${base},"max_attempts":[8]}`,
          `{${base},"active":"true"}`,
          `{${base},"events":[${many("\"INSERT\",")}]}`,
          `{${base},"events":[${many("1,")}]}`,
          `{${base},"events":[${many("{},")}]}`,
          `{${base},"columns":[${many("\"a\",")}]}`,
          `{${base},"columns":[${many("null,")}]}`,
          `{${base},"filter":[${many(`{"column":"id","op":"eq","value":1},`)}]}`,
          `{${base},"filter":[${many("{},")}]}`,
          `{${base},"filter":[${many("1,")}]}`,
          `{${base},"filter":[{"column":"id","op":"in","value":[${many("1,")}]}]}`,
          `{${base},"filter":[{"column":"id","op":"in","value":[${many("[],")}]}]}`,
          `{${base},"filter":[{"column":"mark","op":"eq","value":"${
            "x".repeat(900_000)
          }"},{"column":"none","op":"is_null"}]}`,
          `{${base},"headers":{${Array.from({ length: 60_000 }, (_, i) => `"x-${i}":"1"`).join(",")}}}`,
          `{${base},"headers":{${Array.from({ length: 60_000 }, (_, i) => `" ${i}":1`).join(",")}}}`,
          `{${Array.from({ length: 90_000 }, (_, i) => `"a${i}":1`).join(",")}}`,
          `{${many("\"name\":\"n\",")}}`,
          `{"name":"${"\\u0000".repeat(150_000)}"}`,
          `"${"a".repeat(1_000_000)}"`,
          `[${many("[],")}]`
        ]
        let slowest = 0
        let running = true
        const others = yield* Effect.forkChild(Effect.gen(function*() {
          while (running) {
            const [took, { status }] = yield* Effect.timed(ask(service, "GET", "/health/live"))
            assert.strictEqual(status, 200)
            slowest = Math.max(slowest, Duration.toMillis(took))
          }
        }))
        for (const body of bodies) {
          for (const [method, path] of [["POST", "/v1/webhooks"], ["PATCH", `/v1/webhooks/${webhook.id}`]] as const) {
            const [took, reply] = yield* Effect.timed(ask(service, method, path, { headers, body }))
            const label = `${method} ${body.slice(0, 160)} ${reply.text.slice(0, 200)}`
            if (method === "PATCH" && reply.status === 200) continue
            assert.include([400, 422], reply.status, label)
            assert.isBelow(Duration.toMillis(took), 5_000, label)
            assert.isBelow(reply.text.length, 100_000, label)
          }
        }
        running = false
        yield* Fiber.join(others)
        assert.isBelow(slowest, 2_000)
        const after = yield* stateOf(sql)
        for (const table of ["truss.api_keys", "orders", "catalog"]) assert.strictEqual(after[table], before[table])
        // Nothing of it stays behind in the process.
        const { json } = yield* ask(service, "POST", "/v1/keys", { headers, body: { name: "clean", scope: "read" } })
        assert.notProperty(json, "isAdmin")
        const zipped = yield* ask(service, "POST", "/v1/webhooks", {
          headers: { ...headers, "content-encoding": "gzip" },
          body: "{}"
        })
        assert.strictEqual(zipped.status, 415)
      })),
    300_000
  )
})
