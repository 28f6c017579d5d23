import { PgClient } from "@effect/sql-pg"
import { Effect, Exit, Redacted, Schedule, Scope } from "effect"
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises"
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
  /** Immediate shutdown: sessions are dropped, nothing is flushed. */
  readonly abandon: Effect.Effect<void>
  /** `kill -9` of one session's process, if there is one: the server starts over by itself. */
  readonly crashSession: Effect.Effect<void>
  /** SIGSTOP of the server and its sessions, until `thaw`; new connections wait. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
}

/** The processes that a process has started; none where that cannot be read. */
const childrenOf = async (pid: number): Promise<ReadonlyArray<number>> => {
  try {
    const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")
    return text.trim().split(" ").filter((child) => child !== "").map(Number)
  } catch {
    return []
  }
}

/** Whether PostgreSQL's title of the process names a client: `postgres: user database 127.0.0.1(5000) idle`. */
const isSession = async (pid: number): Promise<boolean> => {
  try {
    return / \d+\.\d+\.\d+\.\d+\(\d+\) /.test(await readFile(`/proc/${pid}/cmdline`, "utf8"))
  } catch {
    return false
  }
}

const send = (pid: number, signal: NodeJS.Signals) => {
  try {
    process.kill(pid, signal)
  } catch {
    // It has just ended.
  }
}

/** Makes the data folder; `start` starts the server, with more settings if given. It ends with the scope. */
export const ownPostgresWith = (more: Readonly<Record<string, string>>): Effect.Effect<
  OwnPostgres,
  never,
  Scope.Scope
> =>
  Effect.gen(function*() {
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
      jit: "off",
      ...more
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
    const signalAll = (signal: NodeJS.Signals) =>
      Effect.promise(async () => {
        if (running === undefined) return
        // The postmaster first, so that it starts no child meanwhile.
        send(running.pid, signal)
        for (const pid of await childrenOf(running.pid)) send(pid, signal)
      })
    const end = (signal?: NodeJS.Signals) =>
      Effect.suspend(() => {
        const server = running
        running = undefined
        if (server === undefined) return Effect.void
        if (signal !== undefined) send(server.pid, signal)
        return Scope.close(server.scope, Exit.void)
      })
    const crashSession = Effect.promise(async () => {
      if (running === undefined) return
      for (const pid of await childrenOf(running.pid)) if (await isSession(pid)) return send(pid, "SIGKILL")
    })
    yield* Effect.addFinalizer(() => Effect.andThen(signalAll("SIGCONT"), end()))
    return {
      url,
      start,
      stop: end(),
      crash: end("SIGKILL"),
      abandon: end("SIGQUIT"),
      crashSession,
      freeze: signalAll("SIGSTOP"),
      thaw: signalAll("SIGCONT")
    }
  })

export const ownPostgres = ownPostgresWith({})

/** Sets something for every session of the database from now on. */
export const alterSystem = (url: string, name: string, value: string) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    yield* sql.unsafe(`ALTER SYSTEM SET ${name} = '${value}'`)
    yield* sql`SELECT pg_reload_conf()`
  }).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })), Effect.orDie)
