import { assert } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { chmod, mkdtemp, rm } from "node:fs/promises"
import { createServer, type Server, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { TestDatabase } from "./Database.ts"
import { testKey } from "./Encryption.ts"

/** The program as its users run it, and what tests do with it. */

/** The folder of the project. */
export const root = fileURLToPath(new URL("../..", import.meta.url))

export type Env = Readonly<Record<string, string>>

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The real program, with nothing of our environment but what it needs to run. */
export const start = (args: ReadonlyArray<string>, env: Env = {}) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { HOME, PATH } = process.env
      const child = spawn(process.execPath, ["src/main.ts", ...args], {
        cwd: root,
        env: { HOME, PATH, TRUSS_ENCRYPTION_KEY: testKey, ...env },
        stdio: ["ignore", "pipe", "pipe"]
      })
      const output = { stdout: "", stderr: "" }
      child.stdout.setEncoding("utf8").on("data", (text: string) => output.stdout += text)
      child.stderr.setEncoding("utf8").on("data", (text: string) => output.stderr += text)
      const ended = new Promise<Ended>((resolve) => child.once("close", (code) => resolve({ code, ...output })))
      return { child, output, ended: Effect.promise(() => ended) }
    }),
    ({ child, ended }) =>
      Effect.suspend(() => {
        if (child.exitCode !== null || child.signalCode !== null) return Effect.void
        child.kill("SIGKILL")
        return ended
      })
  )

export const run = (args: ReadonlyArray<string>, env?: Env) => Effect.flatMap(start(args, env), ({ ended }) => ended)

export const until = <A>(what: string, look: () => A | undefined | Promise<A | undefined>) =>
  Effect.promise(async () => look()).pipe(
    Effect.repeat({ until: (found) => found !== undefined, schedule: Schedule.spaced("20 millis") }),
    Effect.map((found) => found as A),
    Effect.timeoutOrElse({ duration: "60 seconds", orElse: () => Effect.die(new Error(`never came: ${what}`)) })
  )

export const stop = Effect.fnUntraced(function*(
  running: { readonly child: ChildProcess; readonly ended: Effect.Effect<Ended> },
  signal: NodeJS.Signals
) {
  running.child.kill(signal)
  return yield* Effect.timeout(running.ended, "12 seconds")
})

/** A service that is ready, and its address. */
export const serve = Effect.fnUntraced(function*(args: ReadonlyArray<string>, env: Env) {
  const running = yield* start(["serve", "--port", "0", ...args], env)
  const url = yield* until("the line that says it is ready", () => {
    if (running.child.exitCode !== null) throw new Error(running.output.stderr)
    return / is ready on (http:\/\/[^"\s]+)/.exec(running.output.stdout)?.[1]
  })
  return { ...running, url }
})

export const status = (url: string, headers: Record<string, string> = {}) =>
  Effect.promise(() => fetch(url, { headers }).then((response) => response.status))

export const temporary = Effect.acquireRelease(
  Effect.promise(async () => {
    const folder = await mkdtemp(join(tmpdir(), "truss-cli-"))
    await chmod(folder, 0o711)
    return folder
  }),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

export const listen = (port: number, onConnection?: (socket: Socket) => void) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly server: Server; readonly port: number }>((resume) => {
      const server = createServer(onConnection)
      const done = () => {
        const address = server.address()
        resume(Effect.succeed({ server, port: typeof address === "object" && address !== null ? address.port : port }))
      }
      // In use already is as good.
      server.once("error", done)
      server.listen(port, "127.0.0.1", done)
    }),
    ({ server }) => Effect.sync(() => server.close())
  )

/** Fails with one line on standard error, and says nothing else. */
export const assertOneLine = ({ code, stderr, stdout }: Ended, expected: number, pattern: RegExp) => {
  assert.match(stderr, pattern)
  assert.strictEqual(stderr.trimEnd().split("\n").length, 1, stderr)
  assert.strictEqual(stdout, "")
  assert.strictEqual(code, expected)
}

export const withDatabase = <A, E, R>(use: (url: string) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(TestDatabase, ({ url }) => use(url)).pipe(Effect.provide(Layer.fresh(TestDatabase.layerUrl)))
