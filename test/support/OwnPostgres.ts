import { PgClient } from "@effect/sql-pg"
import { Effect, Exit, Redacted, Schedule, Scope } from "effect"
import { chmod, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openFolder } from "../../src/services/EmbeddedPostgresFolder.ts"
import { readLockFile, spawnServer } from "../../src/services/EmbeddedPostgresProcess.ts"
import { freePort } from "./ServiceProcess.ts"

/** A PostgreSQL of a test's own, that comes back at the same address. */
export interface OwnPostgres {
  readonly url: string
  readonly start: Effect.Effect<void>
  /** Fast shutdown: sessions are ended, everything is flushed. */
  readonly stop: Effect.Effect<void>
  /** `kill -9` of the postmaster: nothing is flushed. */
  readonly crash: Effect.Effect<void>
}

/** Makes the data folder; `start` starts the server. It ends with the scope. */
export const ownPostgres: Effect.Effect<OwnPostgres, never, Scope.Scope> = Effect.gen(function*() {
  const dataDir = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const path = await mkdtemp(join(tmpdir(), "truss-e2e-pg-"))
      // The server runs as nobody where the tests run as root.
      await chmod(path, 0o711)
      return path
    }),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )
  const folder = yield* Effect.orDie(openFolder({ dataDir }))
  const port = yield* freePort
  const url = `postgres://postgres:${folder.password}@127.0.0.1:${port}/postgres`
  const settings = {
    port,
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    shared_buffers: "64MB",
    jit: "off"
  }
  let running: { readonly pid: number; readonly scope: Scope.Closeable } | undefined

  const launch = Effect.gen(function*() {
    const scope = yield* Scope.make()
    const server = yield* spawnServer({
      ...folder,
      postgres: folder.binaries.postgres,
      args: Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
    }).pipe(Scope.provide(scope), Effect.orDie)
    const ready = readLockFile(folder.data).pipe(
      Effect.repeat({
        until: (lock) => lock?.pid === server.pid && lock.status === "ready",
        schedule: Schedule.spaced("5 millis")
      }),
      Effect.as(true)
    )
    const up = yield* Effect.raceFirst(ready, Effect.as(server.exited, false))
    if (up) running = { pid: server.pid, scope }
    else yield* Scope.close(scope, Exit.void)
    return up
  })

  // Right after a crash the old server's backends may still hold its memory.
  const start = launch.pipe(
    Effect.repeat({ until: (up) => up, schedule: Schedule.spaced("50 millis") }),
    Effect.timeout("20 seconds"),
    Effect.orDie,
    Effect.asVoid
  )
  const end = (kill: boolean) =>
    Effect.suspend(() => {
      const server = running
      running = undefined
      if (server === undefined) return Effect.void
      if (kill) process.kill(server.pid, "SIGKILL")
      return Scope.close(server.scope, Exit.void)
    })
  yield* Effect.addFinalizer(() => end(false))
  return { url, start, stop: end(false), crash: end(true) }
})

/** Sets something for every session of the database from now on. */
export const alterSystem = (url: string, name: string, value: string) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    yield* sql.unsafe(`ALTER SYSTEM SET ${name} = '${value}'`)
    yield* sql`SELECT pg_reload_conf()`
  }).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })), Effect.orDie)
