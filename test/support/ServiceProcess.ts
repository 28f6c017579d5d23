import { Deferred, Effect, Schedule, type Scope } from "effect"
import { spawn } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { testKey } from "./Encryption.ts"

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url))

/** How a process ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Answer {
  readonly status: number
  readonly body: unknown
}

/** A webhook, as far as the tests look at it. */
export interface CreatedWebhook {
  readonly id: string
}

/** A `truss-webhooks serve` of its own, killed with the scope. */
export interface ServiceProcess {
  readonly pid: number
  readonly url: string
  /** Everything it wrote so far. */
  readonly output: () => string
  readonly ended: Effect.Effect<Ended>
  /** Sends a signal to this process, if it still lives. */
  readonly signal: (name: NodeJS.Signals) => Effect.Effect<void>
  /** `kill -9`, and waits until it is gone. */
  readonly kill: Effect.Effect<Ended>
  /** SIGTERM, and waits until it is gone. */
  readonly stop: Effect.Effect<Ended>
  /** One request; status 0 when nobody answers. */
  readonly ask: (method: string, path: string, body?: unknown) => Effect.Effect<Answer>
  /** Waits until `/health/ready` says 200, in this mode if one is given. */
  readonly ready: (mode?: "notify" | "poll" | "standby") => Effect.Effect<void>
  /** Waits until `/health/ready` answers with this status. */
  readonly health: (status: number) => Effect.Effect<void>
  readonly createWebhook: (input: object) => Effect.Effect<CreatedWebhook>
  /** Resident memory in MB; 0 where that cannot be read. */
  readonly memory: Effect.Effect<number>
}

/** Waits for a fact. Dies with what `describe` says when it has not come true in time. */
export const waitFor = <E, R>(
  what: string,
  fact: Effect.Effect<boolean, E, R>,
  options: { readonly within?: number; readonly describe?: () => string } = {}
): Effect.Effect<void, E, R> =>
  fact.pipe(
    Effect.repeat({ until: (holds) => holds, schedule: Schedule.spaced("10 millis") }),
    Effect.asVoid,
    Effect.timeoutOrElse({
      duration: options.within ?? 30_000,
      orElse: () =>
        Effect.die(new Error(`waited ${options.within ?? 30_000} ms for ${what}\n${options.describe?.() ?? ""}`))
    })
  )

/** A free port, below the range that the kernel takes ports of outgoing connections from. */
export const freePort: Effect.Effect<number> = Effect.callback<number>((resume) => {
  const attempt = () => {
    const probe = createServer()
    probe.once("error", attempt)
    probe.listen(10_000 + Math.floor(Math.random() * 20_000), "127.0.0.1", () => {
      const address = probe.address()
      probe.close(() => resume(Effect.succeed(typeof address === "object" ? address?.port ?? 0 : 0)))
    })
  }
  attempt()
})

const request = (url: string, method: string, body: unknown) =>
  Effect.promise(async (): Promise<Answer> => {
    try {
      const response = await fetch(url, {
        method,
        signal: AbortSignal.timeout(10_000),
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } })
      })
      const text = await response.text()
      return { status: response.status, body: text === "" ? undefined : JSON.parse(text) }
    } catch {
      return { status: 0, body: undefined }
    }
  })

/** Starts the service as its users do: a process, told by its environment. Does not wait until it is ready. */
export const startService = Effect.fnUntraced(function*(
  databaseUrl: string,
  env: Readonly<Record<string, string>> = {}
): Effect.fn.Return<ServiceProcess, never, Scope.Scope> {
  const dataDir = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "truss-e2e-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )
  const port = yield* freePort
  const ended = yield* Deferred.make<Ended>()
  const chunks: Array<string> = []
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [main, "serve"], {
        stdio: ["ignore", "pipe", "pipe"],
        env: {
          PATH: process.env["PATH"],
          HOME: process.env["HOME"],
          DATABASE_URL: databaseUrl,
          PORT: String(port),
          TRUSS_DATA_DIR: dataDir,
          TRUSS_ENCRYPTION_KEY: testKey,
          ...env
        }
      })
    ),
    (child) =>
      Effect.suspend(() => {
        child.kill("SIGKILL")
        return Deferred.await(ended)
      })
  )
  child.stdout.on("data", (chunk) => chunks.push(String(chunk)))
  child.stderr.on("data", (chunk) => chunks.push(String(chunk)))
  child.once("error", (error) => chunks.push(error.message))
  child.once("close", (code, signal) => Deferred.doneUnsafe(ended, Effect.succeed({ code, signal })))

  const pid = child.pid ?? 0
  const url = `http://127.0.0.1:${port}`
  const output = () => chunks.join("")
  const tail = () => output().split("\n").slice(-40).join("\n")
  const signal = (name: NodeJS.Signals) => Effect.sync(() => void child.kill(name))
  const ask: ServiceProcess["ask"] = (method, path, body) => request(url + path, method, body)
  const answersReady = (status: number, mode?: string) =>
    Effect.map(
      ask("GET", "/health/ready"),
      (answer) =>
        answer.status === status &&
        (mode === undefined || (answer.body as { mode?: string } | undefined)?.mode === mode)
    )

  return {
    pid,
    url,
    output,
    ended: Deferred.await(ended),
    signal,
    kill: Effect.andThen(signal("SIGKILL"), Deferred.await(ended)),
    stop: Effect.andThen(signal("SIGTERM"), Deferred.await(ended)),
    ask,
    ready: (mode) =>
      waitFor(`the service to be ready${mode === undefined ? "" : ` (${mode})`}`, answersReady(200, mode), {
        describe: tail
      }),
    health: (status) => waitFor(`/health/ready to answer ${status}`, answersReady(status), { describe: tail }),
    createWebhook: (input) =>
      Effect.flatMap(ask("POST", "/api/webhooks", input), ({ body, status }) =>
        status === 201
          ? Effect.succeed(body as CreatedWebhook)
          : Effect.die(new Error(`POST /api/webhooks answered ${status}: ${JSON.stringify(body)}\n${tail()}`))),
    memory: Effect.promise(async () => {
      try {
        return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024
      } catch {
        return 0
      }
    })
  }
})
