import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import type { Outcome } from "../../src/domain/Attempt.ts"
import { apply, type DeliveryState, fold, initial } from "../../src/domain/DeliveryState.ts"
import { foldDue } from "../../src/domain/Due.ts"
import type { EventType } from "../../src/domain/EventType.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService, until } from "../support/RunningService.ts"

const layer = Layer.merge(RunningService.layer(), Receiver.layer)

interface Entry {
  readonly event: string
  readonly event_type: EventType
  readonly attempt: number
  readonly outcome: Outcome
  readonly error: string | null
  readonly probe: boolean
  readonly created: number
  readonly latency: number
  readonly next: number | null
  readonly replay_of: string | null
}

const ms = (column: string) => `round(extract(epoch FROM ${column}) * 1000)::float8`

const logOf = (id: string) =>
  Effect.flatMap(Application, (sql) =>
    sql.unsafe<Entry>(
      `SELECT event_slot || '/' || event_seq AS event, event_type::text AS event_type, attempt, outcome::text AS outcome,
        error, probe, ${ms("created_at")} AS created, latency_ms::float8 AS latency, ${ms("next_attempt_at")} AS next,
        replay_of::text AS replay_of
      FROM truss.attempts WHERE webhook_id = $1::uuid ORDER BY seq`,
      [id]
    ))

const storedState = (id: string) =>
  Effect.flatMap(Application, (sql) =>
    sql.unsafe<DeliveryState & { epoch: number }>(
      `SELECT fail_count AS "failCount", ${ms("failing_since")} AS "failingSince", ${
        ms("last_failed_at")
      } AS "lastFailedAt",
        ${ms("opened_at")} AS "openedAt", epoch::float8 AS epoch FROM truss.cursors WHERE webhook_id = $1::uuid`,
      [id]
    )).pipe(Effect.map((rows) => rows[0]!))

const storedDue = (id: string) =>
  Effect.flatMap(Application, (sql) =>
    sql.unsafe<{ event: string; attempt: number; at: number }>(
      `SELECT event_slot || '/' || event_seq AS event, attempt, ${ms("at")} AS at FROM truss.due
      WHERE webhook_id = $1::uuid AND at < 'infinity'`,
      [id]
    ))

/** Pauses a webhook and waits until its actor has noticed: nothing is written after that. */
const pause = Effect.fnUntraced(function*(id: string) {
  const service = yield* RunningService
  const { epoch } = yield* storedState(id)
  yield* service.patch(id, { active: false })
  yield* until("the actor has paused", storedState(id), (now) => now.epoch > epoch)
})

it.layer(layer, { excludeTestServices: true })("what is stored of a webhook", (it) => {
  for (const ordering of ["none", "row", "strict"] as const) {
    it.effect(`is what its log says, whatever happened to it (${ordering})`, () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        const table = `projected_${ordering}`
        yield* run(`CREATE TABLE ${table} (id int PRIMARY KEY, note int)`)
        const webhook = yield* service.create({
          table_name: table,
          url: receiver.url(`/${table}`),
          ordering,
          concurrency: 5,
          max_attempts: 3
        })
        let rate = 0.3
        receiver.respond(`/${table}`, () => Math.random() < rate ? { status: Math.random() < 0.5 ? 500 : 429 } : {})
        for (let round = 0; round < 12; round++) {
          // Now and then everything fails, so that the circuit opens.
          rate = round % 4 === 3 ? 1 : 0.3
          const known = (yield* logOf(webhook.id)).length
          yield* run(
            `INSERT INTO ${table} SELECT i, 0 FROM generate_series(${round * 20}, ${round * 20 + 19}) i`,
            `UPDATE ${table} SET note = ${round} WHERE id % 7 = 0`,
            // The service writes these rows, too, and in an order of its own.
            `UPDATE truss.due SET at = now() WHERE ctid = ANY (ARRAY(SELECT ctid FROM truss.due
              WHERE webhook_id = '${webhook.id}' AND at < 'infinity' FOR UPDATE SKIP LOCKED))`,
            `NOTIFY truss, 'webhook ${webhook.id}'`
          )
          yield* until("something more was tried", logOf(webhook.id), (log) => log.length > known)
          if (round % 5 === 4) {
            const [first] = (yield* service.logs(webhook.id, { limit: 1 })).data
            yield* service.ask("POST", `/webhooks/${webhook.id}/replay/${first!.id}`)
          }
          if (round % 3 !== 2) continue
          yield* pause(webhook.id)
          const log = yield* logOf(webhook.id)
          const state = apply(
            initial,
            fold(log.map((entry) => ({
              eventType: entry.event_type,
              success: entry.outcome === "success",
              createdAt: entry.created,
              endedAt: entry.created + Math.round(entry.latency)
            })))
          )
          const stored = yield* storedState(webhook.id)
          assert.strictEqual(stored.failCount, state.failCount)
          assert.strictEqual((yield* service.get(webhook.id)).fail_count, state.failCount)
          for (const name of ["failingSince", "lastFailedAt", "openedAt"] as const) {
            assert.strictEqual(stored[name] === null, state[name] === null, name)
            // The log keeps two decimals of what it took.
            assert.isAtMost(Math.abs((stored[name] ?? 0) - (state[name] ?? 0)), 1, name)
          }
          const due = foldDue(log.map((entry) => ({
            eventId: entry.event,
            attempt: entry.attempt,
            outcome: entry.outcome,
            error: entry.error,
            probe: entry.probe,
            nextAttemptAt: entry.next,
            replayOf: entry.replay_of
          })))
          // What was parked behind others of its row, and may go now, is not in the log yet.
          const tried = new Set(log.map(({ event }) => event))
          const waiting = (yield* storedDue(webhook.id)).filter(({ event }) => tried.has(event))
          assert.deepStrictEqual(
            waiting.map(({ attempt, event }) => `${event} ${attempt}`).toSorted(),
            [...due].map(([event, { attempt }]) => `${event} ${attempt}`).toSorted()
          )
          yield* service.patch(webhook.id, { active: true })
        }
      }))
  }
})
