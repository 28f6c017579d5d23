import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { fileURLToPath } from "node:url"
import { BenchError } from "./BenchError.ts"
import { machineLine } from "./Machine.ts"
import { parseOptions, usage } from "./Options.ts"
import { topSelfTimes } from "./Profile.ts"
import { line, printTable, progress, writeJson } from "./Report.ts"
import type { Measured, Scenario } from "./Scenario.ts"
import { Api } from "./scenarios/Api.ts"
import { Backlog } from "./scenarios/Backlog.ts"
import { Burst } from "./scenarios/Burst.ts"
import { Contenders } from "./scenarios/Contenders.ts"
import { Cost } from "./scenarios/Cost.ts"
import { Fleet } from "./scenarios/Fleet.ts"
import { Guard } from "./scenarios/Guard.ts"
import { HandOver } from "./scenarios/HandOver.ts"
import { Idle } from "./scenarios/Idle.ts"
import { Isolation } from "./scenarios/Isolation.ts"
import { Runners } from "./scenarios/Runners.ts"
import { Steady } from "./scenarios/Steady.ts"
import { Writers } from "./scenarios/Writers.ts"

const scenarios: ReadonlyArray<Scenario> = [
  Burst,
  Steady,
  Writers,
  Isolation,
  Contenders,
  Fleet,
  Backlog,
  Api,
  Cost,
  Idle,
  Runners,
  HandOver,
  Guard
]

const results = fileURLToPath(new URL("results/", import.meta.url))

const print = Effect.fnUntraced(function*(measured: Measured) {
  for (const table of measured.tables) yield* printTable(table)
  for (const note of measured.notes) yield* line(`  ${note}`)
  yield* line()
})

const help = [usage, "", ...scenarios.map(({ about, name }) => `  ${name.padEnd(11)} ${about}`)].join("\n")

const main = Effect.gen(function*() {
  const options = yield* parseOptions(process.argv.slice(2))
  if (options.help) return yield* line(help)
  const chosen = options.scenarios.length === 0
    ? scenarios.filter(({ onlyByName }) => onlyByName !== true)
    : yield* Effect.forEach(
      options.scenarios,
      (name) =>
        Effect.fromNullishOr(scenarios.find((scenario) => scenario.name === name)).pipe(
          Effect.mapError(() => new BenchError({ message: `there is no scenario ${name}\n\n${help}` }))
        )
    )
  const all: Record<string, unknown> = {}
  const failures: Array<string> = []
  let shown = false
  for (const { name, run } of chosen) {
    yield* progress(name)
    const started = performance.now()
    const measured = yield* Effect.scoped(run(options))
    // A process writes its profile when it ends, which the service does with the scenario's scope.
    const profiles = yield* topSelfTimes(options.profile)
    if (!shown) yield* line(machineLine(measured.machine))
    shown = true
    yield* print({ ...measured, tables: [...measured.tables, ...profiles] })
    yield* progress(`${name} took ${Math.round((performance.now() - started) / 1000)} s`)
    const { machine, notes, results: data } = measured
    all[name] = { machine, notes, results: data }
    failures.push(...(measured.failures ?? []))
    if (options.json === undefined) yield* writeJson(`${results}${name}.json`, all[name])
  }
  if (options.json !== undefined) yield* writeJson(options.json, all)
  if (failures.length > 0) return yield* new BenchError({ message: failures.join("\n") })
}).pipe(
  Effect.tapError(({ message }) => Effect.sync(() => void process.stderr.write(`bench: ${message}\n`)))
)

NodeRuntime.runMain(main, { disableErrorReporting: true })
