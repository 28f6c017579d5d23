import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import { deadWebhooks } from "../isolation/DeadWebhooks.ts"
import { hangingNeighbour } from "../isolation/HangingNeighbour.ts"
import type { Options } from "../Options.ts"
import type { Scenario } from "../Scenario.ts"
import { openStage } from "../Stage.ts"
import { expensiveStatements, resetStatements } from "../Statements.ts"

const run = Effect.fnUntraced(function*(options: Options) {
  const stage = yield* openStage(options)
  const neighbour = yield* hangingNeighbour(stage, options.rounds ?? 3, options.rate ?? 100)
  yield* resetStatements(stage)
  const dead = yield* deadWebhooks(stage, options.seconds ?? 90)
  return {
    machine: stage.machine,
    tables: [neighbour.table, ...dead.tables, ...(yield* expensiveStatements(stage))],
    notes: [
      "from when COMMIT returned to when the whole request was read; every change of a live webhook arrived once",
      "× is against alone, in the same round, and against before; CPU is of one core",
      "paused: rows are captured as for the others, but not delivered; all with the defaults, timeouts of 15 s"
    ],
    results: { neighbour: neighbour.results, dead: dead.results }
  }
})

/** What webhooks notice of others that are dead. */
export const Isolation: Scenario = {
  name: "isolation",
  about: "a healthy webhook beside a hanging one; 100 live webhooks beside 100 dead ones, and what those cost",
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
