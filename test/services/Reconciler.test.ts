import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Jobs } from "../../src/services/Jobs.ts"
import { Partitions } from "../../src/services/Partitions.ts"
import { Reconciler } from "../../src/services/Reconciler.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { attempted, eventsOf, installed } from "../support/Installed.ts"
import { layerInstalled, run } from "../support/RunningService.ts"

it.layer(layerInstalled(), { excludeTestServices: true })("reconciling", (it) => {
  it.effect("looks into every partition of the time, and says what is past retention", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const reconciler = yield* Reconciler
      const partitions = yield* Partitions
      const webhook = yield* installed("slots")
      yield* run("INSERT INTO slots VALUES (1), (2)")
      yield* partitions.open
      yield* run("INSERT INTO slots VALUES (3)")
      const events = yield* eventsOf("slots")
      assert.strictEqual(new Set(events.map(({ ref }) => ref.slot)).size, 2)
      yield* attempted(webhook.id, events[0]!, "failed")
      yield* attempted(webhook.id, events[2]!, "success")
      const { complete_through: _, gap, ...counts } = yield* reconciler.reconcile(webhook.id, {})
      assert.deepStrictEqual(counts, {
        matched: 3,
        delivered: 1,
        failed: 1,
        pending: 1,
        filtered: 0,
        never_attempted: 0
      })
      assert.isNull(gap)
      const first = events[0]!.ref.slot
      yield* sql.unsafe(`DELETE FROM truss.slots WHERE slot = ${first}`)
      yield* sql.unsafe(`DROP TABLE truss.events_${first}`)
      const [kept] = yield* sql<{ at: Date }>`SELECT min(opened_at) AS at FROM truss.slots`
      const from = new Date("2020-01-01")
      const left = yield* reconciler.reconcile(webhook.id, { from })
      assert.deepStrictEqual([left.matched, left.delivered], [1, 1])
      assert.deepStrictEqual(left.gap, { from: from.toISOString(), to: kept!.at.toISOString() })
    }))

  it.effect("compares no snapshot with another cluster's numbers", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const jobs = yield* Jobs
      const reconciler = yield* Reconciler
      const webhooks = yield* Webhooks
      const webhook = yield* installed("restored")
      yield* run("INSERT INTO restored VALUES (1), (2)")
      const [one] = yield* eventsOf("restored")
      assert.strictEqual((yield* reconciler.reconcile(webhook.id, {})).pending, 2)
      yield* (yield* Partitions).open
      yield* sql`UPDATE truss.slots SET closed_xid = '0' WHERE slot = ${one!.ref.slot}`
      yield* attempted(webhook.id, one!, "retrying")
      const counts = yield* reconciler.reconcile(webhook.id, {})
      assert.deepStrictEqual([counts.pending, counts.never_attempted], [1, 1])
      assert.strictEqual((yield* webhooks.get(webhook.id)).backlog, 1)
      assert.strictEqual((yield* jobs.recover(webhook.id, new Date(0))).matched, 1)
      yield* sql`UPDATE truss.events SET xid = '9999999999' WHERE table_id = ${one!.ref.tableId}`
      assert.lengthOf((yield* jobs.next(webhook.id, 10))!.events, 1)
    }))
})
