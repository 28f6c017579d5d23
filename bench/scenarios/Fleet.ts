import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import { currentMemory, peakMemory } from "../CpuTime.ts"
import { latencyOf, latencyText } from "../Latency.ts"
import type { Options } from "../Options.ts"
import { createOrders } from "../Orders.ts"
import { writeAndReceive } from "../PacedRows.ts"
import { fixed, integer, progress, range } from "../Report.ts"
import type { Scenario } from "../Scenario.ts"
import { startService } from "../ServiceProcess.ts"
import { openStage, type Stage } from "../Stage.ts"
import { expensiveStatements, resetStatements } from "../Statements.ts"
import { spread } from "../Statistics.ts"
import { usageOf, usedBetween } from "../Usage.ts"

/** Webhooks on each table, a tenant each. */
const tenants = 10
const writers = 4
const warmUpSeconds = 5

const tableOf = (n: number, tables: number) => `orders_${n % tables}`
const tenant = (n: number) => `tenant ${((n % tenants) + tenants) % tenants}`

const round = Effect.fnUntraced(
  function*(stage: Stage, pid: number, paced: Parameters<typeof writeAndReceive>[1]) {
    const before = yield* usageOf(stage, pid)
    const start = performance.now()
    const changes = yield* writeAndReceive(stage, paced)
    const elapsed = (performance.now() - start) / 1000
    const used = usedBetween(before, yield* usageOf(stage, pid))
    return {
      ...latencyOf(changes),
      serviceCpu: used.sender / elapsed * 100,
      postgresCpu: used.postgres / elapsed * 100,
      memory: (yield* currentMemory(pid)) ?? Number.NaN
    }
  }
)

const run = Effect.fnUntraced(function*(options: Options) {
  const stage = yield* openStage(options)
  const webhooks = Math.ceil((options.webhooks ?? 1000) / tenants) * tenants
  const tables = webhooks / tenants
  const rate = options.rate ?? 1000
  const seconds = options.seconds ?? 20
  const rounds = options.rounds ?? 3
  const fanOut = Math.min(options.fanOut ?? 1, tenants)

  const service = yield* startService(stage)
  yield* progress(`creating ${webhooks} webhooks on ${tables} tables`)
  for (let n = 0; n < tables; n++) {
    const table = tableOf(n, tables)
    yield* createOrders(stage.sql, table)
    for (let k = 0; k < tenants; k++) {
      const statuses = Array.from({ length: fanOut }, (_, m) => tenant(k - m))
      yield* service.createWebhook({
        table,
        url: stage.receiver.url,
        concurrency: 16,
        ...(fanOut === tenants ? {} : { statuses })
      })
    }
  }

  let nextId = 1
  const next = (seconds: number) => {
    const paced = {
      firstId: nextId,
      rows: rate * seconds,
      rate,
      table: (n: number) => tableOf(n, tables),
      status: (n: number) => tenant(Math.floor(n / tables)),
      writers,
      copies: fanOut
    }
    nextId += paced.rows
    return paced
  }
  yield* progress(`warming up for ${warmUpSeconds} s`)
  yield* round(stage, service.pid, next(warmUpSeconds))
  yield* resetStatements(stage)
  const measured: Array<Effect.Success<ReturnType<typeof round>>> = []
  for (let n = 1; n <= rounds; n++) {
    const result = yield* round(stage, service.pid, next(seconds))
    measured.push(result)
    yield* progress(`round ${n} of ${rounds}: ${latencyText(result)}, ${integer(result.memory)} MB`)
  }
  const peak = yield* peakMemory(service.pid)
  const of = (key: keyof typeof measured[number]) => spread(measured.map((one) => one[key]))
  return {
    machine: stage.machine,
    tables: [
      {
        title:
          `fleet: ${integer(webhooks)} webhooks on ${tables} tables, ${integer(rate)} changes/s, each for ${fanOut} ` +
          `of its table's ${tenants}, ${rounds} rounds of ${seconds} s, median (min–max)`,
        header: ["", "measured"],
        rows: [
          ["from COMMIT's return, p50, ms", range(of("p50"), fixed(2))],
          ["  p99, ms", range(of("p99"), fixed(2))],
          ["  max, ms", range(of("max"), fixed(2))],
          ["CPU of the service, % of a core", range(of("serviceCpu"), fixed(1))],
          ["CPU of PostgreSQL, % of a core", range(of("postgresCpu"), fixed(1))],
          ["memory of the service after a round, MB", range(of("memory"))],
          ["  the most it ever was, MB", peak === undefined ? "unknown" : integer(peak)]
        ]
      },
      ...(yield* expensiveStatements(stage))
    ],
    notes: [
      `${writers} paced writers, a transaction a row; a table's webhooks each have a filter for their tenants' rows`,
      "every change arrived once at each webhook that it is for, and at no other"
    ],
    results: { webhooks, tables, rate, seconds, fanOut, rounds: measured, peakMemory: peak }
  }
})

/** Many webhooks that all have a little to do. */
export const Fleet: Scenario = {
  name: "fleet",
  about: "1,000 webhooks on 100 tables, 1,000 changes a second: latency, memory, CPU",
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
