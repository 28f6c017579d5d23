import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { bucketsOf, type Stats, type StatsWindow } from "../../src/domain/Stats.ts"
import type { WebhookId } from "../../src/domain/Webhook.ts"
import { mostCounted, Statistics } from "../../src/services/Statistics.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { attempted, eventsOf, installed, passedAll } from "../support/Installed.ts"
import { Receiver } from "../support/Receiver.ts"
import { layerInstalled, run, RunningService, until } from "../support/RunningService.ts"

const windows: ReadonlyArray<StatsWindow> = ["1h", "24h", "7d"]

const statsOf = (id: string, window: StatsWindow = "1h") =>
  Effect.flatMap(Statistics, (statistics) => statistics.of(id, window))

/** Writes `count` entries with latencies of 1, 2, 3… ms, made so many seconds ago. */
const logged = Effect.fnUntraced(function*(
  id: WebhookId,
  outcome: string,
  count: number,
  secondsAgo: number,
  more: { readonly type?: string; readonly error?: string } = {}
) {
  const sql = yield* PgClient.PgClient
  yield* sql.unsafe(
    `INSERT INTO truss.attempts (nonce, event_seq, event_at, created_at, webhook_id, table_id, latency_ms, event_type,
      outcome, slot, event_slot, attempt, error)
    SELECT g, g, now(), now() - $4::int4 * interval '1 second', $1::uuid, 1, g, $5::text::truss.event_type,
      $2::text::truss.outcome, (SELECT max(slot) FROM truss.slots), 1, 1, $6
    FROM generate_series(1, $3::int4) g`,
    [id, outcome, count, secondsAgo, more.type ?? "INSERT", more.error ?? null]
  )
})

it.layer(layerInstalled(), { excludeTestServices: true })("statistics", (it) => {
  it.effect("have every bucket of their window, empty ones too", () =>
    Effect.gen(function*() {
      const { id } = yield* installed("empty")
      for (const window of windows) {
        const { buckets, ...rest } = yield* statsOf(id, window)
        const { count, seconds } = bucketsOf[window]
        assert.strictEqual(buckets.length, count)
        const times = buckets.map(({ at }) => Date.parse(at))
        for (const [n, at] of times.entries()) assert.strictEqual(at, times[0]! + n * seconds * 1000)
        assert.strictEqual(times[0]! % (seconds * 1000), 0)
        assert.isAtMost(times.at(-1)!, Date.now() + 1000)
        assert.isAbove(times.at(-1)! + seconds * 1000, Date.now() - 1000)
        assert.deepStrictEqual(
          new Set(buckets.map(({ at: _, ...counts }) => JSON.stringify(counts))),
          new Set([
            JSON.stringify({ success: 0, retrying: 0, failed: 0, p50_ms: null, p95_ms: null, p99_ms: null })
          ])
        )
        assert.deepStrictEqual(rest, {
          totals: { success: 0, retrying: 0, failed: 0 },
          backlog: 0,
          oldest_pending_seconds: null
        })
      }
    }))

  it.effect("count attempts by outcome and time, with exact percentiles, and no tests", () =>
    Effect.gen(function*() {
      const { id } = yield* installed("counted")
      const other = yield* installed("counted")
      yield* logged(other.id, "success", 7, 1)
      yield* logged(id, "failed", 5, 10 * 86_400)
      yield* logged(id, "success", 200, 3 * 86_400)
      yield* logged(id, "failed", 10, 5 * 3600)
      yield* logged(id, "success", 100, 30 * 60)
      yield* logged(id, "retrying", 2, 0)
      yield* logged(id, "failed", 1, 0, { error: "skipped" })
      yield* logged(id, "success", 50, 0, { type: "TEST" })
      const hour = yield* statsOf(id, "1h")
      assert.deepStrictEqual(hour.totals, { success: 100, retrying: 2, failed: 1 })
      const [then, ...recent] = hour.buckets.filter(({ failed, retrying, success }) => success + retrying + failed > 0)
      assert.deepInclude(then, { success: 100, retrying: 0, failed: 0, p50_ms: 50, p95_ms: 95, p99_ms: 99 })
      assert.isAtMost(Math.abs(Date.now() - 1_800_000 - Date.parse(then!.at)), 70_000)
      const now = recent.find(({ retrying }) => retrying > 0)!
      assert.deepInclude(now, { p50_ms: 1, p99_ms: 2 })
      assert.deepStrictEqual((yield* statsOf(id, "24h")).totals, { success: 100, retrying: 2, failed: 11 })
      assert.deepStrictEqual((yield* statsOf(id, "7d")).totals, { success: 300, retrying: 2, failed: 11 })
    }))

  it.effect("count what was made in the window though earlier ones were written after it", () =>
    Effect.gen(function*() {
      const { id } = yield* installed("disorder")
      for (let n = 0; n < 40; n++) yield* logged(id, "success", 10, 3600 + 600 - n * 15 - (n % 2) * 60)
      for (let n = 0; n < 10; n++) {
        yield* logged(id, "success", 1, 30)
        yield* logged(id, "failed", 1, 330)
        yield* logged(id, "retrying", 1, -5)
      }
      const { totals } = yield* statsOf(id, "1h")
      assert.strictEqual(totals.failed, 10)
      assert.strictEqual(totals.retrying, 10, "a clock that is ahead")
      const sql = yield* PgClient.PgClient
      const { buckets } = yield* statsOf(id, "1h")
      const [row] = yield* sql<{ n: number }>`SELECT count(*)::float8 AS n FROM truss.attempts
        WHERE webhook_id = ${id}::text::uuid AND outcome = 'success' AND created_at >= ${
        buckets[0]!.at
      }::text::timestamptz`
      assert.strictEqual(buckets.reduce((sum, { success }) => sum + success, 0), row!.n)
    }))

  it.effect("say how long the oldest event waits: ahead of the cursor, due or parked", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      const { id } = yield* installed("waiting")
      const sql = yield* PgClient.PgClient
      const age = Effect.map(statsOf(id), (stats) => stats.oldest_pending_seconds)
      const isAbout = (seconds: number | null, expected: number) => {
        assert.isNotNull(seconds)
        assert.isAtLeast(seconds, expected)
        assert.isBelow(seconds, expected + 30)
      }
      yield* run("INSERT INTO waiting VALUES (1), (2)")
      yield* sql`UPDATE truss.events SET created_at = created_at - seq_age * interval '1 hour'
        FROM (SELECT seq AS s, row_number() OVER (ORDER BY seq DESC) AS seq_age FROM truss.events
          WHERE table_id = (SELECT id FROM truss.tables WHERE table_name = 'waiting')) a WHERE seq = a.s`
      isAbout(yield* age, 7200)
      const [first, second] = yield* eventsOf("waiting")
      yield* attempted(id, first!, "success")
      isAbout(yield* age, 3600)
      yield* attempted(id, second!, "retrying")
      yield* passedAll(id)
      isAbout(yield* age, 3600)
      yield* sql`UPDATE truss.due SET at = 'infinity' WHERE webhook_id = ${id}::text::uuid`
      isAbout(yield* age, 3600)
      yield* attempted(id, second!, "success")
      assert.isNull(yield* age)
      yield* webhooks.patch(id, { active: false })
      yield* run("INSERT INTO waiting VALUES (3)")
      const paused = yield* statsOf(id)
      assert.deepStrictEqual([paused.backlog, paused.oldest_pending_seconds], [0, null])
    }))
})

it.layer(layerInstalled(), { excludeTestServices: true })("statistics of all webhooks", (it) => {
  it.effect("are those of each together, with exact percentiles", () =>
    Effect.gen(function*() {
      const statistics = yield* Statistics
      assert.deepInclude(yield* statistics.ofAll("1h"), {
        totals: { success: 0, retrying: 0, failed: 0 },
        backlog: 0,
        oldest_pending_seconds: null
      })
      const [quiet, busy] = [yield* installed("together"), yield* installed("together")]
      yield* logged(busy.id, "success", 10, 2 * 3600)
      yield* logged(busy.id, "success", 95, 40 * 60)
      yield* logged(quiet.id, "failed", 100, 40 * 60)
      yield* logged(quiet.id, "retrying", 5, 35 * 60)
      yield* logged(quiet.id, "success", 3, 35 * 60, { type: "TEST" })
      yield* run("INSERT INTO together VALUES (1)")
      const { buckets, totals, ...rest } = yield* statistics.ofAll("1h")
      assert.deepStrictEqual(totals, { success: 95, retrying: 5, failed: 100 })
      const then = buckets.find(({ failed, success }) => success === 95 && failed === 100)
      assert.deepInclude(then, { p50_ms: 49, p95_ms: 93, p99_ms: 99 })
      assert.strictEqual(buckets.length, 60)
      assert.strictEqual(rest.backlog, 2)
      assert.isNotNull(rest.oldest_pending_seconds)
      assert.strictEqual((yield* statistics.ofAll("24h")).totals.success, 105)
    }))

  it.effect("begin where the newest million attempts do", () =>
    Effect.gen(function*() {
      const statistics = yield* Statistics
      const sql = yield* PgClient.PgClient
      const { id } = yield* installed("cut")
      yield* logged(id, "failed", 7, 30 * 60)
      yield* logged(id, "success", 20_000, 20 * 60)
      yield* logged(id, "success", 10, 5 * 60)
      assert.strictEqual((yield* statistics.ofAll("1h")).buckets.length, 60)
      // As if so many others had been written since then.
      yield* sql`SELECT setval('truss.attempt_seq', nextval('truss.attempt_seq') + ${mostCounted - 15_000}::int4)`
      const { buckets, totals } = yield* statistics.ofAll("1h")
      assert.isAbove(Date.parse(buckets[0]!.at), Date.now() - 20 * 60_000 - 2_000)
      assert.isBelow(Date.parse(buckets[0]!.at), Date.now() - 18 * 60_000)
      assert.deepStrictEqual(totals, { success: 10, retrying: 0, failed: 0 })
      assert.deepStrictEqual(buckets.at(-1)!.at, (yield* statsOf(id)).buckets.at(-1)!.at)
    }))
})

it.layer(RunningService.layer(), { excludeTestServices: true })("statistics over HTTP", (it) => {
  it.effect("are of what was delivered", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      yield* run("CREATE TABLE orders (id int PRIMARY KEY)")
      const { id } = yield* service.create({ table_name: "orders", url: receiver.url("/orders") })
      yield* run("INSERT INTO orders SELECT generate_series(1, 5)")
      yield* service.log(id, 5)
      yield* service.ask("POST", `/webhooks/${id}/test`)
      for (const query of ["", "?window=1h", "?window=24h", "?window=7d"]) {
        const stats = yield* until(
          "nothing waits",
          Effect.map(service.ask("GET", `/webhooks/${id}/stats${query}`), ({ text }) => JSON.parse(text) as Stats),
          ({ backlog }) => backlog === 0
        )
        assert.deepStrictEqual(stats.totals, { success: 5, retrying: 0, failed: 0 }, query)
        assert.isNull(stats.oldest_pending_seconds)
        const full = stats.buckets.find(({ success }) => success > 0)!
        assert.isAbove(full.p99_ms!, 0)
        assert.isAtLeast(full.p99_ms!, full.p50_ms!)
        const all = JSON.parse((yield* service.ask("GET", `/stats${query}`)).text) as Stats
        assert.deepStrictEqual(all.totals, stats.totals)
      }
    }).pipe(Effect.provide(Receiver.layer)))

  it.effect("are refused for another window, and there are none of no webhook", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const refused = yield* service.ask("GET", `/webhooks/${crypto.randomUUID()}/stats?window=2h`)
      assert.strictEqual(refused.status, 400)
      assert.strictEqual(JSON.parse(refused.text).errors[0].path, "window")
      assert.strictEqual((yield* service.ask("GET", "/stats?window=2h")).status, 400)
      for (const id of [crypto.randomUUID(), "nope"]) {
        const none = yield* service.ask("GET", `/webhooks/${id}/stats`)
        assert.strictEqual(none.status, 404)
        assert.strictEqual(none.headers.get("content-type"), "application/problem+json")
      }
    }))
})
