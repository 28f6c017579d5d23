import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import type { Options } from "../Options.ts"
import { columns, createOrders, values } from "../Orders.ts"
import { fixed, progress, range } from "../Report.ts"
import type { Scenario } from "../Scenario.ts"
import { startService } from "../ServiceProcess.ts"
import { now } from "../SharedClock.ts"
import { openStage, type Stage } from "../Stage.ts"
import { expensiveStatements, resetStatements } from "../Statements.ts"
import { percentile, spread } from "../Statistics.ts"

const warmUpSeconds = 2
const shares = { p50: 0.5, p95: 0.95, p99: 0.99, max: 1 } as const
type Share = keyof typeof shares

interface Latencies {
  readonly fromReturn: Float64Array
  readonly fromCommit: Float64Array
  readonly commit: Float64Array
}

const insert = `INSERT INTO orders (id, ${columns}) VALUES ($1::int8, ${values("$1::int8")})`

/** Writes at times that were fixed beforehand, so that a slow commit is followed by more, not by fewer. */
const pace = Effect.fnUntraced(function*({ sql }: Stage, firstId: number, changes: number, rate: number) {
  const before = new Float64Array(changes)
  const after = new Float64Array(changes)
  const start = now()
  for (let n = 0; n < changes; n++) {
    const wait = start + n * 1000 / rate - now()
    if (wait > 0) yield* Effect.sleep(wait)
    before[n] = now()
    yield* sql.unsafe(insert, [String(firstId + n)])
    after[n] = now()
  }
  return { before, after }
})

const round = Effect.fnUntraced(function*(stage: Stage, firstId: number, changes: number, rate: number) {
  const { receiver } = stage
  yield* receiver.reset({ expect: changes, arrivals: true })
  const [written] = yield* Effect.all([pace(stage, firstId, changes, rate), receiver.reached], { concurrency: 2 }).pipe(
    Effect.timeoutOrElse({
      duration: changes / rate * 1000 + 20_000,
      orElse: () => new BenchError({ message: "not every change arrived" })
    })
  )
  const { arrivals } = yield* receiver.report
  const at = new Map(arrivals)
  if (arrivals.length !== changes || at.size !== changes) {
    return yield* new BenchError({
      message: `${changes} changes, but ${arrivals.length} requests for ${at.size} of them`
    })
  }
  const since = (times: Float64Array) => times.map((time, n) => at.get(firstId + n)! - time).sort()
  return {
    fromReturn: since(written.after),
    fromCommit: since(written.before),
    commit: written.after.map((time, n) => time - written.before[n]!).sort()
  } satisfies Latencies
})

const run = Effect.fnUntraced(function*(options: Options) {
  const stage = yield* openStage(options)
  const rate = options.rate ?? 200
  const rounds = options.rounds ?? 3
  const seconds = options.seconds ?? 15
  const changes = rate * seconds
  yield* createOrders(stage.sql, "orders")
  const service = yield* startService(stage)
  yield* service.createWebhook({ table: "orders", url: stage.receiver.url })

  yield* progress(`warming up for ${warmUpSeconds} s`)
  yield* round(stage, 1, rate * warmUpSeconds, rate)
  yield* resetStatements(stage)
  const measured: Array<Latencies> = []
  for (let n = 0; n < rounds; n++) {
    const result = yield* round(stage, 1 + rate * warmUpSeconds + n * changes, changes, rate)
    measured.push(result)
    const [p50, p99] = [percentile(result.fromReturn, 0.5), percentile(result.fromReturn, 0.99)]
    yield* progress(`round ${n + 1} of ${rounds}: p50 ${fixed(2)(p50)} ms, p99 ${fixed(2)(p99)} ms`)
  }
  const of = (key: keyof Latencies, share: Share) =>
    spread(measured.map((result) => percentile(result[key], shares[share])))
  const names = Object.keys(shares) as ReadonlyArray<Share>
  const row = (name: string, key: keyof Latencies) => [name, ...names.map((share) => range(of(key, share), fixed(2)))]
  const data = (key: keyof Latencies) => Object.fromEntries(names.map((share) => [share, of(key, share)]))
  return {
    machine: stage.machine,
    tables: [
      {
        title: `steady: ${rate} changes/s for ${seconds} s, ${rounds} rounds, ms, median (min–max) of the rounds'`,
        header: ["", ...names],
        rows: [
          row("COMMIT returned → request arrived", "fromReturn"),
          row("COMMIT sent → request arrived", "fromCommit"),
          row("COMMIT sent → returned (the writer's wait)", "commit")
        ]
      },
      ...(yield* expensiveStatements(stage))
    ],
    notes: [
      "one paced writer, a transaction a row, its times fixed beforehand; one signed webhook; every change arrived once",
      "times by the machine's monotonic clock, which all processes share; arrived: the whole request was read"
    ],
    results: {
      rate,
      seconds,
      rounds,
      fromCommitReturned: data("fromReturn"),
      fromCommitSent: data("fromCommit"),
      commit: data("commit")
    }
  }
})

/** How soon after its commit a change arrives. */
export const Steady: Scenario = {
  name: "steady",
  about: "a quiet flow of changes: how soon after its commit each one arrives",
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
