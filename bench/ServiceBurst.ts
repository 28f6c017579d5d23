import { Effect } from "effect"
import { BenchError } from "./BenchError.ts"
import { runBurst } from "./RowBurst.ts"
import type { Stage } from "./Stage.ts"

/** The number of the newest entry in the log. */
export const lastEntry = ({ sql }: Stage) =>
  Effect.map(
    sql<{ seq: number }>`SELECT coalesce(pg_sequence_last_value('truss.attempt_seq'), 0)::float8 AS seq`,
    (rows) => rows[0]?.seq ?? 0
  )

const entriesSince = ({ sql }: Stage, webhook: string, seq: number) =>
  Effect.map(
    sql<{ entries: number; events: number; successes: number }>`
      SELECT count(*)::float8 AS entries, count(DISTINCT event_seq)::float8 AS events,
        count(*) FILTER (WHERE outcome = 'success')::float8 AS successes
      FROM truss.attempts WHERE webhook_id = ${webhook}::text::uuid AND seq > ${seq}::text::int8`,
    (rows) => rows[0] ?? { entries: 0, events: 0, successes: 0 }
  )

/** Whether the log holds so many entries since `seq`. */
export const isLogged = Effect.fnUntraced(function*(stage: Stage, webhook: string, seq: number, rows: number) {
  // The numbers are drawn before the commit that shows the entries, and cost less to look at.
  return (yield* lastEntry(stage)) >= seq + rows && (yield* entriesSince(stage, webhook, seq)).entries >= rows
})

/** Each of the rows is in the log since `seq` once, as a success, and so many requests came. */
export const checkLog = Effect.fnUntraced(
  function*(stage: Stage, webhook: string, seq: number, rows: number, requests: number) {
    const log = yield* entriesSince(stage, webhook, seq)
    if (log.entries !== rows || log.events !== rows || log.successes !== rows || requests !== rows) {
      return yield* new BenchError({
        message: `${rows} rows, but ${requests} requests and ${log.entries} entries of ${log.events} events, ` +
          `${log.successes} of them successes`
      })
    }
  }
)

interface ServiceProcesses {
  readonly pid: number | ReadonlyArray<number>
}

/** A burst that the service delivers: every row is in the log once, as a success, before this returns. */
export const serviceBurst = Effect.fnUntraced(
  function*(stage: Stage, service: ServiceProcesses, webhook: string, rows: number, arrivals = false) {
    const before = yield* lastEntry(stage)
    const settled = isLogged(stage, webhook, before, rows)
    const result = yield* runBurst(stage, { rows, pid: service.pid, settled, arrivals })
    yield* checkLog(stage, webhook, before, rows, result.received.requests)
    return result
  },
  Effect.catchTag("SqlError", (error) => new BenchError({ message: error.message }))
)
