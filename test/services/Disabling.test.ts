import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Effect, Layer, PubSub, Queue, References } from "effect"
import { defaults, type WebhookCreate } from "../../src/domain/Webhook.ts"
import { Disabling } from "../../src/services/Disabling.ts"
import { WebhookChanges } from "../../src/services/WebhookChanges.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { Application, layerInstalled } from "../support/RunningService.ts"

const input: WebhookCreate = {
  ...defaults,
  name: "orders",
  table_name: "orders",
  events: ["INSERT"],
  url: "https://example.com/hook?token=hidden"
}

const create = Effect.fnUntraced(function*() {
  const application = yield* Application
  yield* application`CREATE TABLE IF NOT EXISTS orders (id int)`
  const webhooks = yield* Webhooks
  return yield* webhooks.create(input)
})

const rows = <A extends object>(query: string, id: string) =>
  Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe<A>(query, [id]))

const pauses = (id: string) =>
  Effect.map(
    rows<{ n: number }>("SELECT cardinality(gaps) AS n FROM truss.cursors WHERE webhook_id = $1::uuid", id),
    ([row]) => row?.n
  )

const alerts = (id: string) =>
  rows<{ kind: string; body: string; at: Date | null }>(
    "SELECT kind, body, at FROM truss.alerts WHERE webhook_id = $1::uuid ORDER BY id",
    id
  )

const audit = (id: string) =>
  rows<{ actor: string; action: string; detail: unknown }>(
    "SELECT actor, action, detail::jsonb AS detail FROM truss.audit WHERE webhook_id = $1::uuid ORDER BY id",
    id
  )

const installed = Layer.merge(layerInstalled(), Layer.succeed(References.MinimumLogLevel, "Fatal"))

it.layer(installed, { excludeTestServices: true })("a webhook that the service disables", (it) => {
  it.effect("is paused with the reason, once, and everybody is told", () =>
    Effect.gen(function*() {
      const disabling = yield* Disabling
      const webhooks = yield* Webhooks
      const sql = yield* PgClient.PgClient
      const webhook = yield* create()
      yield* sql`UPDATE truss.cursors SET fail_count = 42, failing_since = '2025-01-15T10:00:00.123Z'
        WHERE webhook_id = ${webhook.id}::text::uuid`
      const changes = yield* PubSub.subscribe(yield* WebhookChanges)
      const rung = yield* sql.listen("truss")

      yield* disabling.disable(webhook.id, "failing")
      yield* disabling.disable(webhook.id, "gone")

      assert.strictEqual(yield* PubSub.take(changes), webhook.id)
      assert.strictEqual((yield* Queue.take(rung)).payload, `webhook ${webhook.id}`)
      assert.deepInclude(yield* webhooks.get(webhook.id), { active: false, disabled_reason: "failing", fail_count: 42 })
      assert.strictEqual(yield* pauses(webhook.id), 1)
      const [entry, ...more] = (yield* audit(webhook.id)).filter(({ actor }) => actor === "truss-webhooks")
      assert.isEmpty(more)
      assert.deepStrictEqual(entry, {
        actor: "truss-webhooks",
        action: "webhook.disabled",
        detail: { reason: "failing", fail_count: 42, failing_since: "2025-01-15T10:00:00.123Z" }
      })
      const [alert, ...others] = yield* alerts(webhook.id)
      assert.isEmpty(others)
      assert.deepInclude(alert, { kind: "disabled", at: null })
      const { timestamp, ...body } = JSON.parse(alert!.body)
      assert.isBelow(Math.abs(Date.parse(timestamp) - Date.now()), 60_000)
      assert.deepStrictEqual(body, {
        type: "webhook.disabled",
        webhook: {
          id: webhook.id,
          name: "orders",
          table_schema: "public",
          table_name: "orders",
          url: "https://example.com/hook"
        },
        reason: "failing",
        fail_count: 42,
        since: "2025-01-15T10:00:00.123Z"
      })
    }).pipe(Effect.scoped))

  it.effect("can be enabled again, and disabled again without a success between", () =>
    Effect.gen(function*() {
      const disabling = yield* Disabling
      const webhooks = yield* Webhooks
      const webhook = yield* create()
      const enabledAt = Effect.map(
        rows<{ at: Date }>("SELECT enabled_at AS at FROM truss.webhooks WHERE id = $1::uuid", webhook.id),
        ([row]) => row!.at.getTime()
      )
      const before = yield* enabledAt

      yield* disabling.disable(webhook.id, "gone")
      const enabled = yield* webhooks.patch(webhook.id, { active: true })
      assert.deepInclude(enabled, { active: true, disabled_reason: null })
      assert.isAbove(yield* enabledAt, before)
      assert.strictEqual(yield* pauses(webhook.id), 2)

      yield* disabling.disable(webhook.id, "gone")
      assert.deepInclude(yield* webhooks.get(webhook.id), { active: false, disabled_reason: "gone" })
      assert.strictEqual(yield* pauses(webhook.id), 3)
      assert.lengthOf(yield* alerts(webhook.id), 2)
    }))

  it.effect("was active: one that people paused or deleted is left alone", () =>
    Effect.gen(function*() {
      const disabling = yield* Disabling
      const webhooks = yield* Webhooks
      const paused = yield* create()
      yield* webhooks.patch(paused.id, { active: false })
      yield* disabling.disable(paused.id, "gone")
      assert.deepInclude(yield* webhooks.get(paused.id), { active: false, disabled_reason: "paused" })
      assert.isEmpty(yield* alerts(paused.id))

      const deleted = yield* create()
      yield* webhooks.remove(deleted.id)
      yield* disabling.disable(deleted.id, "gone")
      assert.isEmpty(yield* alerts(deleted.id))
      assert.deepStrictEqual((yield* audit(deleted.id)).map(({ action }) => action), [
        "webhook.created",
        "webhook.deleted"
      ])
    }))
})
