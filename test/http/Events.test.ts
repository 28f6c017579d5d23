import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import type { LogEntry } from "../../src/domain/Attempt.ts"
import { encodeEventId } from "../../src/domain/EventRef.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService, until } from "../support/RunningService.ts"

interface Fate {
  readonly webhook_id: string
  readonly state: string
  readonly reason: string | null
  readonly attempts: ReadonlyArray<LogEntry>
  readonly next_attempt_at: string | null
}

interface History {
  readonly id: string
  readonly event_type: string
  readonly table_schema: string
  readonly table_name: string
  readonly committed_at: string
  readonly webhooks: ReadonlyArray<Fate>
}

const watched = Effect.fnUntraced(function*(table: string, more?: Readonly<Record<string, unknown>>) {
  const service = yield* RunningService
  const receiver = yield* Receiver
  yield* run(`CREATE TABLE IF NOT EXISTS ${table} (id int PRIMARY KEY, note text, n numeric)`)
  return yield* service.create({ table_name: table, url: receiver.url(`/${table}`), ...more })
})

/** The public id of a table's newest event. */
const newest = Effect.fnUntraced(function*(table: string) {
  const sql = yield* Application
  const [row] = yield* sql<{ at: number; seq: number; slot: number; table_id: number }>`
    SELECT (extract(epoch FROM e.created_at) * 1000000)::float8 AS at, e.seq::float8 AS seq, e.slot, e.table_id
    FROM truss.events e JOIN truss.tables t ON t.id = e.table_id WHERE t.table_name = ${table} ORDER BY e.seq DESC LIMIT 1`
  return encodeEventId({ at: row!.at, seq: row!.seq, slot: row!.slot, tableId: row!.table_id })
})

const historyOf = Effect.fnUntraced(function*(id: string) {
  const service = yield* RunningService
  const answer = yield* service.ask("GET", `/events/${id}`)
  assert.strictEqual(answer.status, 200, answer.text)
  return { text: answer.text, history: JSON.parse(answer.text) as History }
})

/** What became of the newest event of a table for one webhook, once `holds` does. */
const fateFor = Effect.fnUntraced(function*(table: string, id: string, holds: (fate: Fate) => boolean) {
  const event = yield* newest(table)
  return yield* until(
    `the fate of ${event}`,
    Effect.map(historyOf(event), ({ history }) => history.webhooks.find((fate) => fate.webhook_id === id)!),
    holds
  )
})

it.layer(Layer.merge(RunningService.layer(), Receiver.layer), { excludeTestServices: true })("an event", (it) => {
  it.effect("is shown digit for digit, with the attempts of each webhook", () =>
    Effect.gen(function*() {
      const webhook = yield* watched("shown")
      const inserts = yield* watched("shown", { name: "deletes", events: ["DELETE"] })
      yield* run("INSERT INTO shown VALUES (1, 'a', 12345678901234567890.1234567890)")
      const fate = yield* fateFor("shown", webhook.id, ({ state }) => state === "delivered")
      assert.deepStrictEqual([fate.reason, fate.next_attempt_at, fate.attempts.length], [null, null, 1])
      const { history, text } = yield* historyOf(yield* newest("shown"))
      const service = yield* RunningService
      const log = yield* service.ask("GET", `/webhooks/${webhook.id}/logs/${fate.attempts[0]!.id}`)
      assert.include(text, log.text)
      assert.match(text, /"payload":\{"event":"INSERT".*?12345678901234567890\.1234567890/)
      assert.deepStrictEqual([history.event_type, history.table_schema, history.table_name], [
        "INSERT",
        "public",
        "shown"
      ])
      assert.strictEqual(history.id, fate.attempts[0]!.event_id)
      assert.isFalse(Number.isNaN(Date.parse(history.committed_at)))
      assert.deepStrictEqual(history.webhooks.find(({ webhook_id }) => webhook_id === inserts.id), {
        webhook_id: inserts.id,
        state: "not_sent",
        reason: "event_type",
        attempts: [],
        next_attempt_at: null
      })
    }))

  it.effect("says when it is tried again, and that it was given up", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      receiver.respond("/failing", () => ({ status: 500 }))
      receiver.respond("/once", () => ({ status: 500 }))
      const webhook = yield* watched("failing")
      const once = yield* watched("failing", { url: receiver.url("/once"), max_attempts: 1 })
      yield* run("INSERT INTO failing VALUES (1)")
      const again = yield* fateFor("failing", webhook.id, ({ attempts }) => attempts.length > 0)
      assert.deepStrictEqual([again.state, again.reason], ["pending", null])
      assert.isAbove(Date.parse(again.next_attempt_at!), Date.now())
      const failed = yield* fateFor("failing", once.id, ({ attempts }) => attempts.length > 0)
      assert.deepStrictEqual([failed.state, failed.reason, failed.next_attempt_at], ["failed", null, null])
    }))

  it.effect("is on its way while its first attempt is not over", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      receiver.respond("/hanging", () => ({ fault: "hang" }))
      const webhook = yield* watched("hanging")
      yield* run("INSERT INTO hanging VALUES (1)")
      yield* receiver.waitFor("/hanging", 1)
      const fate = yield* fateFor("hanging", webhook.id, () => true)
      assert.deepStrictEqual([fate.state, fate.reason, fate.attempts], ["pending", null, []])
    }))

  it.effect("waits for the circuit of its webhook", () =>
    Effect.gen(function*() {
      const webhook = yield* watched("broken")
      const receiver = yield* Receiver
      receiver.respond("/broken", () => ({ status: 500 }))
      yield* run("INSERT INTO broken VALUES (1)")
      yield* fateFor("broken", webhook.id, ({ attempts }) => attempts.length > 0)
      yield* run(`UPDATE truss.cursors SET opened_at = now() WHERE webhook_id = '${webhook.id}'`)
      const fate = yield* fateFor("broken", webhook.id, () => true)
      assert.deepStrictEqual([fate.state, fate.reason], ["pending", "circuit_open"])
      yield* run(`UPDATE truss.due SET at = 'infinity' WHERE webhook_id = '${webhook.id}'`)
      const waiting = yield* fateFor("broken", webhook.id, () => true)
      assert.deepStrictEqual([waiting.state, waiting.reason, waiting.next_attempt_at], [
        "pending",
        "waiting_for_row",
        null
      ])
    }))

  it.effect("waits for an earlier event where order is strict", () =>
    Effect.gen(function*() {
      const webhook = yield* watched("one_by_one", { ordering: "strict" })
      const receiver = yield* Receiver
      receiver.respond("/one_by_one", () => ({ status: 500 }))
      yield* run("INSERT INTO one_by_one VALUES (1)")
      yield* fateFor("one_by_one", webhook.id, ({ attempts }) => attempts.length > 0)
      yield* run("INSERT INTO one_by_one VALUES (2)")
      const fate = yield* fateFor("one_by_one", webhook.id, ({ attempts }) => attempts.length === 0)
      assert.deepStrictEqual([fate.state, fate.reason, fate.next_attempt_at], ["pending", "waiting_for_row", null])
    }))

  it.effect("was not sent when its webhook was paused, or not there yet", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const webhook = yield* watched("absent")
      yield* service.patch(webhook.id, { active: false })
      yield* run("INSERT INTO absent VALUES (1)")
      const paused = yield* fateFor("absent", webhook.id, () => true)
      assert.deepStrictEqual([paused.state, paused.reason], ["not_sent", "paused"])
      yield* service.patch(webhook.id, { active: true })
      const later = yield* watched("absent", { name: "later" })
      const before = yield* fateFor("absent", later.id, () => true)
      assert.deepStrictEqual([before.state, before.reason], ["not_sent", "before_webhook"])
      const still = yield* fateFor("absent", webhook.id, () => true)
      assert.deepStrictEqual([still.state, still.reason], ["not_sent", "paused"])
      yield* run("INSERT INTO absent VALUES (2)")
      yield* fateFor("absent", webhook.id, ({ state }) => state === "delivered")
    }))

  it.effect("was not sent before its webhook asked for its type", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const webhook = yield* watched("typed", { events: ["INSERT"] })
      yield* watched("typed", { name: "updates", events: ["UPDATE"] })
      yield* run("INSERT INTO typed VALUES (1)", "UPDATE typed SET note = 'b'")
      yield* service.log(webhook.id, 1)
      yield* service.patch(webhook.id, { events: ["INSERT", "UPDATE"] })
      const fate = yield* fateFor("typed", webhook.id, () => true)
      assert.deepStrictEqual([fate.state, fate.reason], ["not_sent", "before_webhook"])
    }))

  it.effect("was not sent when the selection says no, whatever the cursor has seen", () =>
    Effect.gen(function*() {
      const webhook = yield* watched("selected", {
        columns: ["note"],
        filter: [{ column: "n", op: "gt", value: 10 }]
      })
      yield* run("INSERT INTO selected VALUES (1, 'a', 5)")
      const small = yield* fateFor("selected", webhook.id, () => true)
      assert.deepStrictEqual([small.state, small.reason], ["not_sent", "filter"])
      yield* run("UPDATE selected SET n = 20")
      const other = yield* fateFor("selected", webhook.id, () => true)
      assert.deepStrictEqual([other.state, other.reason], ["not_sent", "columns"])
      yield* run("UPDATE selected SET note = 'b'")
      const chosen = yield* fateFor("selected", webhook.id, ({ state }) => state === "delivered")
      assert.strictEqual(chosen.reason, null)
    }))

  it.effect("of a test concerns the webhook that was tested", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const webhook = yield* watched("tested")
      yield* watched("tested", { name: "other" })
      yield* service.ask("POST", `/webhooks/${webhook.id}/test`)
      const { history } = yield* historyOf(yield* newest("tested"))
      assert.strictEqual(history.event_type, "TEST")
      assert.deepStrictEqual(history.webhooks.map(({ state, webhook_id }) => [webhook_id, state]), [
        [webhook.id, "delivered"]
      ])
    }))

  it.effect("is not found by an id that is not one", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* watched("known")
      yield* run("INSERT INTO known VALUES (1)")
      const id = yield* newest("known")
      const [, at, ...rest] = id.split("_")
      const other = ["evt", (Number.parseInt(at!, 36) + 1).toString(36), ...rest].join("_")
      for (const wrong of ["1", "evt_1", "evt_1_1_1_1", `${id}_1`, id.toUpperCase(), other, "evt_zzzzzzzzzzz_1_1_1"]) {
        const answer = yield* service.ask("GET", `/events/${wrong}`)
        assert.strictEqual(answer.status, 404, wrong)
      }
    }))
})
