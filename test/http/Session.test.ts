import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { ApiKeys } from "../../src/services/ApiKeys.ts"
import { Sessions } from "../../src/services/Sessions.ts"
import type { TestDatabase } from "../support/Database.ts"
import { KratosServer, kratosSession } from "../support/KratosServer.ts"
import { Application, run, RunningService, until } from "../support/RunningService.ts"

const configured = `truss_sk_${"c".repeat(40)}`
const http = { auth: "required", apiKey: Redacted.make(configured) } as const

const Required = RunningService.layer({ http })

type Headers_ = Readonly<Record<string, string>>

const ask = Effect.fnUntraced(function*(method: string, path: string, headers: Headers_ = {}, body?: unknown) {
  const { baseUrl } = yield* RunningService
  const response = yield* Effect.promise(() =>
    fetch(`${baseUrl}${path}`, {
      method,
      headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) })
    })
  )
  const text = yield* Effect.promise(() => response.text())
  return { status: response.status, headers: response.headers, text, json: text === "" ? undefined : JSON.parse(text) }
})

const trade = (api_key: string, headers?: Headers_) => ask("POST", "/api/session", headers, { api_key })

/** The cookie that the key was traded for. */
const signIn = Effect.fnUntraced(function*(key: string, headers?: Headers_) {
  const answer = yield* trade(key, headers)
  assert.deepStrictEqual([answer.status, answer.text], [204, ""])
  return { cookie: answer.headers.get("set-cookie")!.split(";", 1)[0]! }
})

const status = (method: string, path: string, headers: Headers_, body?: unknown) =>
  Effect.map(ask(method, path, headers, body), (answer) => answer.status)

const makeKey = Effect.fnUntraced(function*(scope: "read" | "write", name: string = scope) {
  const { id, key } = yield* (yield* ApiKeys).create(name, scope)
  return { id, key: Redacted.value(key) }
})

const rows = Effect.gen(function*() {
  const sql = yield* Application
  return (yield* sql<{ all: string }>`SELECT s::text AS all FROM truss.sessions s`).map(({ all }) => all)
})

const deliveries = { name: "a", table_name: "nowhere", events: ["INSERT"], url: "https://example.com/" }

it.layer(Required, { excludeTestServices: true })("a session for an API key", (it) => {
  it.effect("is a cookie that scripts cannot read and other sites do not send, for 12 hours", () =>
    Effect.gen(function*() {
      const { key } = yield* makeKey("write")
      const answer = yield* trade(key)
      const [value, ...attributes] = answer.headers.get("set-cookie")!.split("; ")
      assert.match(value!, /^truss_session=[\w-]{43}$/)
      assert.sameMembers(attributes, ["Max-Age=43200", "Path=/api", "HttpOnly", "SameSite=Strict"])
      assert.strictEqual(answer.headers.get("cache-control"), "no-store")
      assert.strictEqual(answer.headers.getSetCookie().length, 1)
      for (
        const headers of [
          { "x-forwarded-proto": "https" },
          { "x-forwarded-proto": "https, http" },
          { origin: "https://truss.example.com", "sec-fetch-site": "same-origin" }
        ]
      ) {
        assert.include((yield* trade(key, headers)).headers.get("set-cookie")!.split("; "), "Secure")
      }
      assert.notInclude((yield* trade(key, { "x-forwarded-proto": "http" })).headers.get("set-cookie"), "Secure")
    }))

  it.effect("lets in under /api and nowhere else, by its exact value", () =>
    Effect.gen(function*() {
      const { key } = yield* makeKey("write")
      const { cookie } = yield* signIn(key)
      assert.strictEqual(yield* status("GET", "/api/webhooks", { cookie }), 200)
      assert.strictEqual(yield* status("GET", "/v1/webhooks", { cookie }), 401)
      const token = cookie.slice("truss_session=".length)
      const forged = [
        cookie.slice(0, -1),
        `${cookie}x`,
        "truss_session=",
        `truss_session=${"A".repeat(43)}`,
        `truss_session=${key}`,
        `truss_session=${configured}`,
        `truss_session=${token.toUpperCase()}`,
        `Truss_Session=${token}`,
        `ory_kratos_session=${token}`,
        `truss_session=' OR 1=1 --`,
        `truss_session=%00`
      ]
      for (const cookie of forged) assert.strictEqual(yield* status("GET", "/api/webhooks", { cookie }), 401, cookie)
      for (const apikey of [token, `truss_sk_${token}`]) {
        assert.strictEqual(yield* status("GET", "/api/webhooks", { apikey }), 401)
      }
    }))

  it.effect("may do what its key may, in the key's name", () =>
    Effect.gen(function*() {
      const reader = yield* makeKey("read", "the reader")
      const read = yield* signIn(reader.key)
      assert.strictEqual(yield* status("GET", "/api/keys", read), 200)
      assert.strictEqual(yield* status("POST", "/api/keys", read, { name: "x", scope: "write" }), 403)
      assert.strictEqual(yield* status("DELETE", `/api/keys/${reader.id}`, read), 403)
      const writer = yield* makeKey("write", "the writer")
      const write = yield* signIn(writer.key)
      assert.strictEqual(yield* status("POST", "/api/keys", write, { name: "by session", scope: "read" }), 201)
      const { json } = yield* ask("GET", "/api/audit", write)
      assert.deepInclude(json.data[0], { action: "key.created", actor: "the writer" })
      const signedIn = json.data.filter(({ action }: { action: string }) => action === "session.created")
      assert.deepInclude(signedIn[0], { actor: "the writer", detail: { key_id: writer.id, scope: "write" } })
      assert.deepInclude(signedIn[1], { actor: "the reader", detail: { key_id: reader.id, scope: "read" } })
    }))

  it.effect("says whose it is", () =>
    Effect.gen(function*() {
      const { key } = yield* makeKey("read", "ops")
      const state = (headers: Headers_) => Effect.map(ask("GET", "/api/session", headers), ({ json }) => json)
      assert.deepStrictEqual(yield* state({}), { mode: "api_key", principal: null, login_url: null })
      assert.deepStrictEqual((yield* state(yield* signIn(key))).principal, { name: "ops", scope: "read" })
      assert.deepStrictEqual((yield* state(yield* signIn(configured))).principal, {
        name: "TRUSS_API_KEY",
        scope: "write"
      })
    }))

  it.effect("ends when it is asked to, also for who may only read, and only this one", () =>
    Effect.gen(function*() {
      const { key } = yield* makeKey("read", "leaver")
      const [first, second] = [yield* signIn(key), yield* signIn(key)]
      const ended = yield* ask("DELETE", "/api/session", first)
      assert.deepStrictEqual([ended.status, ended.text], [204, ""])
      const [value, ...attributes] = ended.headers.get("set-cookie")!.split("; ")
      assert.strictEqual(value, "truss_session=")
      assert.includeMembers(attributes, ["Max-Age=0", "Path=/api", "HttpOnly", "SameSite=Strict"])
      assert.strictEqual(yield* status("GET", "/api/webhooks", first), 401)
      assert.strictEqual(yield* status("GET", "/api/webhooks", second), 200)
      for (const headers of [first, {}, { cookie: "truss_session=nonsense" }]) {
        assert.strictEqual(yield* status("DELETE", "/api/session", headers), 204)
      }
      const { json } = yield* ask("GET", "/api/audit?limit=1", second)
      assert.deepInclude(json.data[0], { action: "session.ended", actor: "leaver" })
    }))

  it.effect("gives way to the next one of the same browser", () =>
    Effect.gen(function*() {
      const { key } = yield* makeKey("read")
      const first = yield* signIn(key)
      const second = yield* signIn(key, first)
      assert.strictEqual(yield* status("GET", "/api/webhooks", first), 401)
      assert.strictEqual(yield* status("GET", "/api/webhooks", second), 200)
    }))

  it.effect("ends with its key, at once", () =>
    Effect.gen(function*() {
      const { id, key } = yield* makeKey("write")
      const session = yield* signIn(key)
      assert.strictEqual(yield* status("DELETE", `/api/keys/${id}`, session), 204)
      assert.strictEqual(yield* status("GET", "/api/webhooks", session), 401)
      assert.strictEqual((yield* trade(key)).status, 401)
    }))

  it.effect("ends 12 hours after it began, and leaves nothing", () =>
    Effect.gen(function*() {
      const { key } = yield* makeKey("write")
      const session = yield* signIn(key)
      yield* run(`UPDATE truss.sessions SET expires_at = expires_at - interval '12 hours' + interval '1 minute'`)
      assert.strictEqual(yield* status("GET", "/api/webhooks", session), 200)
      yield* run(`UPDATE truss.sessions SET expires_at = expires_at - interval '1 minute'`)
      assert.strictEqual(yield* status("GET", "/api/webhooks", session), 401)
      yield* signIn(key)
      yield* (yield* Sessions).forget
      assert.strictEqual((yield* rows).length, 1)
    }))

  it.effect("is stored as a hash, and there are 1,000 of a key at most", () =>
    Effect.gen(function*() {
      const { id, key } = yield* makeKey("write")
      const oldest = yield* signIn(key)
      const other = yield* signIn(configured)
      yield* run(`INSERT INTO truss.sessions (hash, key_id, expires_at)
        SELECT sha256(n::text::bytea), '${id}', now() + interval '1 hour' FROM generate_series(1, 1000) n`)
      const newest = yield* signIn(key)
      assert.strictEqual((yield* rows).filter((row) => row.includes(id)).length, 1000)
      assert.strictEqual(yield* status("GET", "/api/webhooks", oldest), 401)
      for (const session of [newest, other]) assert.strictEqual(yield* status("GET", "/api/webhooks", session), 200)
      const stored = (yield* rows).join("\n")
      for (const { cookie } of [newest, other]) {
        const token = cookie.split("=")[1]!
        assert.notInclude(stored, token)
        assert.notInclude(stored, Buffer.from(token).toString("hex"))
      }
    }))

  it.effect("is refused for a key that is not valid, after a while, and with every fault of a body", () =>
    Effect.gen(function*() {
      const { id, key } = yield* makeKey("write")
      yield* (yield* ApiKeys).revoke(id)
      for (
        const bad of ["", "truss_sk_", `truss_sk_${"x".repeat(43)}`, `${configured}x`, configured.slice(0, -1), key]
      ) {
        const answer = yield* trade(bad)
        assert.strictEqual(answer.status, 401, bad)
        assert.strictEqual(answer.json.type, "urn:truss:problem:unauthorized")
        assert.isNull(answer.headers.get("set-cookie"))
        assert.notInclude(answer.text, bad || "truss_sk_")
      }
      for (
        const body of [{}, { api_key: 1 }, { api_key: null }, { api_key: key, more: 1 }, [], "{", {
          api_key: "x".repeat(4097)
        }]
      ) {
        const answer = yield* ask("POST", "/api/session", {}, body)
        assert.strictEqual(answer.status, 400, JSON.stringify(body))
        assert.notInclude(answer.text, key)
      }
    }))

  it.effect("is for the service's own pages", () =>
    Effect.gen(function*() {
      const { key } = yield* makeKey("write")
      const session = yield* signIn(key)
      const foreign: ReadonlyArray<Headers_> = [{ "sec-fetch-site": "cross-site" }, { origin: "https://evil.com" }]
      for (const headers of foreign) {
        assert.strictEqual((yield* trade(key, headers)).status, 403)
        assert.strictEqual(yield* status("DELETE", "/api/session", { ...session, ...headers }), 403)
        assert.strictEqual(yield* status("POST", "/api/keys", { ...session, ...headers }, {}), 403)
      }
      for (const type of ["text/plain", "application/x-www-form-urlencoded"]) {
        assert.strictEqual((yield* trade(key, { "content-type": type })).status, 415)
        assert.strictEqual(
          yield* status("POST", "/api/webhooks", { ...session, "content-type": type }, deliveries),
          415
        )
      }
      assert.strictEqual(yield* status("GET", "/api/webhooks", session), 200)
    }))

  it.effect("ends a stream that it opened, by its next heartbeat", () =>
    Effect.gen(function*() {
      const { baseUrl } = yield* RunningService
      yield* run("CREATE TABLE followed (id int PRIMARY KEY)")
      const made = yield* ask("POST", "/api/webhooks", { apikey: configured }, {
        ...deliveries,
        table_name: "followed"
      })
      const open = Effect.fnUntraced(function*(headers: Headers_) {
        const response = yield* Effect.promise(() =>
          fetch(`${baseUrl}/api/webhooks/${made.json.id}/logs/stream`, { headers })
        )
        assert.strictEqual(response.status, 200)
        assert.match(response.headers.get("content-type")!, /^text\/event-stream/)
        const state = { ended: false }
        const reader = response.body!.getReader()
        const read = async (): Promise<void> => {
          const { done } = await reader.read()
          if (done) state.ended = true
          else return read()
        }
        void read().catch(() => state.ended = true)
        return state
      })
      const { key } = yield* makeKey("read")
      const session = yield* signIn(key)
      const stays = yield* signIn(key)
      const ends = yield* open(session)
      const goesOn = yield* open(stays)
      assert.strictEqual(yield* status("DELETE", "/api/session", session), 204)
      yield* until("the end of the stream", Effect.sync(() => ends.ended), (ended) => ended, 30_000)
      assert.isFalse(goesOn.ended)
    }), 40_000)
})

const service = (apiKey: string, more?: { readonly kratosUrl: string }) =>
  RunningService.layerOn({ http: { auth: "required", apiKey: Redacted.make(apiKey), ...more } })

const withService = <A, E, R>(
  layer: Layer.Layer<RunningService, unknown, TestDatabase>,
  use: Effect.Effect<A, E, R>
) => Effect.scoped(Effect.provide(use, Layer.fresh(layer)))

it.layer(Required, { excludeTestServices: true })("over processes and restarts, a session", (it) => {
  it.effect("holds and ends everywhere", () =>
    Effect.gen(function*() {
      const { key } = yield* makeKey("write")
      const stored = yield* signIn(key)
      const own = yield* signIn(configured)
      yield* withService(
        service(configured),
        Effect.gen(function*() {
          for (const session of [stored, own]) assert.strictEqual(yield* status("GET", "/api/webhooks", session), 200)
          for (const session of [stored, own]) assert.strictEqual(yield* status("DELETE", "/api/session", session), 204)
        })
      )
      for (const session of [stored, own]) assert.strictEqual(yield* status("GET", "/api/webhooks", session), 401)
    }))

  it.effect("of TRUSS_API_KEY ends when that is another, and those of stored keys do not", () =>
    Effect.gen(function*() {
      const { key } = yield* makeKey("write")
      const stored = yield* signIn(key)
      const own = yield* signIn(configured)
      yield* withService(
        service(`${configured}2`),
        Effect.gen(function*() {
          assert.strictEqual(yield* status("GET", "/api/webhooks", own), 401)
          assert.strictEqual(yield* status("GET", "/api/webhooks", stored), 200)
        })
      )
      assert.strictEqual(yield* status("GET", "/api/webhooks", own), 200)
    }))
})

it.layer(Layer.provideMerge(Layer.empty, Layer.merge(Required, KratosServer.layer)), { excludeTestServices: true })(
  "beside Kratos",
  (it) => {
    it.effect("both kinds of session let in, each by itself, and say so", () =>
      Effect.gen(function*() {
        const { answers, asked, url } = yield* KratosServer
        answers.set("good", [200, kratosSession()])
        yield* withService(
          service(configured, { kratosUrl: url }),
          Effect.gen(function*() {
            const { cookie } = yield* signIn(configured)
            const names = (cookie: string) =>
              Effect.map(ask("GET", "/api/session", { cookie }), ({ json }) => json.principal?.name)
            assert.strictEqual(yield* names(`ory_kratos_session=good; ${cookie}`), "TRUSS_API_KEY")
            assert.deepStrictEqual(asked, [])
            assert.strictEqual(yield* names(`ory_kratos_session=bad; ${cookie}`), "TRUSS_API_KEY")
            assert.strictEqual(yield* names("ory_kratos_session=good; truss_session=old"), "ada@example.com")
            assert.isUndefined(yield* names("ory_kratos_session=bad; truss_session=old"))
            const by = { cookie: "ory_kratos_session=good" }
            assert.strictEqual(yield* status("POST", "/api/keys", by, { name: "x", scope: "read" }), 201)
            const { json } = yield* ask("GET", "/api/audit?limit=1", by)
            assert.strictEqual(json.data[0].actor, `ada@example.com (kratos:${kratosSession().identity.id})`)
          })
        )
      }))
  }
)

it.layer(RunningService.layer(), { excludeTestServices: true })("an open service", (it) => {
  it.effect("says that nobody need sign in, to this machine only", () =>
    Effect.gen(function*() {
      const { json } = yield* ask("GET", "/api/session")
      assert.deepStrictEqual(json, { mode: "open", principal: { name: "local", scope: "write" }, login_url: null })
      const sql = yield* PgClient.PgClient
      assert.deepStrictEqual(yield* sql`SELECT FROM truss.sessions`, [])
    }))
})
