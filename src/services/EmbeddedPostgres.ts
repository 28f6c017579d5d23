import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted, Schedule } from "effect"
import { readFile, rename, stat } from "node:fs/promises"
import { createServer } from "node:net"
import { EmbeddedPostgresError } from "./EmbeddedPostgresError.ts"
import { openFolder } from "./EmbeddedPostgresFolder.ts"
import { findServer, readLockFile, spawnServer, stopServer } from "./EmbeddedPostgresProcess.ts"

/** How to start the embedded PostgreSQL. */
export interface EmbeddedPostgresOptions {
  /** The service's data folder, made if missing; PostgreSQL keeps to `postgres` in it. */
  readonly dataDir: string
  /** The database that `url` names, made if missing. Default `truss`. */
  readonly database?: string | undefined
  /** Server settings on top of the defaults, such as `{ max_connections: "200" }`. */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /** Another npm package, or the absolute path of its folder, to take PostgreSQL from. */
  readonly package?: string | undefined
}

type Folder = Effect.Success<ReturnType<typeof openFolder>>

const defaults: Readonly<Record<string, string>> = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  max_connections: "100",
  timezone: "UTC",
  log_timezone: "UTC",
  log_checkpoints: "off",
  jit: "off"
}

const startTimeout = "60 seconds"

const isBusy = (error: EmbeddedPostgresError) => error.reason === "Busy"
const busy = (message: string) => new EmbeddedPostgresError({ reason: "Busy", message })

// Reasons that pass by themselves: backends that outlive a killed postmaster for a moment, another process that starts
// on the same folder, and a port taken between our look and the server's.
const passing = /pre-existing shared memory block|lock file ".*" already exists|could not create any TCP\/IP sockets/

const freePort = Effect.callback<number, EmbeddedPostgresError>((resume) => {
  const probe = createServer()
  probe.once("error", (error) => resume(busy(`there is no free port on 127.0.0.1 (${error.message})`)))
  probe.listen(0, "127.0.0.1", () => {
    const address = probe.address()
    probe.close(() => resume(Effect.succeed(typeof address === "object" ? address?.port ?? 0 : 0)))
  })
})

const urlOf = (folder: Folder, port: number, database: string) =>
  `postgres://postgres:${folder.password}@127.0.0.1:${port}/${encodeURIComponent(database)}`

/** Connects, so that an error here means a server that does not answer, and makes the database if it is missing. */
const ensureDatabase = (folder: Folder, port: number, database: string) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const found = yield* sql`SELECT 1 FROM pg_database WHERE datname = ${database}`
    if (found.length === 0) yield* sql`CREATE DATABASE ${sql(database)}`
  }).pipe(
    Effect.provide(PgClient.layer({
      url: Redacted.make(urlOf(folder, port, "postgres")),
      maxConnections: 1,
      connectTimeout: "5 seconds"
    })),
    Effect.mapError(({ reason }) =>
      reason._tag === "AuthenticationError"
        ? new EmbeddedPostgresError({
          reason: "DataFolder",
          message: `The embedded PostgreSQL does not accept the password beside ${folder.data}`
        })
        : busy(`The embedded PostgreSQL in ${folder.data} does not answer: ${reason.message}`)
    ),
    Effect.retry({ while: isBusy, times: 5, schedule: Schedule.spaced("50 millis") })
  )

const logLimit = 10_000_000

// The server appends to it as long as it runs; only a start finds nobody writing.
const openLog = Effect.fnUntraced(function*(path: string) {
  const { size } = yield* Effect.orElseSucceed(Effect.tryPromise(() => stat(path)), () => ({ size: 0 }))
  if (size < logLimit) return size
  yield* Effect.ignore(Effect.tryPromise(() => rename(path, `${path}.old`)))
  return 0
})

const startFailed = Effect.fnUntraced(function*(folder: Folder, how: string, logStart: number) {
  const log = yield* Effect.orElseSucceed(Effect.tryPromise(() => readFile(folder.log)), () => Buffer.alloc(0))
  const tail = log.subarray(logStart).toString().trimEnd().split("\n").slice(-15).join("\n")
  return yield* passing.test(tail)
    ? busy(`${folder.data} is in use: ${tail}`)
    : new EmbeddedPostgresError({
      reason: "StartFailed",
      message: `The embedded PostgreSQL did not start (${how}). The end of ${folder.log}:\n${tail}`
    })
})

const launch = Effect.fnUntraced(function*(folder: Folder, settings: EmbeddedPostgresOptions["settings"]) {
  const port = yield* freePort
  const logStart = yield* openLog(folder.log)
  const args = Object.entries({ port: String(port), ...defaults, ...settings })
  const server = yield* spawnServer({
    ...folder,
    postgres: folder.binaries.postgres,
    args: args.flatMap(([name, value]) => ["-c", `${name}=${value}`])
  })
  const ready = readLockFile(folder.data).pipe(
    Effect.repeat({
      until: (lock) => lock?.pid === server.pid && lock.status === "ready",
      schedule: Schedule.spaced("5 millis")
    })
  )
  const ended = Effect.flatMap(server.exited, (how) => startFailed(folder, how, logStart))
  yield* Effect.raceFirst(ready, ended).pipe(
    Effect.timeoutOrElse({
      duration: startTimeout,
      orElse: () => startFailed(folder, `not ready after ${startTimeout}`, logStart)
    })
  )
  yield* server.exited.pipe(
    Effect.flatMap((how) => Effect.logError(`The embedded PostgreSQL ended unexpectedly (${how}), see ${folder.log}`)),
    Effect.forkScoped
  )
  return { pid: server.pid, port, adopted: false }
})

const adoptOrLaunch = Effect.fnUntraced(function*(folder: Folder, options: EmbeddedPostgresOptions) {
  const database = options.database ?? "truss"
  const running = yield* findServer(folder.data)
  if (running !== undefined && !running.owned) {
    yield* stopServer(running.pid)
  } else if (running !== undefined && running.status !== "ready") {
    return yield* busy(`The PostgreSQL in ${folder.data} (pid ${running.pid}) is ${running.status ?? "starting"}`)
  }
  const server = running?.owned === true
    ? { pid: running.pid, port: running.port, adopted: true }
    : yield* launch(folder, options.settings)
  yield* ensureDatabase(folder, server.port, database)
  return {
    url: urlOf(folder, server.port, database),
    pid: server.pid,
    adopted: server.adopted,
    version: folder.binaries.version
  }
})

/**
 * A PostgreSQL 18 of our own: real, on a random port of 127.0.0.1, with a random password, for as long as the scope.
 *
 * It is stopped with the scope, and by a watchdog if this process is killed. One that another process runs on the same
 * folder is adopted and left running; it ends with the process that started it. One whose process is gone is stopped
 * and started anew. A first start takes about 1 s, later ones about 0.1 s.
 *
 * See `openFolder` for what root runs as, and where the files are.
 */
export class EmbeddedPostgres extends Context.Service<EmbeddedPostgres, {
  /** `postgres://postgres:<password>@127.0.0.1:<port>/<database>`; the user is a superuser. */
  readonly url: string
  /** The postmaster's process. */
  readonly pid: number
  /** True where another process started the server, and will stop it. */
  readonly adopted: boolean
  /** The server's version, `18.4`. */
  readonly version: string
}>()("truss/services/EmbeddedPostgres") {
  /** Starts or adopts the server. Needs a live clock. */
  static readonly start = Effect.fn("EmbeddedPostgres.start")(function*(options: EmbeddedPostgresOptions) {
    const folder = yield* openFolder(options)
    return yield* Effect.retry(adoptOrLaunch(folder, options), {
      while: isBusy,
      schedule: Schedule.spaced("20 millis").pipe(Schedule.upTo({ duration: startTimeout }))
    })
  })

  static readonly layer = (options: EmbeddedPostgresOptions) =>
    Layer.effect(EmbeddedPostgres, EmbeddedPostgres.start(options))
}
