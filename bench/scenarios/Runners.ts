import { Effect, Schedule } from "effect"
import { attempt, BenchError } from "../BenchError.ts"
import type { Options } from "../Options.ts"
import { createOrders } from "../Orders.ts"
import { fixed, integer, progress, range } from "../Report.ts"
import { inFlight, warmUpRows, wholeTransactions } from "../RowBurst.ts"
import type { Scenario } from "../Scenario.ts"
import { serviceBurst } from "../ServiceBurst.ts"
import { freePort, type Service, startService } from "../ServiceProcess.ts"
import { openStage, type Stage } from "../Stage.ts"
import { spread } from "../Statistics.ts"

/** Enough that a hash gives some to each of three runners. */
const partitions = 12

const startRunner = (stage: Stage) =>
  Effect.flatMap(freePort, (port) => startService(stage, { TRUSS_CLUSTER: `127.0.0.1:${port}` }))

/** Waits until so many of them have taken over the webhook, or a part of it. */
const shared = (service: Service, runners: number) =>
  attempt("GET /api/cluster", async () => {
    const response = await fetch(`${service.base}/api/cluster`)
    const cluster = await response.json() as { readonly runners: ReadonlyArray<{ readonly webhooks: number }> }
    if (cluster.runners.filter(({ webhooks }) => webhooks > 0).length < runners) throw new Error("not shared yet")
  }).pipe(
    Effect.retry(Schedule.spaced("50 millis").pipe(Schedule.upTo({ duration: "30 seconds" }))),
    // Shares move for a moment when runners join.
    Effect.andThen(Effect.sleep("2 seconds"))
  )

interface Setting {
  readonly name: string
  /** 0: one process without a cluster. */
  readonly runners: number
  readonly partitions: number
}

const settings: ReadonlyArray<Setting> = [
  { name: "one process without a cluster", runners: 0, partitions: 1 },
  ...[1, 2, 3].map((runners) => ({ name: `${runners} of a cluster`, runners, partitions: 1 })),
  ...[1, 2, 3].map((runners) => ({ name: `${runners}, ${partitions} partitions`, runners, partitions }))
]

const measure = Effect.fnUntraced(function*(options: Options, setting: Setting, rows: number, rounds: number) {
  const stage = yield* openStage(options)
  yield* createOrders(stage.sql, "orders")
  const services: Array<Service> = []
  if (setting.runners === 0) services.push(yield* startService(stage))
  for (let n = 0; n < setting.runners; n++) services.push(yield* startRunner(stage))
  const webhook = yield* services[0]!.createWebhook({
    table: "orders",
    url: stage.receiver.url,
    concurrency: inFlight,
    partitions: setting.partitions
  })
  if (setting.runners > 0) yield* shared(services[0]!, Math.min(2, setting.runners, setting.partitions))
  const processes = { pid: services.map(({ pid }) => pid) }
  yield* serviceBurst(stage, processes, webhook, warmUpRows)
  const measured: Array<{ readonly perSecond: number; readonly service: number; readonly postgres: number }> = []
  for (let round = 1; round <= rounds; round++) {
    const { perSecond, used } = yield* serviceBurst(stage, processes, webhook, rows)
    measured.push({ perSecond, service: used.sender / rows * 10_000, postgres: used.postgres / rows * 10_000 })
    yield* progress(`${setting.name}, round ${round} of ${rounds}: ${integer(perSecond)} deliveries/s`)
  }
  return { setting, machine: stage.machine, measured }
}, Effect.scoped)

const run = Effect.fnUntraced(function*(options: Options) {
  const rows = wholeTransactions(options.rows ?? 20_000)
  const rounds = options.rounds ?? 3
  const all = []
  for (const setting of settings) all.push(yield* measure(options, setting, rows, rounds))
  const base = spread(all[0]!.measured.map(({ perSecond }) => perSecond)).median
  return {
    machine: all[0]!.machine,
    tables: [{
      title: `runners: a burst of ${integer(rows)} rows for one webhook, ${rounds} rounds, median (min–max)`,
      header: ["", "deliveries/s", "× one process", "CPU s for 10,000", "of the service", "of PostgreSQL"],
      rows: all.map(({ measured, setting }) => {
        const of = (pick: (round: typeof measured[number]) => number) => spread(measured.map(pick))
        const rate = of(({ perSecond }) => perSecond)
        return [
          setting.name,
          range(rate),
          fixed(2)(rate.median / base),
          range(of(({ postgres, service }) => postgres + service), fixed(2)),
          range(of(({ service }) => service), fixed(2)),
          range(of(({ postgres }) => postgres), fixed(2))
        ]
      })
    }],
    notes: [
      `a PostgreSQL of its own for each; without partitions one runner delivers and the others wait; concurrency ${inFlight} of all parts together`,
      "all on one machine: more runners share its cores with PostgreSQL, the writers and the receiver"
    ],
    results: { rows, rounds, settings: all.map(({ measured, setting }) => ({ ...setting, measured })) }
  }
})

/** What a webhook that is shared by several runners does, and what sharing costs. */
export const Runners: Scenario = {
  name: "runners",
  about: "a burst for one webhook in a cluster of 1, 2 and 3 runners, and shared by them by partitions",
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
