/** Many dead webhooks: what do the live ones notice of them, and what do they cost while their circuits are open? */
import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import { cpuSeconds, peakMemory } from "../CpuTime.ts"
import { type Latency, latencyOf } from "../Latency.ts"
import { createOrders } from "../Orders.ts"
import { writeAndReceive } from "../PacedRows.ts"
import { fixed, integer, progress, range, type Table } from "../Report.ts"
import { type Service, startService } from "../ServiceProcess.ts"
import type { Stage } from "../Stage.ts"
import { spread } from "../Statistics.ts"
import { openHangingEndpoint, refusingUrl } from "./DeadEndpoints.ts"

const pairs = 100
const rate = 2 * pairs
const warmUpSeconds = 6
const beforeSeconds = 30

/** Percentiles are the medians of such slices', so that a burst of other work on the machine spoils one, not all. */
const sliceRows = 10 * pairs

/** Until ten attempts of each hanging webhook have timed out, though all of them share the process's permits. */
const openingSeconds = 60

/** Every other row is for a live webhook. */
const isLive = (n: number) => n % 2 === 0
const tableOf = (n: number) => `${isLive(n) ? "live" : "dead"}_${(n >> 1) % pairs}`

type Death = "refused" | "hanging"

const createWebhooks = Effect.fnUntraced(function*({ receiver, sql }: Stage, service: Service) {
  const hangingUrl = yield* openHangingEndpoint
  const dead = new Map<string, Death>()
  for (let n = 0; n < 2 * pairs; n++) {
    const table = tableOf(n)
    yield* createOrders(sql, table)
    if (isLive(n)) yield* service.createWebhook({ table, url: receiver.url, concurrency: 16 })
    else {
      const death = (n >> 1) % 2 === 0 ? "refused" : "hanging"
      const url = death === "refused" ? refusingUrl : hangingUrl
      dead.set(yield* service.createWebhook({ table, url, concurrency: 16, active: false }), death)
    }
  }
  return dead
})

interface Circuit {
  readonly webhook: string
  readonly attempts: number
  /** In the last minute. */
  readonly lately: number
}

/** The attempts of the last so many seconds, by webhook whose circuit is open. */
const openCircuits = ({ sql }: Stage, seconds: number) =>
  sql<Circuit>`
    SELECT c.webhook_id::text AS webhook, count(a)::float8 AS attempts,
      count(a) FILTER (WHERE a.created_at > now() - interval '1 minute')::float8 AS lately
    FROM truss.cursors c LEFT JOIN truss.attempts a
      ON a.webhook_id = c.webhook_id AND a.created_at > now() - make_interval(secs => ${seconds}::float8)
    WHERE c.opened_at IS NOT NULL GROUP BY 1`

const phases = {
  before: `before, ${pairs} paused`,
  opening: "with the dead, their circuits opening",
  open: "with the dead, their circuits open"
} as const
type Phase = keyof typeof phases

export const deadWebhooks = Effect.fnUntraced(function*(stage: Stage, openSeconds: number) {
  const service = yield* startService(stage)
  yield* progress(`dead webhooks: creating ${2 * pairs} webhooks`)
  const dead = yield* createWebhooks(stage, service)

  let nextId = 1
  const run = Effect.fnUntraced(function*(seconds: number) {
    const rows = seconds * rate
    const firstId = nextId
    nextId += rows
    const used = Effect.all({ service: cpuSeconds(service.pid), postgres: cpuSeconds(stage.postgresPid) })
    const before = yield* used
    const start = performance.now()
    const changes = yield* writeAndReceive(stage, { firstId, rows, rate, table: tableOf }, isLive)
    const elapsed = (performance.now() - start) / 1000
    const after = yield* used
    const percent = (who: "service" | "postgres") =>
      ((after[who] ?? Number.NaN) - (before[who] ?? Number.NaN)) / elapsed * 100
    const slices = Array.from(
      { length: Math.ceil(changes.length / sliceRows) },
      (_, n) => latencyOf(changes.slice(n * sliceRows, (n + 1) * sliceRows))
    )
    const of = (share: keyof Latency) => spread(slices.map((slice) => slice[share]))
    return {
      seconds,
      latency: { p50: of("p50"), p99: of("p99"), max: of("max") },
      serviceCpu: percent("service"),
      postgresCpu: percent("postgres")
    }
  })
  const measure = (phase: Phase, seconds: number) =>
    run(seconds).pipe(Effect.tap(({ latency, postgresCpu, serviceCpu }) =>
      progress(
        `${phases[phase]}: p50 ${fixed(2)(latency.p50.median)} ms, p99 ${fixed(2)(latency.p99.median)} ms, CPU ${
          integer(serviceCpu)
        } % and ${integer(postgresCpu)} % of a core`
      )
    ))

  yield* progress(`warming up for ${warmUpSeconds} s`)
  yield* run(warmUpSeconds)
  const before = yield* measure("before", beforeSeconds)
  yield* Effect.forEach(dead.keys(), service.resumeWebhook)
  const opening = yield* measure("opening", openingSeconds)
  const opened = yield* openCircuits(stage, openingSeconds)
  if (opened.length !== dead.size) {
    return yield* new BenchError({
      message: `${opened.length} of ${dead.size} circuits were open after ${openingSeconds} s`
    })
  }
  const open = yield* measure("open", openSeconds)
  const circuits = yield* openCircuits(stage, openSeconds)
  const memory = yield* peakMemory(service.pid)

  const measured = { before, opening, open }
  const costs = (["refused", "hanging"] as const).map((death) => {
    const mine = circuits.filter(({ webhook }) => dead.get(webhook) === death)
    const mean = (key: "attempts" | "lately") => mine.reduce((sum, circuit) => sum + circuit[key], 0) / mine.length
    return { death, webhooks: mine.length, perMinute: mean("attempts") / openSeconds * 60, lastMinute: mean("lately") }
  })
  const tables: ReadonlyArray<Table> = [
    {
      title: `isolation: ${
        2 * pairs
      } webhooks, a row a second each; the ${pairs} live ones', ms, median (min–max) of slices of 10 s`,
      header: ["", "seconds", "p50", "p99", "max", "p99 ×", "CPU service, %", "CPU PostgreSQL, %"],
      rows: (["before", "opening", "open"] as const).map((phase) => {
        const { latency, postgresCpu, seconds, serviceCpu } = measured[phase]
        return [
          phases[phase],
          integer(seconds),
          ...[latency.p50, latency.p99].map((share) => range(share, fixed(2))),
          fixed(2)(latency.max.max),
          phase === "before" ? "" : fixed(2)(latency.p99.median / before.latency.p99.median),
          fixed(1)(serviceCpu),
          fixed(1)(postgresCpu)
        ]
      })
    },
    {
      title: "what the dead ones cost: requests for each of them, by the log, while its circuit was open",
      header: ["", "webhooks", `a minute, over ${openSeconds} s`, "in the last minute"],
      rows: costs.map(({ death, lastMinute, perMinute, webhooks }) => [
        death === "refused" ? "connection refused" : "hanging",
        integer(webhooks),
        fixed(2)(perMinute),
        fixed(2)(lastMinute)
      ])
    }
  ]
  return { tables, results: { ...measured, costs, memory } }
}, Effect.scoped)
