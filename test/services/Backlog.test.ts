import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { WebhookId } from "../../src/domain/Webhook.ts"
import { backlogLimit } from "../../src/services/Backlog.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { attempted, eventsOf, installed, passedAll } from "../support/Installed.ts"
import { connect, layerInstalled, run } from "../support/RunningService.ts"

const backlogOf = (id: WebhookId) =>
  Effect.flatMap(Webhooks, (webhooks) => Effect.map(webhooks.get(id), (webhook) => webhook.backlog))

it.layer(layerInstalled(), { excludeTestServices: true })("the backlog of a webhook", (it) => {
  it.effect("is what its cursor has ahead of it, of the types it asks for", () =>
    Effect.gen(function*() {
      const all = yield* installed("ahead")
      const updates = yield* installed("ahead", { events: ["UPDATE"] })
      assert.strictEqual(yield* backlogOf(all.id), 0)
      yield* run("INSERT INTO ahead SELECT g FROM generate_series(1, 5) g", "UPDATE ahead SET note = 'a' WHERE id < 3")
      assert.strictEqual(yield* backlogOf(all.id), 7)
      assert.strictEqual(yield* backlogOf(updates.id), 2)
      yield* passedAll(all.id)
      assert.strictEqual(yield* backlogOf(all.id), 0)
      const page = yield* Effect.flatMap(Webhooks, (webhooks) => webhooks.list({ limit: 10, table: "ahead" }))
      assert.deepStrictEqual(page.data.map(({ backlog }) => backlog), [0, 2])
    }))

  it.effect("counts what is due, and nothing twice", () =>
    Effect.gen(function*() {
      const webhook = yield* installed("due_twice")
      yield* run("INSERT INTO due_twice SELECT g FROM generate_series(1, 4) g")
      const [first, second] = yield* eventsOf("due_twice")
      yield* attempted(webhook.id, first!, "retrying")
      yield* attempted(webhook.id, second!, "success")
      assert.strictEqual(yield* backlogOf(webhook.id), 3)
      yield* passedAll(webhook.id)
      assert.strictEqual(yield* backlogOf(webhook.id), 1)
    }))

  it.effect("has what a transaction adds that began before the cursor passed", () =>
    Effect.gen(function*() {
      const webhook = yield* installed("late")
      const sql = yield* connect()
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`INSERT INTO late VALUES (1)`
        yield* run("INSERT INTO late VALUES (2)")
        yield* passedAll(webhook.id)
        assert.strictEqual(yield* backlogOf(webhook.id), 0)
      }))
      assert.strictEqual(yield* backlogOf(webhook.id), 1)
    }))

  it.effect("leaves out pauses and goes up to the one that lasts", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      const webhook = yield* installed("pauses")
      yield* run("INSERT INTO pauses VALUES (1), (2)")
      yield* webhooks.patch(webhook.id, { active: false })
      yield* run("INSERT INTO pauses VALUES (3), (4), (5)")
      assert.strictEqual(yield* backlogOf(webhook.id), 2)
      yield* webhooks.patch(webhook.id, { active: true })
      yield* run("INSERT INTO pauses VALUES (6)")
      assert.strictEqual(yield* backlogOf(webhook.id), 3)
      yield* webhooks.patch(webhook.id, { active: false })
      yield* run("INSERT INTO pauses VALUES (7)")
      assert.strictEqual(yield* backlogOf(webhook.id), 3)
    }))

  it.effect("goes down while a backlog is read in pages", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const webhook = yield* installed("paged")
      yield* run("INSERT INTO paged SELECT g FROM generate_series(1, 10) g")
      const events = yield* eventsOf("paged")
      yield* sql`UPDATE truss.cursors SET target = pg_current_snapshot(), after_seq = ${
        String(events[5]!.ref.seq)
      }::text::int8
        WHERE webhook_id = ${webhook.id}::text::uuid`
      assert.strictEqual(yield* backlogOf(webhook.id), 4)
      yield* run("INSERT INTO paged VALUES (11)")
      assert.strictEqual(yield* backlogOf(webhook.id), 5)
    }))

  it.effect("leaves out what came before its type was asked for", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      yield* installed("asked")
      const webhook = yield* installed("asked", { events: ["INSERT"] })
      yield* run("INSERT INTO asked VALUES (1)", "UPDATE asked SET note = 'a'")
      yield* webhooks.patch(webhook.id, { events: ["INSERT", "UPDATE"] })
      assert.strictEqual(yield* backlogOf(webhook.id), 1)
      yield* run("UPDATE asked SET note = 'b'")
      assert.strictEqual(yield* backlogOf(webhook.id), 2)
    }))

  it.effect("is counted up to ten thousand", () =>
    Effect.gen(function*() {
      const webhook = yield* installed("many")
      yield* run(`INSERT INTO many SELECT g FROM generate_series(1, ${backlogLimit + 100}) g`)
      assert.strictEqual(yield* backlogOf(webhook.id), backlogLimit)
    }))
})
