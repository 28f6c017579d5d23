import { assert, it } from "@effect/vitest"
import { Effect, Layer, Logger, References } from "effect"
import { Asked, readKey, TestServer, writeKey } from "./TestServer.ts"

const input = { name: "orders", table_name: "orders", events: ["INSERT"], url: "https://example.com/hook" }

it.layer(TestServer.layer(), { excludeTestServices: true })("webhooks", (it) => {
  for (const [prefix, headers] of [["/api", {}], ["/v1", { apikey: writeKey }]] as const) {
    it.effect(`are created, read, changed, tested and deleted under ${prefix}`, () =>
      Effect.gen(function*() {
        const server = yield* TestServer
        const created = yield* server.ask("POST", `${prefix}/webhooks`, { ...input, secret: "s3cr3t" }, headers)
        assert.strictEqual(created.status, 201)
        assert.strictEqual(created.json.name, "orders")
        assert.strictEqual(created.json.table_schema, "public")
        assert.strictEqual(created.json.has_secret, true)
        assert.notInclude(created.text, "s3cr3t")
        assert.strictEqual(created.headers.get("content-type"), "application/json")
        assert.strictEqual(created.headers.get("x-content-type-options"), "nosniff")
        assert.strictEqual(created.headers.get("cache-control"), "no-store")
        const path = `${prefix}/webhooks/${created.json.id}`

        const read = yield* server.ask("GET", path, undefined, headers)
        assert.deepStrictEqual([read.status, read.json], [200, created.json])

        const patched = yield* server.ask("PATCH", path, { active: false, secret: null }, headers)
        assert.deepStrictEqual([patched.status, patched.json.active, patched.json.has_secret], [200, false, false])

        const list = yield* server.ask("GET", `${prefix}/webhooks`, undefined, headers)
        assert.strictEqual(list.status, 200)
        assert.include(list.json.data.map((webhook: { id: string }) => webhook.id), created.json.id)
        assert.strictEqual(list.json.next_cursor, null)

        const test = yield* server.ask("POST", `${path}/test`, undefined, headers)
        assert.strictEqual(test.status, 200)
        assert.deepStrictEqual(test.json, {
          log_id: "dlv_2",
          status_code: 500,
          response_body: "no",
          latency_ms: 2.25,
          error: null
        })

        const deleted = yield* server.ask("DELETE", path, undefined, headers)
        assert.deepStrictEqual([deleted.status, deleted.text], [204, ""])
        assert.strictEqual((yield* server.ask("GET", path, undefined, headers)).status, 404)
        assert.strictEqual((yield* server.ask("DELETE", path, undefined, headers)).status, 404)
      }))
  }

  it.effect("get another secret, which is shown this once", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const asked = yield* Asked
      const { json } = yield* server.ask("POST", "/api/webhooks", input)
      const path = `/webhooks/${json.id}/secret/rotate`

      const rotated = yield* server.ask("POST", `/api${path}`)
      assert.deepStrictEqual([rotated.status, rotated.json], [
        200,
        { secret: "whsec_new", previous_valid_until: "2025-01-16T10:00:00.000Z" }
      ])
      assert.strictEqual(rotated.headers.get("cache-control"), "no-store")
      assert.deepStrictEqual(asked.rotation, { overlap_seconds: 86_400, actor: "local" })

      const given = { secret: "my own", overlap_seconds: 0 }
      const answer = yield* server.ask("POST", `/v1${path}`, given, { apikey: writeKey })
      assert.deepStrictEqual([answer.status, answer.json.secret], [200, "my own"])
      assert.deepStrictEqual(asked.rotation, { ...given, actor: "writer" })
    }))

  it.effect("get no other secret by a body that does not fit, by a key that may only read, or when they are not there", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const { json } = yield* server.ask("POST", "/api/webhooks", input)
      const path = `/webhooks/${json.id}/secret/rotate`
      const paths = Effect.fnUntraced(function*(body: unknown) {
        const answer = yield* server.ask("POST", `/api${path}`, body)
        assert.strictEqual(answer.status, 400)
        return answer.json.errors.map((error: { path: string }) => error.path)
      })
      assert.deepStrictEqual(yield* paths({ overlap_seconds: 2_592_001 }), ["overlap_seconds"])
      assert.deepStrictEqual(yield* paths({ overlap_seconds: -1, secret: "" }), ["secret", "overlap_seconds"])
      assert.deepStrictEqual(yield* paths({ overlap_seconds: "1" }), ["overlap_seconds"])
      assert.deepStrictEqual(yield* paths({ secret: null }), ["secret"])
      assert.deepStrictEqual(yield* paths({ overlap: 5 }), ["overlap"])
      assert.strictEqual((yield* server.ask("POST", `/v1${path}`, {}, { apikey: readKey })).status, 403)
      assert.strictEqual((yield* server.ask("GET", `/api${path}`)).status, 405)
      const missing = yield* server.ask("POST", "/api/webhooks/nobody/secret/rotate")
      assert.strictEqual(missing.status, 404)
      assert.strictEqual(missing.headers.get("content-type"), "application/problem+json")
    }))

  it.effect("that do not fit are refused with every fault at once", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const answer = yield* server.ask("POST", "/api/webhooks", {
        name: "",
        table_name: 5,
        events: ["INSERT", "UPSERT"],
        url: "ftp://example.com",
        headers: { Host: "x", "X-Fine": "y" },
        active: "yes",
        concurrency: 1000,
        timeout_ms: 1000.5,
        secret: { leaked: "s3cr3t" },
        colour: "red"
      })
      assert.strictEqual(answer.status, 400)
      assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
      assert.strictEqual(answer.json.status, 400)
      assert.strictEqual(answer.json.title, "Bad Request")
      assert.isString(answer.json.type)
      assert.isString(answer.json.detail)
      assert.deepStrictEqual(answer.json.errors.map((error: { path: string }) => error.path).toSorted(), [
        "active",
        "colour",
        "concurrency",
        "events.1",
        "headers.Host",
        "name",
        "secret",
        "table_name",
        "timeout_ms",
        "url"
      ])
      for (const error of answer.json.errors) assert.isNotEmpty(error.message)
      assert.notInclude(answer.text, "s3cr3t")
    }))

  it.effect("need what has no default", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const answer = yield* server.ask("POST", "/api/webhooks", {})
      assert.strictEqual(answer.status, 400)
      assert.deepStrictEqual(answer.json.errors, [
        { path: "name", message: "is required" },
        { path: "table_name", message: "is required" },
        { path: "events", message: "is required" },
        { path: "url", message: "is required" }
      ])
    }))

  it.effect("are changed only by members that can be written", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const { json } = yield* server.ask("POST", "/api/webhooks", input)
      const answer = yield* server.ask("PATCH", `/api/webhooks/${json.id}`, { id: "x", fail_count: 0, name: null })
      assert.strictEqual(answer.status, 400)
      assert.deepStrictEqual(answer.json.errors.map((error: { path: string }) => error.path), [
        "id",
        "fail_count",
        "name"
      ])
      assert.strictEqual((yield* server.ask("PATCH", `/api/webhooks/${json.id}`, {})).status, 200)
    }))

  it.effect("are listed by limit, cursor, table and activity", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const asked = yield* Asked
      assert.strictEqual((yield* server.ask("GET", "/api/webhooks")).status, 200)
      assert.deepStrictEqual(asked.webhooks, { limit: 50 })
      const path = "/api/webhooks?limit=500&cursor=abc&table=public.orders&active=false&unknown=1"
      assert.strictEqual((yield* server.ask("GET", path)).status, 200)
      assert.deepStrictEqual(asked.webhooks, { limit: 500, cursor: "abc", table: "public.orders", active: false })
    }))

  it.effect("are not listed by parameters that do not fit", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const faults = Effect.fnUntraced(function*(query: string) {
        const answer = yield* server.ask("GET", `/api/webhooks?${query}`)
        assert.strictEqual(answer.status, 400, query)
        assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
        return answer.json.errors.map((error: { path: string }) => error.path)
      })
      for (const limit of ["abc", "0", "501", "1e9", "-1", "1.5", "", "0x10", "9".repeat(400), "1&limit=2"]) {
        assert.deepStrictEqual(yield* faults(`limit=${limit}`), ["limit"])
      }
      assert.deepStrictEqual(yield* faults("active=1"), ["active"])
      assert.deepStrictEqual(yield* faults("table=%00"), ["table"])
      assert.deepStrictEqual(yield* faults("cursor=nonsense"), ["cursor"])
      assert.deepStrictEqual(yield* faults("limit=0&active=maybe&cursor=%00"), ["limit", "cursor", "active"])
    }))

  it.effect("answer what the services say with the status of the contract", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const create = (table_name: string) => server.ask("POST", "/api/webhooks", { ...input, table_name })
      const locked = yield* create("locked")
      assert.deepStrictEqual([locked.status, locked.json.detail], [409, "public.locked is locked by others"])
      const nowhere = yield* create("nowhere")
      assert.deepStrictEqual([nowhere.status, nowhere.json.detail], [422, "public.nowhere does not exist"])
      assert.strictEqual(nowhere.json.reason, "not_found")
      const away = yield* create("away")
      assert.strictEqual(away.status, 503)
      assert.strictEqual(away.headers.get("retry-after"), "1")
      assert.notInclude(away.text, "db.internal")
      for (const answer of [locked, nowhere, away]) {
        assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
        assert.strictEqual(answer.json.status, answer.status)
      }
    }))
})

const logged: Array<{ readonly level: string; readonly text: string }> = []

const Recorder = Logger.layer([
  Logger.map(Logger.formatJson, (text) => void logged.push({ level: JSON.parse(text).level, text }))
])

it.layer(TestServer.layer().pipe(Layer.provideMerge(Recorder)), { excludeTestServices: true })("the log", (it) => {
  it.effect("has what went wrong here, and the answer does not", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const answer = yield* server.ask("POST", "/api/webhooks?token=hidden", { ...input, table_name: "broken" })
      assert.strictEqual(answer.status, 500)
      assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
      assert.strictEqual(answer.json.status, 500)
      assert.notInclude(answer.text, "secret")
      const [line, ...more] = logged.splice(0)
      assert.strictEqual(line?.level, "ERROR")
      assert.include(line!.text, "a secret of the service")
      assert.include(line!.text, "/api/webhooks")
      assert.notInclude(line!.text, "hidden")
      assert.deepStrictEqual(more, [])
    }))

  it.effect("has no line for a request that was answered", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const requests = [["GET", "/api/webhooks"], ["GET", "/nope"], ["POST", "/api/webhooks"], ["GET", "/v1/webhooks"]]
      for (const [method, path] of requests) yield* server.ask(method!, path!)
      assert.deepStrictEqual(logged, [])
    }))
})

const Verbose = Layer.merge(Recorder, Layer.succeed(References.MinimumLogLevel, "Debug"))

it.layer(TestServer.layer().pipe(Layer.provideMerge(Verbose)), { excludeTestServices: true })(
  "the log at debug",
  (it) => {
    it.effect("has a line for every request, without its query and keys", () =>
      Effect.gen(function*() {
        const server = yield* TestServer
        logged.splice(0)
        yield* server.ask("GET", "/v1/webhooks?table=hidden", undefined, { apikey: writeKey })
        yield* server.ask("GET", "/nope?table=hidden")
        const lines = logged.splice(0).filter(({ text }) => text.includes("\"HTTP\""))
        assert.strictEqual(lines.length, 2)
        assert.include(lines[0]!.text, "\"status\":200")
        assert.include(lines[1]!.text, "\"status\":404")
        for (const { text } of lines) {
          assert.notInclude(text, "hidden")
          assert.notInclude(text, writeKey)
        }
      }))
  }
)
