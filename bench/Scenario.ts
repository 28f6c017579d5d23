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
}

/** One question, and how it is answered. Everything it starts ends with its scope. */
export interface Scenario {
  readonly name: string
  readonly about: string
  readonly run: (options: Options) => Effect.Effect<Measured, BenchError, Scope.Scope>
}
