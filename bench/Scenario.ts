import type { Effect, Scope } from "effect"
import type { BenchError } from "./BenchError.ts"
import type { Machine } from "./Machine.ts"
import type { Options } from "./Options.ts"
import type { Table } from "./Report.ts"

/** What a scenario found: for the terminal, and as data. */
export interface Measured {
  readonly machine: Machine
  readonly tables: ReadonlyArray<Table>
  /** How it was measured, in a line each. */
  readonly notes: ReadonlyArray<string>
  readonly results: Readonly<Record<string, unknown>>
  /** What is not as it must be: the benchmark prints all it has, and fails. */
  readonly failures?: ReadonlyArray<string>
}

/** One question, and how it is answered. Everything it starts ends with its scope. */
export interface Scenario {
  readonly name: string
  readonly about: string
  /** Not among those that run when none is named. */
  readonly onlyByName?: boolean
  readonly run: (options: Options) => Effect.Effect<Measured, BenchError, Scope.Scope>
}
