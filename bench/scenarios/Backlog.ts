import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import { currentMemory, peakMemory } from "../CpuTime.ts"
import type { Options } from "../Options.ts"
import { createOrders } from "../Orders.ts"
import { fixed, integer, progress } from "../Report.ts"
import { inFlight, warmUpRows, wholeTransactions, writeRows } from "../RowBurst.ts"
import type { Scenario } from "../Scenario.ts"
import { checkLog, isLogged, lastEntry, serviceBurst } from "../ServiceBurst.ts"
import { startService } from "../ServiceProcess.ts"
import { now } from "../SharedClock.ts"
import { openStage, type Stage } from "../Stage.ts"
import { expensiveStatements, resetStatements } from "../Statements.ts"

const sliceCount = 10
const burstRounds = 3

interface Sample {
  readonly at: number
  readonly requests: number
  readonly memory: number
}

/** A part of the time that draining took. */
interface Slice {
  readonly untilSeconds: number
  readonly requests: number
  readonly perSecond: number
  /** The most that was seen, in MB. */
  readonly memory: number
}

const sample = Effect.fnUntraced(function*({ receiver }: Stage, pid: number) {
  const { requests } = yield* receiver.report
  return { at: now(), requests, memory: (yield* currentMemory(pid)) ?? Number.NaN } satisfies Sample
})

/** Samples five times a second until all have come; a service that sends nothing for a minute ends it. */
const watch = Effect.fnUntraced(function*(stage: Stage, pid: number, rows: number) {
  const samples = [yield* sample(stage, pid)]
  let movedAt = now()
  while (samples.at(-1)!.requests < rows) {
    yield* Effect.sleep(200)
    const latest = yield* sample(stage, pid)
    if (latest.requests > samples.at(-1)!.requests) movedAt = latest.at
    samples.push(latest)
    if (latest.at - movedAt > 60_000) {
      return yield* new BenchError({ message: `${latest.requests} of ${rows} requests came, then none for a minute` })
    }
    if (samples.length % 50 === 0) {
      yield* progress(`${integer(latest.requests)} of ${integer(rows)}, ${integer(latest.memory)} MB`)
    }
  }
  return samples
})

const slicesOf = (samples: ReadonlyArray<Sample>, rows: number): ReadonlyArray<Slice> => {
  const [first] = samples
  const slices: Array<Slice> = []
  let from = first!
  let memory = 0
  for (const one of samples) {
    memory = Math.max(memory, one.memory)
    if (one === first || one.requests < rows * (slices.length + 1) / sliceCount) continue
    const requests = one.requests - from.requests
    const perSecond = requests / ((one.at - from.at) / 1000)
    slices.push({ untilSeconds: (one.at - first!.at) / 1000, requests, perSecond, memory })
    from = one
    memory = 0
  }
  return slices
}

const keep = Effect.fnUntraced(function*(stage: Stage, rows: number) {
  const webhook = yield* Effect.scoped(Effect.gen(function*() {
    const service = yield* startService(stage)
    const created = yield* service.createWebhook({ table: "orders", url: stage.receiver.url, concurrency: inFlight })
    yield* serviceBurst(stage, service, created, warmUpRows)
    return created
  }))
  yield* progress(`keeping ${integer(rows)} events while the service is stopped`)
  yield* writeRows(stage, rows)
  return webhook
})

const run = Effect.fnUntraced(function*(options: Options) {
  const stage = yield* openStage(options)
  const rows = wholeTransactions(options.rows ?? 1_000_000)
  const burstRows = wholeTransactions(Math.min(50_000, rows))
  yield* createOrders(stage.sql, "orders")
  const webhook = yield* keep(stage, rows)
  const [size] = yield* stage.sql<{ mb: number }>`
    SELECT sum(pg_total_relation_size(inhrelid)::float8) / 1024 ^ 2 AS mb FROM pg_inherits
    WHERE inhparent = 'truss.events'::regclass`

  const before = yield* lastEntry(stage)
  yield* stage.receiver.reset({})
  yield* resetStatements(stage)
  const start = now()
  const service = yield* startService(stage)
  const readyAt = now()
  const samples = yield* watch(stage, service.pid, rows)
  yield* isLogged(stage, webhook, before, rows).pipe(Effect.delay(20), Effect.repeat({ until: (done) => done }))
  const drainedAt = now()
  const { requests } = yield* stage.receiver.report
  yield* checkLog(stage, webhook, before, rows, requests)
  const memory = yield* peakMemory(service.pid)
  const first = samples[0]!
  const drainRate = (rows - first.requests) / ((drainedAt - first.at) / 1000)

  yield* progress("bursts of the same service, to compare")
  const bursts: Array<number> = []
  for (let n = 0; n < burstRounds; n++) {
    bursts.push((yield* serviceBurst(stage, service, webhook, burstRows)).perSecond)
  }
  const burstRate = bursts.toSorted((a, b) => a - b)[burstRounds >> 1]!
  const slices = slicesOf(samples, rows)
  return {
    machine: stage.machine,
    tables: [
      {
        title: `backlog: ${integer(rows)} events, drained by one webhook of concurrency ${inFlight}, in slices`,
        header: ["until, s", "delivered", "a second", "most memory, MB"],
        rows: slices.map(({ memory, perSecond, requests, untilSeconds }) => [
          fixed(1)(untilSeconds),
          integer(requests),
          integer(perSecond),
          integer(memory)
        ])
      },
      {
        title: "and in all",
        header: ["", "measured"],
        rows: [
          ["deliveries/s, from ready to the last log entry", integer(drainRate)],
          [`  against bursts of ${integer(burstRows)} rows right after it`, `× ${fixed(2)(drainRate / burstRate)}`],
          ["most memory of the service until then, MB", memory === undefined ? "unknown" : integer(memory)],
          ["ready after, ms", integer(readyAt - start)],
          ["size of the events on disk before, MB", integer(size?.mb ?? Number.NaN)]
        ]
      },
      ...(yield* expensiveStatements(stage))
    ],
    notes: [
      "the service was stopped by SIGTERM while the rows were written; every row is in the log once, as a success",
      "memory and requests are looked at five times a second"
    ],
    results: {
      rows,
      drainedMs: drainedAt - start,
      drainRate,
      burstRate,
      bursts,
      memory,
      readyMs: readyAt - start,
      slices,
      samples
    }
  }
})

/** What becomes of a million events that nobody was there to deliver. */
export const Backlog: Scenario = {
  name: "backlog",
  about: "events kept while the service is stopped, then drained: rate and memory over time",
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
