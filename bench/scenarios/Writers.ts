import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import type { Options } from "../Options.ts"
import { createOrders } from "../Orders.ts"
import { openGenerator } from "../Pgbench.ts"
import { fixed, integer, progress, range } from "../Report.ts"
import type { Scenario } from "../Scenario.ts"
import { startService } from "../ServiceProcess.ts"
import { openStage, type Stage } from "../Stage.ts"
import { expensiveStatements, resetStatements } from "../Statements.ts"
import { spread } from "../Statistics.ts"

// A table for each, so that what one leaves behind is no work for another.
const plain = "orders_plain"
const captured = "orders_captured"
const delivered = "orders_delivered"

interface Round {
  readonly plain: number
  readonly captured: number
  readonly delivering: number
  /** Requests a second that arrived meanwhile. */
  readonly deliveries: number
}

const prepare = Effect.fnUntraced(function*(stage: Stage) {
  for (const table of [plain, captured, delivered]) yield* createOrders(stage.sql, table)
  const service = yield* startService(stage)
  // Its events are never asked for, so they are no backlog for the service when it runs.
  yield* service.createWebhook({ table: captured, url: stage.receiver.url, active: false })
  yield* service.createWebhook({ table: delivered, url: stage.receiver.url })
}, Effect.scoped)

const drained = ({ receiver }: Stage, inserted: number) =>
  receiver.report.pipe(
    Effect.delay("20 millis"),
    Effect.repeat({ until: ({ requests }) => requests >= inserted }),
    Effect.timeoutOrElse({
      duration: "30 seconds",
      orElse: () =>
        Effect.flatMap(receiver.report, ({ requests }) =>
          new BenchError({ message: `after 30 s ${requests} of ${inserted} rows had been delivered` }))
    })
  )

const countRows = ({ sql }: Stage) =>
  Effect.map(
    sql.unsafe<{ n: number }>(`SELECT count(*)::float8 AS n FROM ${delivered}`),
    (rows) => rows[0]?.n ?? 0
  )

const run = Effect.fnUntraced(function*(options: Options) {
  const stage = yield* openStage(options)
  const { receiver } = stage
  const generator = yield* openGenerator(stage)
  const seconds = options.seconds ?? 2
  const rounds = options.rounds ?? 3
  const counts = options.connections ?? [1, 16, 64]
  yield* prepare(stage)
  const load = (table: string, connections: number) => generator.run({ table, connections, seconds })

  const round = Effect.fnUntraced(function*(connections: number) {
    const without = yield* load(plain, connections)
    const withCapture = yield* load(captured, connections)
    return yield* Effect.scoped(Effect.gen(function*() {
      yield* startService(stage)
      yield* receiver.reset({})
      const rowsBefore = yield* countRows(stage)
      const start = performance.now()
      const whileDelivering = yield* load(delivered, connections)
      const { requests } = yield* receiver.report
      const deliveries = requests / ((performance.now() - start) / 1000)
      yield* drained(stage, (yield* countRows(stage)) - rowsBefore)
      return { plain: without, captured: withCapture, delivering: whileDelivering, deliveries } satisfies Round
    }))
  })

  yield* progress("warming up")
  for (const table of [plain, captured]) yield* generator.run({ table, connections: 16, seconds: 1 })
  yield* resetStatements(stage)
  const measured = new Map<number, Array<Round>>(counts.map((connections) => [connections, []]))
  for (let n = 1; n <= rounds; n++) {
    for (const connections of counts) {
      const result = yield* round(connections)
      measured.get(connections)?.push(result)
      yield* progress(
        `round ${n} of ${rounds}, ${connections} writers: ${integer(result.plain)}, capture ` +
          `${fixed(2)(result.captured / result.plain)}, delivering ${fixed(2)(result.delivering / result.plain)}`
      )
    }
  }
  const summary = [...measured].map(([connections, results]) => ({
    connections,
    plain: spread(results.map((result) => result.plain)),
    captured: spread(results.map((result) => result.captured)),
    delivering: spread(results.map((result) => result.delivering)),
    deliveries: spread(results.map((result) => result.deliveries)),
    capturedRatio: spread(results.map((result) => result.captured / result.plain)),
    deliveringRatio: spread(results.map((result) => result.delivering / result.plain))
  }))
  const per = fixed(2)
  return {
    machine: stage.machine,
    tables: [
      {
        title: `writers: single-row inserts a second, ${rounds} rounds of ${seconds} s each, median (min–max)`,
        header: [
          "writers",
          "no trigger",
          "capture",
          "delivering",
          "× capture",
          "× delivering",
          "delivered/s meanwhile"
        ],
        rows: summary.map((row) => [
          String(row.connections),
          range(row.plain),
          range(row.captured),
          range(row.delivering),
          range(row.capturedRatio, per),
          range(row.deliveringRatio, per),
          range(row.deliveries)
        ])
      },
      ...(yield* expensiveStatements(stage))
    ],
    notes: [
      `by ${generator.name}; the first second of each measurement is left out`,
      "no trigger, capture alone (triggers stand, service stopped by SIGTERM), service delivering: in turns, in one run",
      "× is against no trigger in the same round; writers, service, receiver and PostgreSQL share the cores"
    ],
    results: { generator: generator.name, seconds, rounds, summary, measured: Object.fromEntries(measured) }
  }
})

/** What writers pay. */
export const Writers: Scenario = {
  name: "writers",
  about: "many writers of single rows: without a trigger, with the capture alone, and with the service delivering",
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
