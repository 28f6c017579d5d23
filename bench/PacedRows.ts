import { Effect } from "effect"
import { BenchError } from "./BenchError.ts"
import { columns, values } from "./Orders.ts"
import { now } from "./SharedClock.ts"
import type { Stage } from "./Stage.ts"

/** Where the ids of paced rows may start beside bursts, which draw theirs from 1 on. */
export const pacedIds = 1_000_000_000

/** Rows at an even rate, a transaction each; the nth has the id `firstId + n`. */
export interface PacedRows {
  readonly firstId: number
  readonly rows: number
  /** Rows a second. */
  readonly rate: number
  /** The table of the nth row. */
  readonly table: (n: number) => string
  /** Its status. */
  readonly status?: (n: number) => string
  /** How many connections take turns, at most those of the stage's client; one unless said. */
  readonly writers?: number
  /** How many requests each row is to make; one unless said. */
  readonly copies?: number
}

const insert = (table: string, status?: string) =>
  `INSERT INTO ${table} (id, ${columns}) VALUES ($1::int8, ${values("$1::int8", status)})`

/**
 * Writes at times that were fixed beforehand, so that a slow commit is followed by more, not by fewer. Gives when each
 * COMMIT was sent and when it returned.
 */
export const write = Effect.fnUntraced(function*({ sql }: Stage, paced: PacedRows) {
  const { firstId, rate, rows, status, table, writers = 1 } = paced
  const before = new Float64Array(rows)
  const after = new Float64Array(rows)
  const start = now()
  const writer = Effect.fnUntraced(function*(first: number) {
    for (let n = first; n < rows; n += writers) {
      const wait = start + n * 1000 / rate - now()
      if (wait > 0) yield* Effect.sleep(wait)
      before[n] = now()
      yield* sql.unsafe(insert(table(n), status?.(n)), [String(firstId + n)])
      after[n] = now()
    }
  })
  yield* Effect.all(Array.from({ length: writers }, (_, n) => writer(n)), { concurrency: writers })
  return { before, after }
})

/**
 * Writes, and waits until each row that `arrives` came as often as it should, once unless said; gives when each was
 * written and when each of its requests came.
 */
export const writeAndReceive = Effect.fnUntraced(
  function*(stage: Stage, paced: PacedRows, arrives: (n: number) => boolean = () => true) {
    const { receiver } = stage
    const { copies = 1, firstId } = paced
    const expected = Array.from({ length: paced.rows }, (_, n) => n).filter(arrives)
    yield* receiver.reset({ expect: expected.length * copies, arrivals: true })
    const [{ after, before }] = yield* Effect.all([write(stage, paced), receiver.reached], { concurrency: 2 }).pipe(
      Effect.timeoutOrElse({
        duration: paced.rows / paced.rate * 1000 + 20_000,
        orElse: () =>
          Effect.flatMap(
            receiver.report,
            ({ requests }) =>
              new BenchError({ message: `${requests} of ${expected.length * copies} requests came in time` })
          )
      })
    )
    const { arrivals } = yield* receiver.report
    const byId = Map.groupBy(arrivals, ([id]) => id)
    const right = expected.filter((n) => byId.get(firstId + n)?.length === copies).length
    if (right !== expected.length || arrivals.length !== expected.length * copies) {
      return yield* new BenchError({
        message: `${expected.length} changes, but ${arrivals.length} requests for ${byId.size} of them`
      })
    }
    return expected.flatMap((n) =>
      byId.get(firstId + n)!.map(([, arrivedAt]) => ({ sentAt: before[n]!, returnedAt: after[n]!, arrivedAt }))
    )
  }
)
