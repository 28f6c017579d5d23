import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { Health } from "../../src/services/Health.ts"
import { TestServer } from "./TestServer.ts"

it.layer(TestServer.layer({ auth: "required" }), { excludeTestServices: true })("without a key", (it) => {
  it.effect("/health/live is always 200", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      assert.strictEqual((yield* server.ask("GET", "/health/live")).status, 200)
      assert.strictEqual((yield* server.ask("HEAD", "/health/live")).status, 200)
    }))

  it.effect("/health/ready says what is not ready yet", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const health = yield* Health
      const starting = yield* server.ask("GET", "/health/ready")
      assert.strictEqual(starting.status, 503)
      assert.strictEqual(starting.json.database, "starting")
      yield* health.set({ database: null, listener: null, mode: "notify" })
      const ready = yield* server.ask("GET", "/health/ready")
      assert.strictEqual(ready.status, 200)
      assert.deepStrictEqual(ready.json, { status: "ready", database: null, listener: null, mode: "notify" })
      yield* health.set({ database: "connection refused" })
      const away = yield* server.ask("GET", "/health/ready")
      assert.deepStrictEqual([away.status, away.json.database], [503, "connection refused"])
    }))

  it.effect("/metrics is text for Prometheus", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const answer = yield* server.ask("GET", "/metrics")
      assert.strictEqual(answer.status, 200)
      assert.match(answer.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/)
    }))

  it.effect("/openapi.json describes both prefixes", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const { json, status } = yield* server.ask("GET", "/openapi.json")
      assert.strictEqual(status, 200)
      assert.match(json.openapi, /^3\.1\./)
      for (const prefix of ["/api", "/v1"]) {
        const operations = [
          ["post", `${prefix}/webhooks`, "201"],
          ["get", `${prefix}/webhooks`, "200"],
          ["get", `${prefix}/webhooks/{id}`, "200"],
          ["patch", `${prefix}/webhooks/{id}`, "200"],
          ["delete", `${prefix}/webhooks/{id}`, "204"],
          ["post", `${prefix}/webhooks/{id}/test`, "200"],
          ["get", `${prefix}/webhooks/{id}/logs`, "200"],
          ["get", `${prefix}/webhooks/{id}/logs/{logId}`, "200"],
          ["get", `${prefix}/webhooks/{id}/logs/stream`, "200"],
          ["post", `${prefix}/webhooks/{id}/replay/{logId}`, "200"],
          ["get", `${prefix}/webhooks/{id}/stats`, "200"],
          ["get", `${prefix}/tables`, "200"],
          ["get", `${prefix}/keys`, "200"],
          ["post", `${prefix}/keys`, "201"],
          ["delete", `${prefix}/keys/{id}`, "204"],
          ["get", `${prefix}/audit`, "200"],
          ["get", `${prefix}/cluster`, "200"]
        ] as const
        for (const [method, path, status] of operations) {
          assert.property(json.paths[path][method].responses, status, `${method} ${path}`)
        }
      }
      const patch = json.paths["/v1/webhooks/{id}"].patch
      assert.property(patch.responses, "412")
      assert.include(patch.parameters.map(({ name }: { name: string }) => name), "If-Match")
      const stream = json.paths["/v1/webhooks/{id}/logs/stream"].get
      assert.property(stream.responses["200"].content, "text/event-stream")
      const create = json.paths["/v1/webhooks"].post
      assert.includeMembers(Object.keys(create.responses), ["400", "401", "403", "409", "413", "415", "422", "503"])
      assert.property(create.responses["400"].content, "application/problem+json")
      assert.deepStrictEqual(create.security, [{ apikey: [] }, { "x-api-key": [] }, { bearer: [] }])
      assert.deepStrictEqual(json.paths["/api/webhooks"].post.security[0], {})
      assert.strictEqual(json.paths["/v1/webhooks/{id}/test"].post.requestBody.required, false)
    }))

  it.effect("/openapi.json has no name twice and no reference to nothing", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const { json, text } = yield* server.ask("GET", "/openapi.json")
      const items = Object.values<Record<string, { readonly operationId: string }>>(json.paths)
      const ids = items.flatMap((item) => Object.values(item).map((operation) => operation.operationId))
      assert.strictEqual(new Set(ids).size, ids.length)
      for (const [, name] of text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
        assert.property(json.components.schemas, name!)
      }
    }))

  it.effect("/docs is one page that fetches nothing from elsewhere", () =>
    Effect.gen(function*() {
      const server = yield* TestServer
      const answer = yield* server.ask("GET", "/docs")
      assert.strictEqual(answer.status, 200)
      assert.match(answer.headers.get("content-type") ?? "", /^text\/html/)
      assert.match(answer.headers.get("content-security-policy") ?? "", /default-src 'none'/)
      assert.notMatch(answer.text, /<(?:script|link|img)[^>]+(?:src|href)=["']https?:/)
      const policy = answer.headers.get("content-security-policy")!
      assert.notMatch(policy, /script-src[^;]*unsafe/)
      const scripts = [...answer.text.matchAll(/<script(?: [^>]*)?>([^]*?)<\/script>/g)].filter(([tag]) =>
        !tag.startsWith("<script id=\"swagger-spec\" type=\"application/json\"")
      )
      assert.isAbove(scripts.length, 0)
      for (const [, script] of scripts) {
        assert.include(policy, `'sha256-${createHash("sha256").update(script!).digest("base64")}'`)
      }
    }))
})
