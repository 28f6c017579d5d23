/** The writers where there is no pgbench: `node inserter.ts URL STATEMENT CONNECTIONS SECONDS` prints inserts a second, the first second left out. */
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"

const [url = "", statement = "", connections = "1", seconds = "1"] = process.argv.slice(2)
const writers = Number(connections)

const main = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* Effect.all(Array.from({ length: writers }, () => sql`SELECT pg_sleep(0.2)`), { concurrency: writers })
  let inserted = 0
  const write = (end: number) =>
    Effect.gen(function*() {
      while (performance.now() < end) yield* sql.unsafe(statement, [String(++inserted)])
    })
  const writeFor = (milliseconds: number) =>
    Effect.suspend(() => {
      const end = performance.now() + milliseconds
      return Effect.all(Array.from({ length: writers }, () => write(end)), { concurrency: writers })
    })
  yield* writeFor(1000)
  inserted = 0
  const start = performance.now()
  yield* writeFor(Number(seconds) * 1000)
  process.stdout.write(`${inserted / ((performance.now() - start) / 1000)}\n`)
}).pipe(
  Effect.provide(PgClient.layer({ url: Redacted.make(url), minConnections: writers, maxConnections: writers }))
)

NodeRuntime.runMain(main)
