import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { everything, scene, withDatabase } from "../e2e/Scene.ts"
import { connect, createTables } from "../e2e/Workload.ts"
import { TestDatabase } from "../support/Database.ts"
import { startRecorder } from "../support/Recorder.ts"
import { type ServiceProcess, startService, waitFor } from "../support/ServiceProcess.ts"
import { ask, changes, fill, operationsOf, stateOf } from "./Attack.ts"

const rootKey = `truss_sk_${"k".repeat(43)}`

const makeKey = (service: ServiceProcess, scope: "read" | "write") =>
  Effect.map(
    ask(service, "POST", "/v1/keys", { headers: { apikey: rootKey }, body: { name: scope, scope } }),
    ({ json }) => json as { readonly id: string; readonly key: string }
  )

/** Values for the parameters of a path that are there, so that nothing but the rights can be in the way. */
const target = Effect.fnUntraced(function*(
  service: ServiceProcess,
  webhookId: string
) {
  const headers = { apikey: rootKey }
  let log: ReadonlyArray<{ readonly id: string; readonly event_id: string }> = []
  yield* waitFor(
    "an entry in the log",
    Effect.map(ask(service, "GET", `/v1/webhooks/${webhookId}/logs`, { headers }), ({ json }) => {
      log = json.data
      return log.length > 0
    })
  )
  const keys = (yield* ask(service, "GET", "/v1/keys", { headers })).json.data as ReadonlyArray<{ readonly id: string }>
  return (name: string) => {
    switch (name) {
      case "logId":
        return log[0]!.id
      case "eventId":
        return log[0]!.event_id
      default:
        return name === "id" ? webhookId : keys[0]?.id ?? "none"
    }
  }
})

/** A service that needs credentials, with tables and a webhook. */
const keyed = Effect.gen(function*() {
  const { url } = yield* TestDatabase
  const sql = yield* connect(url)
  yield* createTables(sql)
  const recorder = yield* startRecorder
  const endpoint = recorder.endpoint("/all")
  const service = yield* startService(url, { TRUSS_API_KEY: rootKey, TRUSS_AUTH: "required" })
  yield* service.ready()
  const create = (table_name: string, to: string) =>
    Effect.map(
      ask(service, "POST", "/v1/webhooks", {
        headers: { apikey: rootKey },
        body: { name: table_name, table_name, events: everything, url: to }
      }),
      ({ json }) => json as { readonly id: string }
    )
  return { sql, recorder, endpoint, service, create, webhook: yield* create("orders", endpoint.url) }
})

/** The cookie that a key is traded for. */
const signIn = Effect.fnUntraced(function*(service: ServiceProcess, api_key: string) {
  const { head, status } = yield* ask(service, "POST", "/api/session", { body: { api_key } })
  assert.strictEqual(status, 204)
  return /^set-cookie: (truss_session=[^;]+)/im.exec(head)![1]!
})

describe("an API key", () => {
  it.live("that may read changes nothing by any operation of the document, under either prefix or by its session", () =>
    withDatabase(Effect.gen(function*() {
      const { service, sql, webhook } = yield* keyed
      yield* sql`INSERT INTO orders VALUES (1, 'a')`
      const { id, key } = yield* makeKey(service, "read")
      const cookie = yield* signIn(service, key)
      const valueOf = yield* target(service, webhook.id)
      const before = yield* stateOf(sql)
      for (const prefix of ["/api", "/v1"] as const) {
        const operations = (yield* operationsOf(service, prefix)).filter((operation) =>
          changes(operation) && !operation.path.endsWith("/session")
        )
        assert.isAbove(operations.length, 10)
        for (const operation of operations) {
          const path = fill(operation, (name) => operation.path.includes("/keys/") ? id : valueOf(name))
          const credentials: ReadonlyArray<Record<string, string>> = [
            { apikey: key },
            { apikey: key, "x-http-method-override": "GET" },
            ...(prefix === "/api" ? [{ cookie }] : [])
          ]
          for (const headers of credentials) {
            for (const body of [undefined, {}, { name: "x" }]) {
              const { status } = yield* ask(service, operation.method, `${path}?_method=GET`, { headers, body })
              assert.strictEqual(status, 403, `${operation.method} ${path} ${Object.keys(headers)}`)
            }
          }
        }
      }
      assert.deepStrictEqual(yield* stateOf(sql), before)
    })))

  it.live("counts by its exact characters alone, while it is there, and several that disagree let nobody in", () =>
    withDatabase(Effect.gen(function*() {
      const { service } = yield* keyed
      const { id, key } = yield* makeKey(service, "write")
      const other = yield* makeKey(service, "read")
      const status = (headers: Record<string, string>) =>
        Effect.map(ask(service, "GET", "/v1/webhooks", { headers }), (reply) => reply.status)
      assert.strictEqual(yield* status({ apikey: key }), 200)
      const flipped = Array.from(key.slice(9), (_, i) => {
        const at = 9 + i
        return key.slice(0, at) + (key[at] === "A" ? "B" : "A") + key.slice(at + 1)
      })
      const forged = [
        ...flipped,
        key.slice(0, -1),
        `${key}A`,
        `${key}=`,
        `${key}%20`,
        `${key}\u00a0`,
        `"${key}"`,
        `${key},${key}`,
        `${key}, ${rootKey}`,
        `${key};`,
        key.toUpperCase(),
        key.toLowerCase() === key ? `x${key}` : key.toLowerCase(),
        key.slice(9),
        `truss_pk_${key.slice(9)}`,
        `TRUSS_SK_${key.slice(9)}`,
        key.slice(0, 16),
        id,
        `truss_sk_${id}`,
        rootKey.slice(0, -1),
        `${rootKey}k`,
        `truss_sk_${"k".repeat(44)}`,
        "truss_sk_",
        "null",
        "undefined",
        "*",
        "%",
        "' OR '1'='1",
        "' OR hash IS NOT NULL --",
        "\\x00",
        "[object Object]",
        "true",
        "a".repeat(8_000)
      ]
      for (const text of forged) {
        assert.strictEqual(yield* status({ apikey: text }), 401, text)
        assert.strictEqual(yield* status({ "x-api-key": text }), 401, text)
        assert.strictEqual(yield* status({ authorization: `Bearer ${text}` }), 401, text)
      }
      // The first that is there counts, and no other makes up for it.
      assert.strictEqual(yield* status({ apikey: "wrong", "x-api-key": key }), 401)
      assert.strictEqual(yield* status({ "x-api-key": "wrong", authorization: `Bearer ${key}` }), 401)
      assert.strictEqual(yield* status({ apikey: `${other.key}\r\napikey: ${key}` }), 401)
      assert.strictEqual(yield* status({ authorization: `Bearer wrong\r\nauthorization: Bearer ${key}` }), 401)
      for (const scheme of ["Basic", "Digest", "Token", "Bearer:", "BearerX", "Bearer Bearer"]) {
        assert.strictEqual(yield* status({ authorization: `${scheme} ${key}` }), 401, scheme)
      }
      for (const query of ["apikey", "api_key", "access_token", "x-api-key", "key"]) {
        const reply = yield* ask(service, "GET", `/v1/webhooks?${query}=${key}`)
        assert.strictEqual(reply.status, 401, query)
      }
      for (const cookie of [`apikey=${key}`, `truss_session=${key}`, `ory_kratos_session=${key}`]) {
        assert.strictEqual(yield* status({ cookie }), 401, cookie)
      }
      assert.strictEqual(
        (yield* ask(service, "DELETE", `/v1/keys/${id}`, { headers: { apikey: rootKey } })).status,
        204
      )
      assert.strictEqual(yield* status({ apikey: key }), 401)
    })))

  it.live("sees of a webhook only what is that webhook's", () =>
    withDatabase(Effect.gen(function*() {
      const { create, endpoint, recorder, service, sql, webhook } = yield* keyed
      const headers = { apikey: rootKey }
      const other = yield* create("ledger", recorder.endpoint("/other").url)
      yield* sql`INSERT INTO orders VALUES (1, 'secret')`
      const valueOf = yield* target(service, webhook.id)
      yield* sql`INSERT INTO ledger VALUES ('x')`
      yield* target(service, other.id)
      const { json: job } = yield* ask(service, "POST", `/v1/webhooks/${webhook.id}/replay`, { headers, body: {} })
      const sent = endpoint.received().length
      const [logId, eventId] = [valueOf("logId"), valueOf("eventId")]
      const path = `/v1/webhooks/${other.id}`
      for (
        const [method, to] of [
          ["GET", `${path}/logs/${logId}`],
          ["POST", `${path}/replay/${logId}`],
          ["POST", `${path}/skip/${eventId}`],
          ["DELETE", `${path}/jobs/${job.job_id}`],
          ["GET", `${path}/logs/${eventId}`],
          ["GET", `/v1/webhooks/${logId}`],
          ["GET", `/v1/events/${logId}`],
          ["DELETE", `/v1/keys/${webhook.id}`],
          ["GET", `${path}/logs/..%2f..%2f${webhook.id}%2flogs%2f${logId}`]
        ] as const
      ) {
        const reply = yield* ask(service, method, to, { headers })
        assert.strictEqual(reply.status, 404, `${method} ${to} ${reply.text}`)
        assert.notInclude(reply.text, "secret")
      }
      const filtered = yield* ask(service, "GET", `${path}/logs?event_id=${eventId}`, { headers })
      assert.deepStrictEqual(filtered.json.data, [])
      // A stream of one webhook that resumes from the other's entry starts anew, and says so.
      const stream = yield* ask(service, "GET", `${path}/logs/stream`, {
        headers: { ...headers, "last-event-id": logId },
        quietMs: 1_500
      })
      assert.notInclude(stream.head, "secret")
      assert.notInclude(stream.text, "secret")
      assert.isAtLeast(endpoint.received().length, sent)
    })))
})

describe("a cursor", () => {
  it.live("that was tampered with, or is another list's, is 400 or shows that list's entries alone", () =>
    withDatabase(Effect.gen(function*() {
      const { create, endpoint, service, sql, webhook } = yield* keyed
      const headers = { apikey: rootKey }
      const more = yield* create("orders", endpoint.url)
      yield* makeKey(service, "read")
      yield* makeKey(service, "read")
      yield* sql`INSERT INTO orders SELECT i, 'm' FROM generate_series(1, 3) i`
      const path = `/v1/webhooks/${webhook.id}`
      yield* waitFor(
        "three entries",
        Effect.map(ask(service, "GET", `${path}/logs`, { headers }), ({ json }) => json.data.length === 3)
      )
      for (let i = 0; i < 2; i++) yield* ask(service, "POST", `${path}/replay`, { headers, body: {} })
      const lists = [
        "/v1/webhooks",
        "/v1/keys",
        "/v1/audit",
        "/v1/tables",
        `${path}/logs`,
        `${path}/jobs`,
        `/v1/webhooks/${more.id}/logs`
      ]
      const cursors: Array<string> = []
      for (const list of lists) {
        const { json } = yield* ask(service, "GET", `${list}?limit=1`, { headers })
        assert.isString(json.next_cursor, list)
        cursors.push(json.next_cursor)
      }
      const made = [
        "",
        "0",
        "-1",
        "999999999999999999999",
        "0 00000000-0000-0000-0000-000000000000",
        "99999999999999999 ffffffff-ffff-ffff-ffff-ffffffffffff",
        "-99999999999999999 ffffffff-ffff-ffff-ffff-ffffffffffff",
        "1 x' OR '1'='1",
        "public\0orders",
        "pg_catalog\0pg_authid",
        "\xff\0\xff",
        "\0",
        "\0\0",
        "{}",
        "null",
        "[1]",
        "NaN",
        "Infinity",
        "1e400",
        "9007199254740993",
        "a\u0000b",
        "x".repeat(9_000)
      ].flatMap((text) => [Buffer.from(text).toString("base64url"), encodeURIComponent(text)])
      const bent = cursors.flatMap((cursor) => [cursor.slice(0, -1), `${cursor}A`, `A${cursor}`, cursor.toLowerCase()])
      for (const [i, list] of lists.entries()) {
        for (const cursor of [...cursors, ...made, ...bent]) {
          const reply = yield* ask(service, "GET", `${list}?limit=2&cursor=${encodeURIComponent(cursor)}`, { headers })
          const label = `${list} ${cursor} ${reply.text}`
          assert.include([200, 400, 414, 431], reply.status, label)
          if (reply.status === 200 && i === 4) {
            for (const entry of reply.json.data) assert.strictEqual(entry.webhook_id, webhook.id, label)
          }
          if (reply.status === 400) assert.strictEqual(reply.json.errors[0].path, "cursor", label)
          assert.notInclude(reply.text, "pg_authid")
        }
      }
    })))
})

describe("another site's page, or a name that was rebound to this machine", () => {
  const foreign: ReadonlyArray<Record<string, string>> = [
    { origin: "https://evil.com" },
    { origin: "null" },
    { "sec-fetch-site": "cross-site" },
    { "sec-fetch-site": "same-site", origin: "http://evil.localhost" },
    { referer: "https://evil.com/" }
  ]

  it.live("changes nothing by any operation of an open service", () =>
    withDatabase(Effect.gen(function*() {
      const { service, sql, webhook } = yield* scene({ TRUSS_API_KEY: rootKey })
      yield* sql`INSERT INTO orders VALUES (1, 'a')`
      const valueOf = yield* target(service, webhook.id)
      const before = yield* stateOf(sql)
      const operations = yield* operationsOf(service, "/api")
      for (const operation of operations) {
        const path = fill(operation, valueOf)
        const body = operation.hasBody ? {} : undefined
        for (const host of ["evil.com", "evil.com:80", "localhost.evil.com", "127.0.0.1.nip.io", "169.254.169.254"]) {
          if (path === "/api/session" && operation.method === "GET") continue
          const { status } = yield* ask(service, operation.method, path, { headers: { host }, body })
          assert.strictEqual(status, 403, `${operation.method} ${path} ${host}`)
        }
        if (operation.method === "GET") continue
        for (const headers of foreign) {
          const { status } = yield* ask(service, operation.method, path, { headers, body })
          assert.strictEqual(status, 403, `${operation.method} ${path} ${JSON.stringify(headers)}`)
        }
        for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
          const { status } = yield* ask(service, operation.method, path, {
            headers: { "content-type": type },
            body: "{}"
          })
          assert.strictEqual(status, 415, `${operation.method} ${path} ${type}`)
        }
      }
      assert.deepStrictEqual(yield* stateOf(sql), before)
    })))

  it.live("changes nothing by any operation with the cookie of who is signed in", () =>
    withDatabase(Effect.gen(function*() {
      const { service, sql, webhook } = yield* keyed
      yield* sql`INSERT INTO orders VALUES (1, 'a')`
      const valueOf = yield* target(service, webhook.id)
      const cookie = yield* signIn(service, rootKey)
      assert.strictEqual((yield* ask(service, "GET", "/api/webhooks", { headers: { cookie } })).status, 200)
      const before = yield* stateOf(sql)
      for (const operation of yield* operationsOf(service, "/api")) {
        if (operation.method === "GET") continue
        const path = fill(operation, valueOf)
        const body = operation.hasBody ? {} : undefined
        for (const added of foreign) {
          const { status } = yield* ask(service, operation.method, path, { headers: { cookie, ...added }, body })
          assert.strictEqual(status, 403, `${operation.method} ${path} ${JSON.stringify(added)}`)
        }
        const form = { cookie, "content-type": "text/plain" }
        const { status } = yield* ask(service, operation.method, path, { headers: form, body: "{}" })
        assert.strictEqual(status, 415, `${operation.method} ${path}`)
        // Under /v1 it is no credential at all.
        const managed = path.replace("/api/", "/v1/")
        if (path !== "/api/session") {
          const reply = yield* ask(service, operation.method, managed, { headers: { cookie }, body })
          assert.strictEqual(reply.status, 401, `${operation.method} ${managed}`)
        }
      }
      assert.deepStrictEqual(yield* stateOf(sql), before)
    })))
})
