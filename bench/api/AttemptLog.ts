import { PgClient } from "@effect/sql-pg"
import { Effect, Layer } from "effect"
import { Partitions } from "../../src/services/Partitions.ts"
import { BenchError } from "../BenchError.ts"
import { integer, progress } from "../Report.ts"
import type { Stage } from "../Stage.ts"

const days = 7
const partitions = 4
const chunkRows = 250_000

/** How rare what the requests look for is: one attempt in so many. */
export const oneIn = { retrying: 100, failed: 1_000, gone: 100_000 } as const

/** No webhook watches it, so that its events are nobody's backlog. */
const tableId = 0

const body = (i: string) =>
  `'{"event":"INSERT","schema":"public","table":"orders","row":{"id":' || ${i} || ',"customer":"Customer ' || ${i} ||
  '","total":12.50,"status":"new","note":"Leave at the door, ring twice, and mind the dog; if nobody is in, the shop next '
  || 'door takes parcels"},"old_row":null,"timestamp":"2025-01-15T10:00:00.000Z"}'`

/** The attempts from $1 to $2 of $3, spread evenly over the last days, an event to each; all columns as the service sets them. */
const chunk = (slot: number) => `
  WITH e AS (
    INSERT INTO truss.events_${slot} (created_at, table_id, event_type, body)
    SELECT $5::timestamptz - ($3::int8 - i) * interval '${days} days' / $3::int8, ${tableId}, 'INSERT', ${body("i")}
    FROM generate_series($1::int8, $2::int8) i
    RETURNING seq, created_at
  ), numbered AS (SELECT e.*, row_number() OVER (ORDER BY seq) + $1::int8 - 1 AS i FROM e)
  INSERT INTO truss.attempts_${slot} (webhook_id, nonce, event_seq, event_at, event_slot, created_at, table_id, event_type,
    attempt, latency_ms, outcome, status_code, response_body, next_attempt_at)
  SELECT $4::text::uuid, i, seq, created_at, ${slot}, created_at + interval '2 milliseconds', ${tableId}, 'INSERT', 1,
    1 + i * 7919 % 10000 / 100.0,
    CASE WHEN i % ${oneIn.failed} = 0 OR i % ${oneIn.gone} = 2 THEN 'failed' WHEN i % ${oneIn.retrying} = 1 THEN 'retrying'
      ELSE 'success' END::truss.outcome,
    CASE WHEN i % ${oneIn.gone} = 2 THEN 410 WHEN i % ${oneIn.failed} = 0 THEN 500 WHEN i % ${oneIn.retrying} = 1 THEN 503
      ELSE 200 END,
    'ok', CASE WHEN i % ${oneIn.retrying} = 1 THEN created_at + interval '10 seconds' END
  FROM numbered ORDER BY seq`

/** Fills the log of a webhook with attempts of a week, set by set, in several partitions, as if they had been made. */
export const fillLog = Effect.fnUntraced(function*({ sql }: Stage, webhook: string, rows: number) {
  const openSlot = Effect.flatMap(Partitions, ({ open }) => open).pipe(
    Effect.provide(Partitions.layer.pipe(Layer.provide(Layer.succeed(PgClient.PgClient, sql))))
  )
  const now = new Date().toISOString()
  for (let partition = 0; partition < partitions; partition++) {
    // Whatever the service opened before stays empty and is the oldest.
    const slot = yield* openSlot
    const last = Math.floor(rows * (partition + 1) / partitions)
    for (let from = Math.floor(rows * partition / partitions) + 1; from <= last; from += chunkRows) {
      const to = Math.min(last, from + chunkRows - 1)
      yield* sql.unsafe(chunk(slot), [String(from), String(to), String(rows), webhook, now])
      yield* progress(`${integer(to)} of ${integer(rows)} attempts`)
    }
  }
  // As autovacuum would have.
  yield* sql`VACUUM (ANALYZE) truss.events, truss.attempts`
}, Effect.catchTag("SqlError", (error) => new BenchError({ message: error.message })))
