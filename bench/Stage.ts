import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted } from "effect"
import { chmod, mkdtemp, rm } from "node:fs/promises"
import { join } from "node:path"
import { EmbeddedPostgres } from "../src/services/EmbeddedPostgres.ts"
import { attempt, BenchError } from "./BenchError.ts"
import { describeMachine } from "./Machine.ts"
import type { Options } from "./Options.ts"
import { openReceiver } from "./ReceiverProcess.ts"

const temporaryFolder = (parent: string) =>
  Effect.acquireRelease(
    attempt(`cannot make a folder in ${parent}`, async () => {
      const folder = await mkdtemp(join(parent, "truss-bench-"))
      // PostgreSQL runs as nobody where the benchmark runs as root, and has to get through.
      await chmod(folder, 0o711)
      return folder
    }),
    (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
  )

const statistics = {
  shared_preload_libraries: "pg_stat_statements",
  "pg_stat_statements.track": "all"
}

/** What every scenario stands on: a new PostgreSQL on the disk, a client, the receiver. All end with the scope. */
export const openStage = Effect.fnUntraced(function*(options: Options) {
  const folder = yield* temporaryFolder(options.folder)
  const server = yield* EmbeddedPostgres.start({
    dataDir: folder,
    database: "bench",
    settings: { max_connections: "200", ...(options.statements ? statistics : {}) }
  })
  const context = yield* Layer.build(
    PgClient.layer({ url: Redacted.make(server.url), maxConnections: 4, applicationName: "truss-bench" })
  )
  const sql = Context.get(context, PgClient.PgClient)
  const receiver = yield* openReceiver
  const machine = yield* Effect.provideContext(describeMachine(folder), context)
  if (options.statements) yield* sql`CREATE EXTENSION pg_stat_statements`
  return { folder, url: server.url, postgresPid: server.pid, sql, receiver, machine, options }
}, Effect.mapError((error) => error instanceof BenchError ? error : new BenchError({ message: error.message })))

/** The same stage on another database of its server, for those who must not hear each other's notifications. */
export const openDatabase = Effect.fnUntraced(function*(stage: Stage, name: string) {
  yield* stage.sql`CREATE DATABASE ${stage.sql(name)}`
  const url = new URL(stage.url)
  url.pathname = `/${name}`
  const context = yield* Layer.build(
    PgClient.layer({ url: Redacted.make(url.href), maxConnections: 4, applicationName: "truss-bench" })
  )
  return { ...stage, url: url.href, sql: Context.get(context, PgClient.PgClient) }
}, Effect.mapError((error) => new BenchError({ message: error.message })))

export type Stage = Effect.Success<ReturnType<typeof openStage>>
