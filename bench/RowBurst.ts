import { Effect } from "effect"
import { BenchError } from "./BenchError.ts"
import { columns, values } from "./Orders.ts"
import { now } from "./SharedClock.ts"
import type { Stage } from "./Stage.ts"
import { usageOf, usedBetween } from "./Usage.ts"

export const writers = 2
export const transactionRows = 100

/** Requests that every sender may have in flight. */
export const inFlight = 64

/** Rows of a burst that only warms up. */
export const warmUpRows = 5_000

/** So many rows or a few more: whole transactions. */
export const wholeTransactions = (rows: number): number => Math.ceil(rows / transactionRows) * transactionRows

/** One transaction of so many rows. */
const inserts = (single: boolean) =>
  single
    ? `DO $$ BEGIN FOR i IN 1..${transactionRows} LOOP
        INSERT INTO orders (${columns}) VALUES (${values("i")}); END LOOP; END $$`
    : `INSERT INTO orders (${columns}) SELECT ${values("i")} FROM generate_series(1, ${transactionRows}) i`

/** Inserts into `orders` as fast as the writers can. */
export const writeRows = ({ options, sql }: Stage, rows: number) => {
  const statement = inserts(options.singleInserts)
  let transactions = rows / transactionRows
  const write = Effect.gen(function*() {
    while (transactions-- > 0) yield* sql.unsafe(statement)
  })
  return Effect.all(Array.from({ length: writers }, () => write), { concurrency: writers, discard: true })
}

/** A burst, and who is to deliver it. */
export interface RowBurst<E> {
  readonly rows: number
  /** The sender's process, or processes. */
  readonly pid: number | ReadonlyArray<number>
  /** Asked until it is true, once every request has come: whether the sender has stored that it is done. */
  readonly settled: Effect.Effect<boolean, E>
  /** Keep which rows came, for the receiver's report. */
  readonly arrivals?: boolean
}

/** Writes, waits until every request has come and all is settled, and gives how long that took and what it used. */
export const runBurst = Effect.fnUntraced(function*<E>(stage: Stage, { arrivals, pid, rows, settled }: RowBurst<E>) {
  const { receiver, sql } = stage
  yield* receiver.reset({ expect: rows, arrivals: arrivals ?? false })
  yield* sql`CHECKPOINT`
  const before = yield* usageOf(stage, pid)
  const start = now()
  const written = Effect.map(writeRows(stage, rows), now)
  const [writtenAt, arrivedAt] = yield* Effect.all([written, receiver.reached], { concurrency: 2 }).pipe(
    Effect.timeoutOrElse({
      duration: "60 seconds",
      orElse: () =>
        Effect.flatMap(
          receiver.report,
          ({ requests }) => new BenchError({ message: `after 60 s ${requests} of ${rows} requests had come` })
        )
    })
  )
  yield* settled.pipe(
    Effect.delay(1),
    Effect.repeat({ until: (done) => done }),
    Effect.timeoutOrElse({
      duration: "60 seconds",
      orElse: () => Effect.fail(new BenchError({ message: "all requests had come, but the sender was not done" }))
    })
  )
  const end = now()
  const used = usedBetween(before, yield* usageOf(stage, pid))
  return {
    writtenMs: writtenAt - start,
    arrivedMs: arrivedAt - start,
    elapsedMs: end - start,
    perSecond: rows / ((end - start) / 1000),
    used,
    received: yield* receiver.report
  }
})
