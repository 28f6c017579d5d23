import { Effect, type Scope } from "effect"
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { freePort, waitFor } from "./ServiceProcess.ts"

const program = "/usr/sbin/pgbouncer"

/** Whether there is a PgBouncer, as Debian's package installs it. */
export const hasPgBouncer = existsSync(program)

const answers = (port: number) =>
  Effect.callback<boolean>((resume) => {
    const socket = connect(port, "127.0.0.1")
    const say = (open: boolean) => {
      socket.destroy()
      resume(Effect.succeed(open))
    }
    socket.once("connect", () => say(true))
    socket.once("error", () => say(false))
  })

/** A transaction pooler in front of the database: its url. `more` are lines of pgbouncer.ini. */
export const pgBouncer = (
  databaseUrl: string,
  more: ReadonlyArray<string> = []
): Effect.Effect<string, never, Scope.Scope> =>
  Effect.gen(function*() {
    const target = new URL(databaseUrl)
    const port = yield* freePort
    const folder = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const path = await mkdtemp(join(tmpdir(), "truss-pgbouncer-"))
        await chmod(path, 0o711)
        return path
      }),
      (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
    )
    const ini = join(folder, "pgbouncer.ini")
    const password = decodeURIComponent(target.password)
    const server = `host=${target.hostname} port=${target.port} user=${target.username} password=${password}`
    yield* Effect.promise(() =>
      writeFile(
        ini,
        [
          "[databases]",
          `* = ${server}`,
          "[pgbouncer]",
          "listen_addr = 127.0.0.1",
          `listen_port = ${port}`,
          "unix_socket_dir =",
          "auth_type = any",
          "pool_mode = transaction",
          ...more
        ].join("\n")
      )
    )
    const identity = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
    yield* Effect.acquireRelease(
      Effect.sync(() => spawn(program, ["-q", ini], { ...identity, cwd: "/", stdio: "ignore" })),
      (child) =>
        Effect.callback<void>((resume) => {
          if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
          child.once("exit", () => resume(Effect.void))
          child.kill("SIGKILL")
        })
    )
    yield* waitFor("the pooler", answers(port))
    target.port = String(port)
    return target.href
  })
