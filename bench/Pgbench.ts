import { Effect } from "effect"
import { chmod, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { attempt, BenchError } from "./BenchError.ts"
import { runProgram } from "./Child.ts"
import { columns, values } from "./Orders.ts"
import type { Stage } from "./Stage.ts"

const inserter = fileURLToPath(new URL("inserter.ts", import.meta.url))

/** A number of connections that insert single rows as fast as they can. */
export interface Load {
  readonly table: string
  readonly connections: number
  /** Without the first second, in which each connection plans its statements and compiles the trigger's function. */
  readonly seconds: number
}

/** Runs a load to its end: inserts a second. */
export interface Generator {
  readonly name: string
  readonly run: (load: Load) => Effect.Effect<number, BenchError>
}

export const insertInto = (table: string, parameter: string) =>
  `INSERT INTO ${table} (${columns}) VALUES (${values(parameter)})`

const pgbench = (stage: Stage, version: string): Generator => ({
  name: `${version}, protocol prepared`,
  run: Effect.fnUntraced(function*({ connections, seconds, table }: Load) {
    const script = join(stage.folder, `${table}.sql`)
    yield* attempt(`cannot write ${script}`, async () => {
      await writeFile(script, `\\set n random(1, 1000000)\n${insertInto(table, ":n")};\n`)
      await chmod(script, 0o644)
    })
    const threads = Math.min(2, connections)
    const output = yield* runProgram("pgbench", [
      "--no-vacuum",
      "--protocol=prepared",
      `--file=${script}`,
      `--time=${seconds + 1}`,
      "--progress=1",
      `--client=${connections}`,
      `--jobs=${threads}`,
      stage.url
    ])
    // It does not always report the last second, so what came after the first is what is left of all.
    const [, until, firstRate] = /^progress: ([\d.]+) s, ([\d.]+) tps/m.exec(output)?.map(Number) ?? []
    const all = Number(/transactions actually processed: (\d+)/.exec(output)?.[1])
    if (until === undefined || firstRate === undefined || !(all > 0)) {
      return yield* new BenchError({ message: `pgbench said: ${output}` })
    }
    return (all - firstRate * until) / (seconds + 1 - until)
  })
})

const ofOurOwn = (stage: Stage): Generator => ({
  name: "a Node process, since there is no pgbench: with many writers it may be what is measured",
  run: Effect.fnUntraced(function*({ connections, seconds, table }: Load) {
    const statement = insertInto(table, "$1::int8")
    const output = yield* runProgram(process.execPath, [
      inserter,
      stage.url,
      statement,
      String(connections),
      String(seconds)
    ])
    return Number(output)
  })
})

/** PostgreSQL's own load generator where there is one. */
export const openGenerator = (stage: Stage): Effect.Effect<Generator> =>
  runProgram("pgbench", ["--version"]).pipe(
    Effect.match({ onFailure: () => ofOurOwn(stage), onSuccess: (version) => pgbench(stage, version.trim()) })
  )
