import { Effect } from "effect"
import { tmpdir } from "node:os"
import { parseArgs } from "node:util"
import { BenchError } from "./BenchError.ts"

/** How large a run is, and what else it should tell. What is not given is the scenario's own. */
export interface Options {
  readonly scenarios: ReadonlyArray<string>
  readonly rows: number | undefined
  readonly rounds: number | undefined
  readonly seconds: number | undefined
  readonly rate: number | undefined
  readonly webhooks: number | undefined
  readonly fanOut: number | undefined
  readonly connections: ReadonlyArray<number> | undefined
  readonly singleInserts: boolean
  readonly noCeiling: boolean
  readonly json: string | undefined
  /** Where the temporary folder is made: on the disk that is to be measured. */
  readonly folder: string
  /** Where the service's CPU profiles go, if they are asked for. */
  readonly profile: string | undefined
  readonly statements: boolean
  readonly help: boolean
}

export const usage = `npm run bench -- [scenario…] [options]

  --rows N           burst, contenders, cost, runners: rows of a round (50000); guard: the same (10000);
                     backlog: events kept (1000000); api: attempts in the log (10000000)
  --rounds N         rounds of each measurement (3); guard: at most (5)
  --seconds N        steady, contenders: seconds of a steady round (15); writers: seconds of a measurement (2);
                     isolation: seconds with dead webhooks whose circuits are open (90); fleet: of a round (20);
                     idle: of the measurement (60); api: at most, of each request (10); cost: of the slow flow (15)
  --rate N           steady, contenders, cost: changes a second (200); fleet: the same (1000);
                     isolation: rows a second into either of two tables (100)
  --webhooks N       fleet, handover: webhooks, ten to a table (1000)
  --fan-out N        fleet: how many of its table's ten webhooks a change is for (1)
  --connections A,B  writers: numbers of writers (1,16,64)
  --single-inserts   burst: a statement a row, 100 in a transaction, instead of one statement of 100 rows
  --no-ceiling       burst: leave out what undici and node:http do alone
  --json PATH        one file for all results, instead of bench/results/<scenario>.json
  --folder PATH      where the database's temporary folder is made (the system's folder for temporary files)
  --profile PATH     a CPU profile of the service into this folder, and its top self times in the output
  --statements       PostgreSQL's most expensive statements, by pg_stat_statements`

type WholeNumber = "rows" | "rounds" | "seconds" | "rate" | "webhooks" | "fan-out"

const parse = (args: ReadonlyArray<string>): Options => {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rows: { type: "string" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      rate: { type: "string" },
      webhooks: { type: "string" },
      "fan-out": { type: "string" },
      connections: { type: "string" },
      "single-inserts": { type: "boolean", default: false },
      "no-ceiling": { type: "boolean", default: false },
      json: { type: "string" },
      folder: { type: "string" },
      profile: { type: "string" },
      statements: { type: "boolean", default: false },
      help: { type: "boolean", default: false }
    }
  })
  const whole = (name: string, text: string) => {
    if (!/^[1-9]\d{0,7}$/.test(text)) throw new Error(`--${name} must be a whole number from 1, not ${text}`)
    return Number(text)
  }
  const number = (name: WholeNumber) => {
    const text = values[name]
    return text === undefined ? undefined : whole(name, text)
  }
  return {
    scenarios: positionals,
    rows: number("rows"),
    rounds: number("rounds"),
    seconds: number("seconds"),
    rate: number("rate"),
    webhooks: number("webhooks"),
    fanOut: number("fan-out"),
    connections: values.connections?.split(",").map((text) => whole("connections", text)),
    singleInserts: values["single-inserts"],
    noCeiling: values["no-ceiling"],
    json: values.json,
    folder: values.folder ?? tmpdir(),
    profile: values.profile,
    statements: values.statements,
    help: values.help
  }
}

export const parseOptions = (args: ReadonlyArray<string>): Effect.Effect<Options, BenchError> =>
  Effect.try({
    try: () => parse(args),
    catch: (cause) => new BenchError({ message: `${cause instanceof Error ? cause.message : cause}\n\n${usage}` })
  })
