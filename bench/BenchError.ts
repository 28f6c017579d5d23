import { Effect, Schema } from "effect"

/** Why a measurement could not be made. */
export class BenchError extends Schema.TaggedError<BenchError>()("BenchError", {
  message: Schema.String
}) {}

/** A promise whose failure is one line. */
export const attempt = <A>(what: string, run: () => Promise<A>): Effect.Effect<A, BenchError> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => new BenchError({ message: `${what}: ${cause instanceof Error ? cause.message : String(cause)}` })
  })
