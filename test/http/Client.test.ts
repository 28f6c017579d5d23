import { assert, it } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted } from "effect"
import { defaults } from "../../src/domain/Webhook.ts"
import { type ClientOptions, TrussClient } from "../../src/http/Client.ts"
import { readKey, TestServer, writeKey } from "./TestServer.ts"

const clientWith = Effect.fnUntraced(function*(apiKey?: string, prefix?: ClientOptions["prefix"]) {
  const { port } = yield* TestServer
  const context = yield* Layer.build(
    TrussClient.layer({
      url: `http://127.0.0.1:${port}`,
      prefix,
      ...(apiKey !== undefined && { apiKey: Redacted.make(apiKey) })
    })
  )
  return yield* Effect.provide(TrussClient, context)
})

const payload = {
  ...defaults,
  name: "orders",
  table_name: "orders",
  events: ["INSERT", "UPDATE"],
  url: "https://example.com/hook"
} as const

it.layer(TestServer.layer({ auth: "required" }), { excludeTestServices: true })("the typed client", (it) => {
  it.effect("does what the API does", () =>
    Effect.gen(function*() {
      const client = yield* clientWith(writeKey)
      const webhook = yield* client.webhooks.create({ payload })
      const params = { id: webhook.id }
      assert.strictEqual(webhook.timeout_ms, 15_000)
      assert.strictEqual((yield* client.webhooks.patch({ params, payload: { active: false } })).active, false)
      assert.strictEqual((yield* client.webhooks.list({ query: { limit: 10, active: true } })).data[0]!.id, webhook.id)
      assert.strictEqual((yield* client.webhooks.test({ params, payload: {} })).log_id, "dlv_2")
      const page = yield* client.logs.list({ params, query: { from: new Date(0), status_code: 200 } })
      assert.strictEqual(page.data[0]!.id, "dlv_1")
      const entry = yield* client.logs.replay({ params: { ...params, logId: "dlv_1" }, payload: {} })
      assert.strictEqual(entry.outcome, "success")
      yield* client.webhooks.delete({ params })
      assert.strictEqual((yield* Effect.flip(client.webhooks.get({ params })))._tag, "NotFound")
    }))

  it.effect("asks where the API stands", () =>
    Effect.gen(function*() {
      assert.isArray((yield* (yield* clientWith(writeKey, "/v1")).webhooks.list({ query: {} })).data)
      const elsewhere = yield* clientWith(writeKey, "/nowhere")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(elsewhere.webhooks.list({ query: {} }))))
    }))

  it.effect("fails with the problems of the API", () =>
    Effect.gen(function*() {
      const [nobody, reader, writer] = [yield* clientWith(), yield* clientWith(readKey), yield* clientWith(writeKey)]
      assert.strictEqual((yield* Effect.flip(nobody.webhooks.create({ payload })))._tag, "Unauthorized")
      assert.strictEqual((yield* Effect.flip(reader.webhooks.create({ payload })))._tag, "Forbidden")
      const create = (table_name: string) =>
        Effect.flip(writer.webhooks.create({ payload: { ...payload, table_name } }))
      assert.deepInclude(yield* create("locked"), { _tag: "Locked", detail: "public.locked is locked by others" })
      assert.deepInclude(yield* create("nowhere"), { _tag: "NotWatchable", reason: "not_found" })
      assert.strictEqual((yield* create("away"))._tag, "Unavailable")
      const cursor = yield* Effect.flip(writer.webhooks.list({ query: { cursor: "nonsense" } }))
      assert.deepInclude(cursor, {
        _tag: "BadRequest",
        errors: [{ path: "cursor", message: "is not a cursor of ours" }]
      })
    }))
})
