import { Effect, Schedule, Schema } from "effect"
import { createServer } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { attempt, BenchError } from "./BenchError.ts"
import { spawnChild } from "./Child.ts"
import type { Stage } from "./Stage.ts"

const program = fileURLToPath(new URL("../src/main.ts", import.meta.url))

const Created = Schema.Struct({ id: Schema.String })

/** A webhook for the inserts of a table, signed. */
export interface WebhookOptions {
  readonly table: string
  readonly url: string
  readonly concurrency?: number
  readonly partitions?: number
  readonly active?: boolean
  /** Only rows whose status is one of these. */
  readonly statuses?: ReadonlyArray<string>
}

/** A port that nobody listens at just now. */
export const freePort = Effect.callback<number>((resume) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const address = probe.address()
    probe.close(() => resume(Effect.succeed(typeof address === "object" ? address?.port ?? 0 : 0)))
  })
})

// Settings of whoever runs the benchmark are not what is measured.
const cleanEnvironment = () =>
  Object.fromEntries(
    Object.entries(process.env).filter(([name]) =>
      !/^(TRUSS_|DATABASE_|LOG_|OTEL_|KRATOS_|HOST$|PORT$|NODE_OPTIONS$)/.test(name)
    )
  )

/** `truss-webhooks serve` on the stage's database; ends by SIGTERM with the scope. Ready when this returns. */
export const startService = Effect.fnUntraced(function*(stage: Stage, env: Readonly<Record<string, string>> = {}) {
  const port = yield* freePort
  const { profile } = stage.options
  const flags = profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`]
  const child = yield* spawnChild(process.execPath, [...flags, program, "serve"], {
    env: {
      ...cleanEnvironment(),
      DATABASE_URL: stage.url,
      HOST: "127.0.0.1",
      PORT: String(port),
      TRUSS_DATA_DIR: join(stage.folder, "service"),
      LOG_LEVEL: "warn",
      ...env
    },
    stdio: ["ignore", 2, 2]
  })
  const base = `http://127.0.0.1:${port}`
  yield* attempt("GET /health/ready", async () => {
    const response = await fetch(`${base}/health/ready`)
    const text = await response.text()
    if (response.status !== 200) throw new Error(text)
  }).pipe(
    Effect.retry({
      schedule: Schedule.spaced("20 millis").pipe(Schedule.upTo({ duration: "20 seconds" })),
      while: () => child.exitCode === null
    })
  )

  const call = (method: string, path: string, body?: object) =>
    attempt(`${method} ${path}`, async () => {
      const response = await fetch(`${base}${path}`, {
        method,
        headers: { "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) })
      })
      const text = await response.text()
      if (!response.ok) throw new Error(`${response.status} ${text}`)
      return text
    })

  const createWebhook = Effect.fnUntraced(
    function*({ active, concurrency, partitions, statuses, table, url }: WebhookOptions) {
      const filter = statuses === undefined ? {} : { filter: [{ column: "status", op: "in", value: statuses }] }
      const text = yield* call("POST", "/api/webhooks", {
        name: `bench ${table}`,
        table_name: table,
        events: ["INSERT"],
        url,
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        concurrency: concurrency ?? 64,
        partitions: partitions ?? 1,
        active: active ?? true,
        ...filter
      })
      return yield* Schema.decodeUnknownEffect(Schema.fromJsonString(Created))(text).pipe(
        Effect.map(({ id }) => id),
        Effect.mapError((error) => new BenchError({ message: error.message }))
      )
    }
  )

  const resumeWebhook = (id: string) => call("PATCH", `/api/webhooks/${id}`, { active: true })
  const deleteWebhook = (id: string) => call("DELETE", `/api/webhooks/${id}`)

  return { pid: child.pid ?? 0, base, createWebhook, resumeWebhook, deleteWebhook }
})

export type Service = Effect.Success<ReturnType<typeof startService>>
