import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Metric, References } from "effect"
import { Partitions, partitionsPastRetention } from "../../src/services/Partitions.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, layerInstalled, RunningService } from "../support/RunningService.ts"

/** What was logged, as text. */
const listen = () => {
  const said: Array<string> = []
  const layer = Layer.mergeAll(
    Logger.layer([Logger.make(({ message }) => said.push(JSON.stringify(message)))]),
    Layer.succeed(References.MinimumLogLevel, "Info")
  )
  return { said, layer }
}

const retentionDays = 7

/** Makes the first partition one whose time of retention is over, with the second one open. */
const age = Effect.gen(function*() {
  const sql = yield* Application
  yield* (yield* Partitions).open
  yield* sql`UPDATE truss.slots SET opened_at = now() - interval '30 days' + slot * interval '1 day'`
  yield* sql`UPDATE truss.slots SET closed_xid = pg_snapshot_xmax(pg_current_snapshot()) WHERE slot = 1`
})

const slots = Effect.gen(function*() {
  const sql = yield* Application
  const rows = yield* sql<{ slot: number }>`SELECT slot FROM truss.slots ORDER BY slot`
  return rows.map((row) => row.slot)
})

/** A webhook that stands at this moment, with an event of the first partition, which is due again in an hour. */
const retrying = Effect.gen(function*() {
  const sql = yield* Application
  const [row] = yield* sql<{ id: string }>`
    WITH t AS (INSERT INTO truss.tables (table_schema, table_name) VALUES ('public', 'kept') RETURNING id),
    e AS (INSERT INTO truss.events_1 (created_at, table_id, event_type, body)
      SELECT now(), id, 'INSERT', '{}' FROM t RETURNING seq, slot, table_id),
    w AS (INSERT INTO truss.webhooks
        (name, table_id, events, url, headers, active, concurrency, timeout_ms, max_attempts)
      SELECT 'kept', id, '{INSERT}', 'http://127.0.0.1:9/', '{}', true, 1, 1000, 5 FROM t RETURNING id),
    d AS (INSERT INTO truss.due (webhook_id, event_seq, event_slot, table_id, attempt, at)
      SELECT w.id, e.seq, e.slot, e.table_id, 2, now() + interval '1 hour' FROM w, e)
    SELECT id::text FROM w`
  // In a statement of its own: the constraint looks for the webhook.
  yield* sql`INSERT INTO truss.cursors (webhook_id, seen) VALUES (${row!.id}::text::uuid, pg_current_snapshot())`
  return row!.id
})

const kept = Effect.map(Metric.value(partitionsPastRetention), ({ value }) => Number(value))

describe("partitions", () => {
  it.effect("past retention are kept, counted and named while a retry or a position needs them, then dropped", () => {
    const { layer, said } = listen()
    return Effect.gen(function*() {
      const partitions = yield* Partitions
      const sql = yield* Application
      yield* retrying
      yield* age
      yield* partitions.rotate(retentionDays)
      assert.include(yield* slots, 1)
      assert.strictEqual(yield* kept, 1)
      assert.match(said.join("\n"), /kept a partition past its retention.*"slot":1/)
      yield* sql`DELETE FROM truss.due`
      yield* partitions.rotate(retentionDays)
      assert.strictEqual(yield* kept, 1)
      // Not the current snapshot: a transaction of another database on the server may hold that back.
      yield* sql`UPDATE truss.cursors SET seen = (closed_xid || ':' || closed_xid || ':')::pg_snapshot
        FROM truss.slots WHERE slot = 1`
      yield* partitions.rotate(retentionDays)
      assert.notInclude(yield* slots, 1)
      assert.strictEqual(yield* kept, 0)
    }).pipe(Effect.provide(layer), Effect.provide(layerInstalled()))
  })

  it.effect("that were emptied by hand take what was due of them along, and that is said", () => {
    const { layer, said } = listen()
    return Effect.gen(function*() {
      const sql = yield* Application
      const id = yield* retrying
      yield* sql`TRUNCATE truss.events_1`
      yield* (yield* Partitions).rotate(retentionDays)
      assert.lengthOf(yield* sql`SELECT FROM truss.due`, 0)
      assert.match(said.join("\n"), new RegExp(`events that were due are not stored.*${id}`))
    }).pipe(Effect.provide(layer), Effect.provide(layerInstalled()))
  })

  it.effect("that were dropped by hand are forgotten, and the open one is replaced", () => {
    const { layer, said } = listen()
    return Effect.gen(function*() {
      const sql = yield* Application
      const partitions = yield* Partitions
      const id = yield* retrying
      yield* age
      yield* sql`UPDATE truss.slots SET closed_xid = pg_snapshot_xmax(pg_current_snapshot()) WHERE slot = 1`
      yield* sql`DROP TABLE truss.events_1`
      yield* sql`DROP TABLE truss.events_2`
      yield* partitions.rotate(retentionDays)
      assert.deepStrictEqual(yield* slots, [3])
      assert.lengthOf(yield* sql`SELECT FROM truss.due`, 0)
      assert.match(said.join("\n"), new RegExp(`somebody dropped a partition.*"slot":1.*${id}`))
      yield* partitions.rotate(retentionDays)
      assert.deepStrictEqual(yield* slots, [3])
    }).pipe(Effect.provide(layer), Effect.provide(layerInstalled()))
  })

  it.effect("that were dropped by hand stop no webhook: it goes on with the oldest event there is", () =>
    Effect.gen(function*() {
      const sql = yield* Application
      const receiver = yield* Receiver
      yield* sql`CREATE TABLE dropped (id int)`
      const running = Layer.fresh(RunningService.layerOn())
      yield* Effect.gen(function*() {
        const service = yield* RunningService
        yield* service.create({ table_name: "dropped", url: receiver.url("/dropped") })
      }).pipe(Effect.provide(running))
      yield* sql`INSERT INTO dropped SELECT generate_series(1, 10)`
      yield* (yield* Partitions).open
      yield* sql`INSERT INTO dropped SELECT generate_series(11, 15)`
      yield* sql`DROP TABLE truss.events_1`
      yield* Effect.gen(function*() {
        yield* receiver.waitFor("/dropped", 5)
        yield* sql`INSERT INTO dropped VALUES (16)`
        yield* receiver.waitFor("/dropped", 6)
        assert.deepStrictEqual(
          receiver.at("/dropped").map(({ body }) => Number(body.row!["id"])).sort((a, b) => a - b),
          [11, 12, 13, 14, 15, 16]
        )
      }).pipe(Effect.provide(running))
    }).pipe(Effect.provide(Layer.provideMerge(Receiver.layer, layerInstalled()))))
})
