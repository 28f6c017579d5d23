import { assert, it } from "@effect/vitest"
import { Duration, Effect, Layer } from "effect"
import { KratosServer, kratosSession } from "../support/KratosServer.ts"
import { Asked, readKey, TestServer, writeKey } from "./TestServer.ts"

const input = { name: "orders", table_name: "orders", events: ["INSERT"], url: "https://example.com/hook" }

const WithKratos = Layer.unwrap(
  Effect.map(KratosServer, ({ url }) => TestServer.layer({ auth: "required", kratosUrl: url }))
).pipe(Layer.provideMerge(KratosServer.layer))

const { id } = kratosSession().identity
const session = (value: string) => `ory_kratos_session=${value}`

/** A session that Kratos knows, under a value of its own. */
const signedIn = Effect.map(KratosServer, ({ answers }) => {
  const value = crypto.randomUUID()
  answers.set(value, [200, kratosSession()])
  return value
})

it.layer(WithKratos, { excludeTestServices: true })("with Kratos", (it) => {
  it.effect("a session lets in, and a forged, truncated, expired or missing one does not", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const value = yield* signedIn
      const status = (cookie: string) =>
        Effect.map(server.ask("GET", "/api/webhooks", undefined, { cookie }), (a) => a.status)
      for (const cookie of [session(value), `a=b; ${session(value)}`, `a=b;${session(value)};c="d"`]) {
        assert.strictEqual(yield* status(cookie), 200, cookie)
      }
      const others = [
        "",
        session(""),
        session(value.slice(0, -1)),
        session(`${value}x`),
        session("forged"),
        `${session("forged")}; ${session(value)}`,
        `Ory_Kratos_Session=${value}`,
        `xory_kratos_session=${value}`,
        `session=${value}`
      ]
      for (const cookie of others) assert.strictEqual(yield* status(cookie), 401, cookie)
    }))

  it.effect("each failure of Kratos is 503 and lets nobody in", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const { answers } = yield* KratosServer
      for (
        const answer of [[500, {}], [429, {}], [404, {}], [200, "garbage"], [200, { active: true }], "drop"] as const
      ) {
        const value = crypto.randomUUID()
        answers.set(value, answer)
        for (const [method, path, body] of [["GET", "/api/webhooks"], ["POST", "/api/webhooks", input]] as const) {
          const refusal = yield* server.ask(method, path, body, { cookie: session(value) })
          assert.strictEqual(refusal.status, 503, JSON.stringify(answer))
          assert.strictEqual(refusal.json.type, "urn:truss:problem:unavailable")
          assert.include(refusal.json.detail, "Kratos")
          assert.strictEqual(refusal.headers.get("retry-after"), "1")
        }
        assert.strictEqual(
          (yield* server.ask("GET", "/api/session", undefined, { cookie: session(value) })).status,
          503
        )
      }
      assert.strictEqual((yield* server.ask("GET", "/api/webhooks", undefined, { apikey: readKey })).status, 200)
    }))

  it.effect("a Kratos that hangs is 503 within seconds", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const { answers } = yield* KratosServer
      answers.set("hang", "hang")
      const [took, refusal] = yield* Effect.timed(
        server.ask("GET", "/api/webhooks", undefined, { cookie: session("hang") })
      )
      assert.strictEqual(refusal.status, 503)
      assert.isBelow(Duration.toMillis(took), 6_000)
    }))

  it.effect("who lacks the second factor is told so, and where to get it", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const { answers, url } = yield* KratosServer
      answers.set("aal1", [403, { error: { id: "session_aal2_required" } }])
      const refusal = yield* server.ask("GET", "/api/webhooks", undefined, { cookie: session("aal1") })
      assert.strictEqual(refusal.status, 401)
      assert.match(refusal.json.detail, /second factor/)
      const state = yield* server.ask("GET", "/api/session", undefined, { cookie: session("aal1") })
      assert.deepStrictEqual(state.json, {
        mode: "kratos",
        principal: null,
        login_url: `${url}/self-service/login/browser?aal=aal2`
      })
    }))

  it.effect("changes are made in the name of the identity", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const asked = yield* Asked
      const cookie = session(yield* signedIn)
      const created = yield* server.ask("POST", "/api/webhooks", input, { cookie })
      assert.strictEqual(created.status, 201)
      const rotate = `/api/webhooks/${created.json.id}/secret/rotate`
      assert.strictEqual((yield* server.ask("POST", rotate, {}, { cookie })).status, 200)
      assert.strictEqual(asked.rotation?.actor, `ada@example.com (kratos:${id})`)
      const { answers } = yield* KratosServer
      answers.set("nameless", [200, kratosSession({}, { traits: {} })])
      assert.strictEqual((yield* server.ask("POST", rotate, {}, { cookie: session("nameless") })).status, 200)
      assert.strictEqual(asked.rotation?.actor, `kratos:${id}`)
    }))

  it.effect("tells who is in, and to the others where to sign in and nothing else", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const { url } = yield* KratosServer
      const login_url = `${url}/self-service/login/browser`
      const state = (headers: Record<string, string>) =>
        Effect.map(server.ask("GET", "/api/session", undefined, headers), (answer) => {
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(answer.headers.get("cache-control"), "no-store")
          return answer.json
        })
      for (const headers of [{}, { cookie: session("forged") }, { apikey: "truss_sk_wrong" }]) {
        assert.deepStrictEqual(yield* state(headers), { mode: "kratos", principal: null, login_url })
      }
      assert.deepStrictEqual(yield* state({ cookie: session(yield* signedIn) }), {
        mode: "kratos",
        principal: { name: "ada@example.com", scope: "write" },
        login_url
      })
      assert.deepStrictEqual(yield* state({ apikey: readKey }), {
        mode: "kratos",
        principal: { name: "reader", scope: "read" },
        login_url
      })
    }))

  it.effect("takes changes from its own pages only, and as JSON only", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const cookie = session(yield* signedIn)
      const host = "truss.example.com"
      const post = (headers: Record<string, string>) =>
        server.status("POST", "/api/webhooks", { host, cookie, ...headers })
      const foreign: ReadonlyArray<Record<string, string>> = [
        { "sec-fetch-site": "cross-site" },
        { "sec-fetch-site": "same-site" },
        { "sec-fetch-site": "Same-Origin" },
        { "sec-fetch-site": "" },
        { "sec-fetch-site": "cross-site", origin: `https://${host}` },
        { origin: "https://evil.com" },
        { origin: `https://${host}.evil.com` },
        { origin: `https://${host}:444` },
        { origin: `https://sub.${host}` },
        { origin: "null" },
        { origin: "" },
        { "sec-fetch-site": "none", origin: "https://evil.com" },
        { referer: "https://evil.com/page" },
        { origin: `https://${host}@evil.com` }
      ]
      for (const headers of foreign) assert.strictEqual(yield* post(headers), 403, JSON.stringify(headers))
      const own: ReadonlyArray<Record<string, string>> = [
        {},
        { "sec-fetch-site": "same-origin" },
        { "sec-fetch-site": "same-origin", origin: "https://behind.a.proxy" },
        { "sec-fetch-site": "none" },
        { origin: `https://${host}` },
        { origin: `http://${host}` },
        { host: `${host}:443`, origin: `https://${host}` },
        { referer: `https://${host}/` }
      ]
      for (const headers of own) assert.strictEqual(yield* post(headers), 400, JSON.stringify(headers))

      const types: ReadonlyArray<Record<string, string>> = [
        {},
        { "content-type": "text/plain" },
        { "content-type": "application/x-www-form-urlencoded" },
        { "content-type": "text/plain; application/json" }
      ]
      for (const method of ["POST", "DELETE"]) {
        for (const headers of types) {
          const path = method === "POST" ? "/api/webhooks" : "/api/webhooks/x"
          const sent = { host, cookie, "sec-fetch-site": "same-origin", "content-length": "0002", ...headers }
          assert.strictEqual(yield* server.status(method, path, sent), 415, `${method} ${JSON.stringify(headers)}`)
        }
      }
      const evil = { host, cookie, "sec-fetch-site": "cross-site" }
      for (const method of ["PATCH", "DELETE"]) {
        assert.strictEqual(yield* server.status(method, "/api/webhooks/x", evil), 403)
      }
      assert.strictEqual(yield* server.status("GET", "/api/webhooks", evil), 200)
      assert.strictEqual(yield* server.status("POST", "/api/webhooks", { ...evil, apikey: writeKey }), 400)
    }))

  it.effect("a key in a header counts before the session, for good and for bad", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const cookie = session(yield* signedIn)
      const post = (headers: Record<string, string>) =>
        Effect.map(server.ask("POST", "/api/webhooks", input, { cookie, ...headers }), ({ status }) => status)
      assert.strictEqual(yield* post({}), 201)
      assert.strictEqual(yield* post({ apikey: "truss_sk_wrong" }), 401)
      assert.strictEqual(yield* post({ authorization: "Bearer truss_sk_wrong" }), 401)
      assert.strictEqual(yield* post({ "x-api-key": readKey }), 403)
      assert.strictEqual(yield* post({ "x-api-key": writeKey }), 201)
      assert.strictEqual(yield* post({ authorization: "Basic YTpi" }), 201)
    }))

  it.effect("no cookie counts under /v1", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const cookie = `${session(yield* signedIn)}; truss_session=${"a".repeat(43)}`
      for (const path of ["/v1/webhooks", "/v1/keys", "/v1/audit"]) {
        assert.strictEqual((yield* server.ask("GET", path, undefined, { cookie })).status, 401)
      }
      assert.strictEqual((yield* server.ask("GET", "/v1/webhooks", undefined, { cookie, apikey: readKey })).status, 200)
      for (const method of ["GET", "POST", "DELETE"]) {
        assert.strictEqual((yield* server.ask(method, "/v1/session")).status, 404)
      }
    }))
})

it.layer(TestServer.layer({ auth: "required" }), { excludeTestServices: true })("without Kratos", (it) => {
  it.effect("its cookie counts for nothing", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const headers = { cookie: session("x") }
      assert.strictEqual((yield* server.ask("GET", "/api/webhooks", undefined, headers)).status, 401)
      const { json } = yield* server.ask("GET", "/api/session", undefined, headers)
      assert.deepStrictEqual(json, { mode: "api_key", principal: null, login_url: null })
    }))
})
