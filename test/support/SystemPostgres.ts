import { Effect, Schedule, type Scope } from "effect"
import { execFile } from "node:child_process"
import { existsSync, readdirSync } from "node:fs"
import { chmod, chown, mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { readLockFile, run, spawnServer } from "../../src/services/EmbeddedPostgresProcess.ts"
import { freePort } from "./ServiceProcess.ts"

/** The folder of programs of a PostgreSQL that this system has, newest first; Debian's packages put them here. */
export const systemBinaries = (accept: (major: number) => boolean): string | undefined => {
  const parent = "/usr/lib/postgresql"
  const [newest] = (existsSync(parent) ? readdirSync(parent) : [])
    .map(Number)
    .filter((major) => accept(major) && existsSync(join(parent, String(major), "bin", "initdb")))
    .toSorted((a, b) => b - a)
  return newest === undefined ? undefined : join(parent, String(newest), "bin")
}

/** A new server of these programs, without passwords, for as long as the scope. */
export const systemPostgres = (
  binaries: string
): Effect.Effect<{ readonly url: string; readonly dump: Effect.Effect<string> }, never, Scope.Scope> =>
  Effect.gen(function*() {
    const identity = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : undefined
    const home = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const path = await mkdtemp(join(tmpdir(), "truss-system-pg-"))
        await chmod(path, 0o711)
        await mkdir(join(path, "data"), { mode: 0o700 })
        if (identity !== undefined) await chown(join(path, "data"), identity.uid, identity.gid)
        return path
      }),
      (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
    )
    const data = join(home, "data")
    const made = yield* run(identity, join(binaries, "initdb"), ["-D", data, "-U", "postgres", "-A", "trust", "-N"])
    if (!made.ok) return yield* Effect.die(new Error(made.output))
    const port = yield* freePort
    const server = yield* Effect.orDie(spawnServer({
      postgres: join(binaries, "postgres"),
      data,
      args: ["port=" + port, "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
        .flatMap((setting) => ["-c", setting]),
      log: join(home, "log"),
      identity
    }))
    yield* readLockFile(data).pipe(
      Effect.repeat({
        until: (lock) => lock?.pid === server.pid && lock.status === "ready",
        schedule: Schedule.spaced("5 millis")
      }),
      Effect.timeout("20 seconds"),
      Effect.orDie
    )
    const url = `postgres://postgres@127.0.0.1:${port}/postgres`
    const dump = Effect.promise(() =>
      new Promise<string>((resolve, reject) =>
        execFile(
          join(binaries, "pg_dump"),
          ["-s", url],
          (error, stdout) => error === null ? resolve(stdout) : reject(error)
        )
      )
    )
    return { url, dump }
  })
