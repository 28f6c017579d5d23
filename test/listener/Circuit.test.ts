import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import type { LogEntry } from "../../src/domain/Attempt.ts"
import { apply, type DeliveryState, fold, initial } from "../../src/domain/DeliveryState.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService, until } from "../support/RunningService.ts"
import { watched } from "../support/Watched.ts"

const layer = Layer.merge(RunningService.layer({ disableAfterMs: 86_400_000 }), Receiver.layer)

const stored = (id: string) =>
  Effect.flatMap(Application, (sql) =>
    Effect.map(
      sql<DeliveryState>`SELECT fail_count AS "failCount",
        round(extract(epoch FROM failing_since) * 1000)::float8 AS "failingSince",
        round(extract(epoch FROM last_failed_at) * 1000)::float8 AS "lastFailedAt",
        round(extract(epoch FROM opened_at) * 1000)::float8 AS "openedAt"
        FROM truss.cursors WHERE webhook_id = ${id}::text::uuid`,
      (rows) => rows[0]!
    ))

const folded = (entries: ReadonlyArray<LogEntry>) =>
  apply(
    initial,
    fold(entries.map((entry) => ({
      eventType: entry.event_type,
      success: entry.outcome === "success",
      createdAt: Date.parse(entry.created_at),
      endedAt: Date.parse(entry.created_at) + Math.round(entry.latency_ms)
    })))
  )

it.layer(layer, { excludeTestServices: true })("the circuit of a webhook", (it) => {
  it.effect("opens after ten failures in a row, lets one probe at a time go, and closes when one succeeds", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      let broken = true
      receiver.respond("/down", () => broken ? { status: 500 } : {})
      const webhook = yield* watched("down", { concurrency: 1 })
      assert.strictEqual(webhook.circuit, "closed")
      assert.isNull(webhook.next_probe_at)
      yield* run("INSERT INTO down SELECT i FROM generate_series(1, 3000) i")
      yield* service.log(webhook.id, 10)
      const open = yield* service.get(webhook.id)
      assert.include(["open", "half_open"], open.circuit)
      assert.isNotNull(open.next_probe_at)
      assert.strictEqual(open.fail_count, 10)
      // Three probes: after one second, one more, and two more.
      const entries = yield* service.log(webhook.id, 13)
      assert.lengthOf(entries, 13)
      const ended = entries.map((entry) => Date.parse(entry.created_at) + entry.latency_ms)
      const pauses = entries.map((entry, i) => i === 0 ? 0 : Date.parse(entry.created_at) - ended[i - 1]!)
      for (const [i, least] of [[10, 990], [11, 990], [12, 1980]] as const) assert.isAtLeast(pauses[i]!, least)
      assert.deepStrictEqual(entries.slice(10).map(({ attempt, outcome }) => [attempt, outcome]), [
        [1, "retrying"],
        [1, "retrying"],
        [1, "retrying"]
      ])
      const now = yield* stored(webhook.id)
      const expected = folded(entries)
      assert.strictEqual(now.failCount, 13)
      for (const name of ["failingSince", "lastFailedAt", "openedAt"] as const) {
        assert.isAtMost(Math.abs(now[name]! - expected[name]!), 1, name)
      }
      broken = false
      yield* receiver.waitFor("/down", (all) => new Set(all.map(({ body }) => body.row!["id"])).size === 3000, 30_000)
      yield* until("it is closed", service.get(webhook.id), ({ circuit }) => circuit === "closed")
      const all = yield* service.log(
        webhook.id,
        (log) => log.filter(({ outcome }) => outcome === "success").length >= 2990
      )
      // A probe uses up none of its event's attempts.
      const probed = new Set(entries.slice(10).map(({ event_id }) => event_id))
      const after = all.filter(({ event_id, outcome }) => outcome === "success" && probed.has(event_id))
      assert.isTrue(after.every(({ attempt }) => attempt === 1))
      assert.deepStrictEqual(yield* stored(webhook.id), initial)
    }))

  it.effect("closes at once when a replay by hand succeeds", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      let broken = true
      receiver.respond("/by_hand", () => broken ? { status: 500 } : {})
      const webhook = yield* watched("by_hand", { concurrency: 4 })
      yield* run("INSERT INTO by_hand SELECT i FROM generate_series(1, 100) i")
      const entries = yield* service.log(webhook.id, 14)
      broken = false
      const replay = yield* service.ask("POST", `/webhooks/${webhook.id}/replay/${entries[0]!.id}`)
      assert.strictEqual(JSON.parse(replay.text).outcome, "success")
      yield* receiver.waitFor("/by_hand", (all) => new Set(all.map(({ body }) => body.row!["id"])).size === 100, 2_000)
      assert.strictEqual((yield* service.get(webhook.id)).circuit, "closed")
    }))

  it.effect("of a hanging endpoint holds up no other webhook", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      receiver.respond("/hangs", () => ({ fault: "hang" }))
      const hanging = yield* watched("hangs", { timeout_ms: 200 })
      yield* watched("lively")
      yield* run("INSERT INTO hangs SELECT i FROM generate_series(1, 500) i")
      yield* service.log(hanging.id, 16)
      assert.notStrictEqual((yield* service.get(hanging.id)).circuit, "closed")
      yield* run("INSERT INTO lively SELECT i FROM generate_series(1, 500) i")
      yield* receiver.waitFor("/lively", 500)
      // 16 at first, and one after each of the first nine that ended.
      assert.isAtMost(receiver.at("/hangs").length, 25)
    }))
})

it.layer(Layer.merge(RunningService.layer({ disableAfterMs: 300 }), Receiver.layer), { excludeTestServices: true })(
  "a webhook",
  (it) => {
    it.effect("is disabled when its endpoint is gone", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        receiver.respond("/gone", (_, i) => i === 2 ? { status: 410 } : {})
        const webhook = yield* watched("gone", { concurrency: 1 })
        yield* run("INSERT INTO gone SELECT i FROM generate_series(1, 200) i")
        const now = yield* until("it is disabled", service.get(webhook.id), ({ active }) => !active)
        assert.strictEqual(now.disabled_reason, "gone")
        const entries = yield* service.log(webhook.id, 3)
        assert.deepInclude(entries.at(-1), { status_code: 410, outcome: "failed", next_attempt_at: null })
        assert.lengthOf(receiver.at("/gone"), 3)
        const again = yield* service.patch(webhook.id, { active: true })
        assert.isNull(again.disabled_reason)
        // What was committed before is still to be delivered.
        yield* receiver.waitFor("/gone", 200)
      }))

    it.effect("is disabled when all its attempts failed for so long, and has as long again when it is enabled", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        let broken = true
        receiver.respond("/failing", () => broken ? { status: 500 } : {})
        const webhook = yield* watched("failing", { concurrency: 1 })
        yield* run("INSERT INTO failing SELECT i FROM generate_series(1, 200) i")
        const now = yield* until("it is disabled", service.get(webhook.id), ({ active }) => !active)
        assert.strictEqual(now.disabled_reason, "failing")
        assert.isAtLeast(now.fail_count, 2)
        broken = false
        yield* service.patch(webhook.id, { active: true })
        yield* receiver.waitFor("/failing", (all) => new Set(all.map(({ body }) => body.row!["id"])).size === 200)
        assert.isTrue((yield* service.get(webhook.id)).active)
      }))

    it.effect("is disabled by the retry of a single event that is all there is", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        receiver.respond("/lonely", () => ({ status: 500 }))
        const webhook = yield* watched("lonely")
        yield* run("INSERT INTO lonely VALUES (1)")
        const now = yield* until("it is disabled", service.get(webhook.id), ({ active }) => !active)
        assert.deepInclude(now, { disabled_reason: "failing", fail_count: 2 })
      }))

    it.effect("sends no more a second than its rate allows, after a burst of one second's", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        yield* watched("limited", { rate_limit: 50 })
        yield* run("INSERT INTO limited SELECT i FROM generate_series(1, 100) i")
        const requests = yield* receiver.waitFor("/limited", 100)
        const first = requests[0]!.at
        for (let second = 1; second <= 2; second++) {
          const sent = requests.filter(({ at }) => at - first < second * 1000 - 20).length
          assert.isAtMost(sent, 50 + 50 * second)
        }
        assert.isAbove(requests.at(-1)!.at - first, 900)
      }))
  }
)
