import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import type { Options } from "../Options.ts"
import { createOrders } from "../Orders.ts"
import { pacedIds, writeAndReceive } from "../PacedRows.ts"
import { fixed, integer, progress, range } from "../Report.ts"
import { inFlight, transactionRows, warmUpRows, wholeTransactions, writeRows, writers } from "../RowBurst.ts"
import type { Scenario } from "../Scenario.ts"
import { serviceBurst } from "../ServiceBurst.ts"
import { startService } from "../ServiceProcess.ts"
import { openDatabase, openStage, type Stage } from "../Stage.ts"
import { expensiveStatements, resetStatements } from "../Statements.ts"
import { spread } from "../Statistics.ts"
import { type Usage, usageOf, usedBetween } from "../Usage.ts"

const warmUpSeconds = 2

/** Of one row: microseconds of CPU, and bytes of WAL. */
interface Cost {
  readonly service: number
  readonly postgres: number
  readonly walBytes: number
}

const perRow = (used: Usage, rows: number): Cost => ({
  service: used.sender / rows * 1e6,
  postgres: used.postgres / rows * 1e6,
  walBytes: used.walBytes / rows
})

/** What inserting rows costs where nobody delivers them. */
const insertion = Effect.fnUntraced(function*(stage: Stage, rows: number) {
  yield* stage.sql`CHECKPOINT`
  const before = yield* usageOf(stage)
  yield* writeRows(stage, rows)
  return perRow(usedBetween(before, yield* usageOf(stage)), rows)
})

const phases = {
  plain: "rows alone, no trigger",
  captured: "… captured, the service stopped",
  delivered: "… captured and delivered, in a burst",
  slow: "… captured and delivered, one by one"
} as const
type Phase = keyof typeof phases

const run = Effect.fnUntraced(function*(options: Options) {
  const stage = yield* openStage(options)
  const rows = wholeTransactions(options.rows ?? 50_000)
  const rounds = options.rounds ?? 3
  const rate = options.rate ?? 200
  const seconds = options.seconds ?? 15

  const plain = yield* openDatabase(stage, "plain")
  yield* createOrders(plain.sql, "orders")
  const captured = yield* openDatabase(stage, "captured")
  yield* createOrders(captured.sql, "orders")
  yield* Effect.scoped(Effect.gen(function*() {
    const service = yield* startService(captured)
    yield* service.createWebhook({ table: "orders", url: stage.receiver.url })
  }))
  yield* createOrders(stage.sql, "orders")
  const service = yield* startService(stage)
  const webhook = yield* service.createWebhook({ table: "orders", url: stage.receiver.url, concurrency: inFlight })

  let nextId = pacedIds
  const slowly = Effect.fnUntraced(function*(seconds: number) {
    const paced = { firstId: nextId, rows: rate * seconds, rate, table: () => "orders" }
    nextId += paced.rows
    yield* stage.sql`CHECKPOINT`
    const before = yield* usageOf(stage, service.pid)
    yield* writeAndReceive(stage, paced)
    return perRow(usedBetween(before, yield* usageOf(stage, service.pid)), paced.rows)
  })
  const measure = Effect.fnUntraced(function*(rows: number, seconds: number) {
    return {
      plain: yield* insertion(plain, rows),
      captured: yield* insertion(captured, rows),
      delivered: perRow((yield* serviceBurst(stage, service, webhook, rows)).used, rows),
      slow: yield* slowly(seconds)
    } satisfies Record<Phase, Cost>
  })

  yield* progress("warming up")
  yield* measure(warmUpRows, warmUpSeconds)
  yield* resetStatements(stage)
  const measured: Array<Record<Phase, Cost>> = []
  for (let round = 1; round <= rounds; round++) {
    const result = yield* measure(rows, seconds)
    measured.push(result)
    const { postgres, service, walBytes } = result.delivered
    yield* progress(
      `round ${round} of ${rounds}: ${fixed(2)((service + postgres) / 100)} CPU s for 10,000, ${
        integer(walBytes)
      } B of WAL each`
    )
  }
  // A microsecond for each is a hundredth of a second for 10,000.
  const cpu = (phase: Phase, ...whose: ReadonlyArray<"service" | "postgres">) =>
    spread(measured.map((round) => whose.reduce((sum, who) => sum + round[phase][who], 0) / 100))
  const wal = (phase: Phase) => spread(measured.map((round) => round[phase].walBytes))
  const row = (phase: Phase) => [
    phases[phase],
    range(cpu(phase, "service", "postgres"), fixed(2)),
    range(cpu(phase, "service"), fixed(2)),
    range(cpu(phase, "postgres"), fixed(2)),
    range(wal(phase))
  ]
  return {
    machine: stage.machine,
    tables: [
      {
        title: `cost: ${integer(rows)} rows, or ${rate} a second for ${seconds} s, ${rounds} rounds, median (min–max)`,
        header: ["", "CPU s for 10,000", "service", "PostgreSQL", "WAL, bytes each"],
        rows: [row("plain"), row("captured"), row("delivered"), row("slow")]
      },
      ...(yield* expensiveStatements(stage))
    ],
    notes: [
      `${writers} writers, ${transactionRows} rows in each transaction; the slow flow is one writer, a transaction a row`,
      "each line is with what stands above it: the insert of the row itself, its capture, its delivery and log entry",
      "WAL as PostgreSQL counts its position, after a checkpoint: with the page images that follow one"
    ],
    results: { rows, rate, seconds, rounds: measured }
  }
})

/** What a delivery costs, and how much of that is the row's own. */
export const Cost: Scenario = {
  name: "cost",
  about: "CPU seconds for 10,000 deliveries and bytes of WAL for each, beside what the rows alone cost",
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
