import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import type { Options } from "../Options.ts"
import { createOrders } from "../Orders.ts"
import { writeAndReceive } from "../PacedRows.ts"
import { fixed, progress, range } from "../Report.ts"
import type { Scenario } from "../Scenario.ts"
import { startService } from "../ServiceProcess.ts"
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

const round = Effect.fnUntraced(function*(stage: Stage, firstId: number, rows: number, rate: number) {
  const changes = yield* writeAndReceive(stage, { firstId, rows, rate, table: () => "orders" })
  const sorted = (time: (change: typeof changes[number]) => number) => Float64Array.from(changes, time).sort()
  return {
    fromReturn: sorted(({ arrivedAt, returnedAt }) => arrivedAt - returnedAt),
    fromCommit: sorted(({ arrivedAt, sentAt }) => arrivedAt - sentAt),
    commit: sorted(({ returnedAt, sentAt }) => returnedAt - sentAt)
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
