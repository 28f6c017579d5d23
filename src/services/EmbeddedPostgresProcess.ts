import { Deferred, Effect, Option } from "effect"
import { execFile, spawn } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { readFile, readlink, rm } from "node:fs/promises"
import { join } from "node:path"
import { EmbeddedPostgresError } from "./EmbeddedPostgresError.ts"

/** The user that PostgreSQL runs as, where it is not the one we run as. */
export interface Identity {
  readonly uid: number
  readonly gid: number
}

// Nothing of the caller's leaks in: PGDATA, PGOPTIONS or LC_* would change the server.
const env = process.platform === "win32" ? process.env : { LC_ALL: "C", TZ: "UTC" }

/** Runs a program to its end. `ok` is false, too, when it cannot be started; `output` then says why. */
export const run = (identity: Identity | undefined, file: string, args: ReadonlyArray<string>) =>
  Effect.callback<{ readonly ok: boolean; readonly output: string }>((resume) => {
    execFile(file, args, { ...identity, cwd: "/", env }, (error, stdout, stderr) => {
      const output = `${stdout}${stderr}`.trim()
      resume(Effect.succeed({ ok: error === null, output: output === "" ? error?.message ?? "" : output }))
    })
  }).pipe(Effect.uninterruptible)

/** The content of a text file, or undefined where it cannot be read. */
export const readText = (path: string) =>
  Effect.tryPromise(() => readFile(path, "utf8")).pipe(Effect.orElseSucceed(() => undefined))

/** A process's command line and start (a pid comes again, the pair does not); undefined if it is gone or a zombie. */
const inspect = Effect.fnUntraced(function*(pid: number) {
  if (process.platform === "win32") return undefined
  if (process.platform !== "linux") {
    const ps = yield* run(undefined, "/bin/ps", ["-o", "lstart=,command=", "-p", String(pid)])
    return ps.ok ? { started: ps.output.slice(0, 24).replaceAll(/\s+/g, "-"), command: ps.output.slice(24) } : undefined
  }
  const stat = yield* readText(`/proc/${pid}/stat`)
  const command = yield* readText(`/proc/${pid}/cmdline`)
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ")
  if (command === undefined || fields === undefined || fields[0] === "Z") return undefined
  return { started: fields[19] ?? "", command: command.replaceAll("\0", " ") }
})

// It stands in the postmaster's own command line, so there is no moment without it and no file to go stale.
const ownerSetting = Effect.map(inspect(process.pid), (self) => `truss.owner=${process.pid}:${self?.started}`)

const hasOwner = Effect.fnUntraced(function*(command: string) {
  const [, pid, started] = / truss\.owner=(\d+):(\S+)/.exec(command) ?? []
  if (pid === undefined) return true
  return (yield* inspect(Number(pid)))?.started === started
})

const belongsTo = Effect.fnUntraced(function*(data: string, pid: number, command: string) {
  // Root without CAP_SYS_PTRACE (a container) may not look; PostgreSQL's directory is the better proof where it may.
  const directory = process.platform === "linux"
    ? yield* Effect.tryPromise(() => readlink(`/proc/${pid}/cwd`)).pipe(Effect.orElseSucceed(() => undefined))
    : undefined
  return directory === undefined ? command.includes(` -D ${data} `) : directory === data
})

/** What `postmaster.pid` says: `status` is `ready` once connections are accepted, then `stopping`. */
export const readLockFile = Effect.fnUntraced(function*(data: string) {
  const lines = (yield* readText(`${data}/postmaster.pid`))?.split("\n")
  return lines === undefined
    ? undefined
    : { pid: Number(lines[0]), port: Number(lines[3]), status: lines[7]?.trim() }
})

/**
 * The server that runs on a data folder, with `owned` telling whether the process that started it still lives.
 * Removes a lock file whose pid now is some other program's, which PostgreSQL would take for a running server
 * (usual in containers, where pids repeat).
 */
export const findServer = Effect.fnUntraced(function*(data: string) {
  const lock = yield* readLockFile(data)
  if (lock === undefined || !(lock.pid > 0)) return undefined
  const found = yield* inspect(lock.pid)
  if (found === undefined) return undefined
  if (yield* belongsTo(data, lock.pid, found.command)) {
    return { ...lock, owned: yield* hasOwner(found.command) }
  }
  yield* Effect.ignore(Effect.tryPromise(() => rm(`${data}/postmaster.pid`)))
  return undefined
})

// Fast shutdown, then immediate shutdown; the last is for a postmaster that handles no signals.
const stop = Effect.fnUntraced(function*(send: (name: NodeJS.Signals) => void, gone: Effect.Effect<unknown>) {
  for (const name of ["SIGINT", "SIGQUIT", "SIGKILL"] as const) {
    yield* Effect.ignore(Effect.try(() => send(name)))
    if (Option.isSome(yield* Effect.timeoutOption(gone, "10 seconds"))) return
  }
})

/** Stops a server that is not our child: fast shutdown, after 10 s immediate shutdown. */
export const stopServer = (pid: number) =>
  stop(
    (name) => process.kill(pid, name),
    inspect(pid).pipe(Effect.delay("10 millis"), Effect.repeat({ until: (found) => found === undefined }))
  )

/** `args` follow `-D data`; `log` gets all output. */
export interface SpawnOptions {
  readonly postgres: string
  readonly data: string
  readonly args: ReadonlyArray<string>
  readonly log: string
  readonly identity: Identity | undefined
}

// Both scripts read from a pipe of ours, which ends however we end. The server waits until the watchdog knows its pid, so
// that there is no moment at which our death would leave it running.
const serverScript = `read -r _ && exec "$@" </dev/null`
// A server that has only just started is not yet in the lock file; one that is not there any more is none of ours.
const watchdogScript = `read -r pid || exit
read -r _
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  kill -0 "$pid" || exit
  read -r running < "$1" && [ "$running" = "$pid" ] && exec kill -INT "$pid"
  sleep 0.1
done`

const spawnWatched = (options: SpawnOptions, owner: string, exited: Deferred.Deferred<string>) => {
  // Detached: Ctrl-C goes to a terminal's whole foreground group, and we need the server until our work has ended.
  const common = { ...options.identity, cwd: "/", env, detached: true, windowsHide: true }
  const args = ["-D", options.data, ...options.args, "-c", owner]
  const [file, prefix] = process.platform === "win32"
    ? [options.postgres, []]
    : ["/bin/sh", ["-c", serverScript, "sh", options.postgres]]
  const log = openSync(options.log, "a", 0o600)
  const server = spawn(file, [...prefix, ...args], { ...common, stdio: ["pipe", log, log] })
  closeSync(log)
  const end = (how: string) => Deferred.doneUnsafe(exited, Effect.succeed(how))
  server.once("error", (error) => end(error.message))
  server.once("exit", (code, name) => end(name === null ? `exit code ${code}` : `signal ${name}`))
  server.stdin?.once("error", () => {})
  server.unref()
  if (process.platform === "win32") return server

  const lockFile = join(options.data, "postmaster.pid")
  const watchdog = spawn("/bin/sh", ["-c", watchdogScript, "truss-watchdog", lockFile], {
    ...common,
    stdio: ["pipe", "ignore", "ignore"]
  })
  watchdog.once("error", () => {})
  watchdog.stdin.once("error", () => {})
  watchdog.unref()
  server.once("exit", () => watchdog.kill("SIGKILL"))
  watchdog.stdin.write(`${server.pid}\n`, () => server.stdin?.end("\n"))
  return server
}

/**
 * Starts a server and stops it with the scope (fast shutdown, after 10 s immediate shutdown). A watchdog stops it when
 * this process is killed. `exited` completes with how the server ended.
 */
export const spawnServer = Effect.fnUntraced(function*(options: SpawnOptions) {
  const owner = yield* ownerSetting
  const exited = yield* Deferred.make<string>()
  const server = yield* Effect.acquireRelease(
    Effect.try({
      try: () => spawnWatched(options, owner, exited),
      catch: (cause) =>
        new EmbeddedPostgresError({ reason: "StartFailed", message: `The embedded PostgreSQL did not start: ${cause}` })
    }),
    (server) => {
      server.ref()
      return stop((name) => server.kill(name), Deferred.await(exited))
    }
  )
  return { pid: server.pid ?? 0, exited: Deferred.await(exited) }
})
