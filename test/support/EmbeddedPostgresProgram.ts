import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import { writeSync } from "node:fs"
import { EmbeddedPostgres, type EmbeddedPostgresOptions } from "../../src/services/EmbeddedPostgres.ts"

// A process that runs the embedded PostgreSQL until it is told to end: a line of JSON for each thing that happens.
const say = (line: object) => Effect.sync(() => writeSync(1, `${JSON.stringify(line)}\n`))

const options: EmbeddedPostgresOptions = JSON.parse(process.argv[2] ?? "{}")

const main = Effect.gen(function*() {
  const server = yield* EmbeddedPostgres.start(options)
  yield* Effect.addFinalizer(() =>
    Effect.flatMap(PgClient.PgClient, (sql) => sql`SELECT 1`).pipe(
      Effect.provide(PgClient.layer({ url: Redacted.make(server.url) })),
      Effect.flatMap(() => say({ lastWords: "still answering" })),
      Effect.orDie
    )
  )
  yield* say(server)
  yield* Effect.never
}).pipe(
  Effect.scoped,
  Effect.catchTag("EmbeddedPostgresError", ({ message, reason }) => say({ reason, message }))
)

NodeRuntime.runMain(main)
