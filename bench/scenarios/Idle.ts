import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import { currentMemory } from "../CpuTime.ts"
import type { Options } from "../Options.ts"
import { createOrders } from "../Orders.ts"
import { writeAndReceive } from "../PacedRows.ts"
import { fixed, integer, progress } from "../Report.ts"
import type { Scenario } from "../Scenario.ts"
import { startService } from "../ServiceProcess.ts"
import { openStage } from "../Stage.ts"
import { expensiveStatements, resetStatements } from "../Statements.ts"
import { usageOf, usedBetween } from "../Usage.ts"

const webhooks = 10

/** What starting and the last deliveries left to do is not what idling costs. */
const restSeconds = 15

const run = Effect.fnUntraced(function*(options: Options) {
  const stage = yield* openStage(options)
  const seconds = options.seconds ?? 60
  const table = (n: number) => `orders_${n % webhooks}`
  const service = yield* startService(stage)
  for (let n = 0; n < webhooks; n++) {
    yield* createOrders(stage.sql, table(n))
    yield* service.createWebhook({ table: table(n), url: stage.receiver.url })
  }
  // Each has delivered, so that none of them waits for its first event.
  yield* writeAndReceive(stage, { firstId: 1, rows: 20 * webhooks, rate: 100, table })
  yield* progress(`resting for ${restSeconds} s, then idle for ${seconds} s`)
  yield* Effect.sleep(restSeconds * 1000)

  yield* resetStatements(stage)
  const before = yield* usageOf(stage, service.pid)
  const start = performance.now()
  yield* Effect.sleep(seconds * 1000)
  const used = usedBetween(before, yield* usageOf(stage, service.pid))
  const elapsed = (performance.now() - start) / 1000
  const memory = yield* currentMemory(service.pid)
  const percent = (cpu: number) => cpu / elapsed * 100
  return {
    machine: stage.machine,
    tables: [
      {
        title: `idle: ${webhooks} webhooks on as many tables, nothing to do for ${seconds} s`,
        header: ["", "measured"],
        rows: [
          ["CPU of the service, % of a core", fixed(2)(percent(used.sender))],
          ["CPU of PostgreSQL, % of a core", fixed(2)(percent(used.postgres))],
          ["memory of the service, MB", memory === undefined ? "unknown" : integer(memory)],
          ["WAL, bytes a second", integer(used.walBytes / elapsed)]
        ]
      },
      ...(yield* expensiveStatements(stage))
    ],
    notes: ["CPU times come in steps of 10 ms; PostgreSQL's are of all its processes"],
    results: {
      webhooks,
      seconds,
      serviceCpuPercent: percent(used.sender),
      postgresCpuPercent: percent(used.postgres),
      memory,
      walBytesPerSecond: used.walBytes / elapsed
    }
  }
})

/** What a service costs that has nothing to do. */
export const Idle: Scenario = {
  name: "idle",
  about: "ten webhooks and nothing to do: CPU and memory",
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
