import { Effect } from "effect"
import { BenchError } from "./BenchError.ts"
import { columns, values } from "./Orders.ts"
import { now } from "./SharedClock.ts"
import type { Stage } from "./Stage.ts"

/** Rows at an even rate, a transaction each; the nth has the id `firstId + n`. */
export interface PacedRows {
  readonly firstId: number
  readonly rows: number
  /** Rows a second. */
  readonly rate: number
  /** The table of the nth row. */
  readonly table: (n: number) => string
}

const insert = (table: string) => `INSERT INTO ${table} (id, ${columns}) VALUES ($1::int8, ${values("$1::int8")})`

/**
 * Writes at times that were fixed beforehand, so that a slow commit is followed by more, not by fewer. Gives when each
 * COMMIT was sent and when it returned.
 */
export const write = Effect.fnUntraced(function*({ sql }: Stage, { firstId, rate, rows, table }: PacedRows) {
  const before = new Float64Array(rows)
  const after = new Float64Array(rows)
  const start = now()
  for (let n = 0; n < rows; n++) {
    const wait = start + n * 1000 / rate - now()
    if (wait > 0) yield* Effect.sleep(wait)
    before[n] = now()
    yield* sql.unsafe(insert(table(n)), [String(firstId + n)])
    after[n] = now()
  }
  return { before, after }
})

/** Writes, and waits until each row that `arrives` came, once; gives when each was written and when its request came. */
export const writeAndReceive = Effect.fnUntraced(
  function*(stage: Stage, paced: PacedRows, arrives: (n: number) => boolean = () => true) {
    const { receiver } = stage
    const expected = Array.from({ length: paced.rows }, (_, n) => n).filter(arrives)
    yield* receiver.reset({ expect: expected.length, arrivals: true })
    const [{ after, before }] = yield* Effect.all([write(stage, paced), receiver.reached], { concurrency: 2 }).pipe(
      Effect.timeoutOrElse({
        duration: paced.rows / paced.rate * 1000 + 20_000,
        orElse: () =>
          Effect.flatMap(
            receiver.report,
            ({ requests }) => new BenchError({ message: `${requests} of ${expected.length} changes arrived in time` })
          )
      })
    )
    const { arrivals } = yield* receiver.report
    const at = new Map(arrivals)
    if (arrivals.length !== expected.length || at.size !== expected.length) {
      return yield* new BenchError({
        message: `${expected.length} changes, but ${arrivals.length} requests for ${at.size} of them`
      })
    }
    return expected.map((n) => ({ sentAt: before[n]!, returnedAt: after[n]!, arrivedAt: at.get(paced.firstId + n)! }))
  }
)
