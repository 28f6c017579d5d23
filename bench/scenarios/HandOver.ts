import { Effect, HashRing, Schedule } from "effect"
import { RunnerAddress } from "effect/cluster"
import { randomOf } from "../../test/support/Random.ts"
import { BenchError } from "../BenchError.ts"
import type { Options } from "../Options.ts"
import { createOrders } from "../Orders.ts"
import { fixed, integer, progress } from "../Report.ts"
import type { Scenario } from "../Scenario.ts"
import { startService } from "../ServiceProcess.ts"
import { now } from "../SharedClock.ts"
import { openStage, type Stage } from "../Stage.ts"
import { percentile } from "../Statistics.ts"

const perTable = 10
const trials = 200
const seed = 1

/** As in src/listener: parts of the cluster's work, when a silent runner is removed, and how often others look. */
const shards = 256
const silentMs = 5_000
const beatMs = 1_000
const refreshMs = 250

const takenOver = ({ sql }: Stage) =>
  Effect.map(
    sql<{ count: number }>`SELECT count(*)::int AS count FROM truss.cursors WHERE epoch >= 2`,
    ([row]) => row!.count
  )

/** How long a process takes for each webhook that it takes over, all of them at once. */
const measure = Effect.fnUntraced(function*(options: Options, webhooks: number) {
  const stage = yield* openStage(options)
  yield* Effect.scoped(Effect.gen(function*() {
    const service = yield* startService(stage)
    for (let n = 0; n < webhooks / perTable; n++) {
      const table = `t${n}`
      yield* createOrders(stage.sql, table)
      const create = service.createWebhook({ table, url: stage.receiver.url })
      yield* Effect.all(Array.from({ length: perTable }, () => create), { discard: true })
    }
    yield* stage.sql`SELECT 1`.pipe(Effect.delay("2 seconds"))
  }))
  yield* stage.sql`UPDATE truss.cursors SET epoch = 1`
  const from = now()
  yield* startService(stage)
  const ready = now()
  yield* Effect.repeat(takenOver(stage), {
    until: (count) => count >= webhooks,
    schedule: Schedule.spaced("5 millis")
  }).pipe(Effect.timeoutOrElse({
    duration: "60 seconds",
    orElse: () => Effect.fail(new BenchError({ message: "not all webhooks were taken over in 60 s" }))
  }))
  return { machine: stage.machine, startMs: ready - from, perWebhookMs: (now() - ready) / webhooks }
}, Effect.scoped)

/** The engine's own assignment of shards, by a ring of hashes. */
const assign = (runners: number): ReadonlyArray<number> => {
  const addresses = Array.from({ length: runners }, (_, n) => RunnerAddress.make(`10.0.${n >> 8}.${n & 255}`, 7788))
  const ring = HashRing.make<RunnerAddress.RunnerAddress>()
  HashRing.addMany(ring, addresses)
  return (HashRing.getShards(ring, shards) ?? []).map((owner) => addresses.findIndex(({ host }) => host === owner.host))
}

const simulate = (runners: number, webhooks: number, perWebhookMs: number) => {
  const random = randomOf(seed)
  const owners = assign(runners)
  const fullest: Array<number> = []
  const busiest: Array<number> = []
  const killed: Array<number> = []
  for (let trial = 0; trial < trials; trial++) {
    const count = Array.from({ length: runners }, () => 0)
    const load = Array.from({ length: runners }, () => 0)
    let whole = 0
    for (let n = 1; n <= webhooks; n++) {
      const owner = owners[Math.floor(random() * shards)]!
      count[owner]!++
      load[owner]! += 1 / n
      whole += 1 / n
    }
    fullest.push(Math.max(...count) / (webhooks / runners))
    busiest.push(Math.max(...load) / whole)
    const victim = Math.floor(random() * runners)
    const unnoticed = silentMs - random() * beatMs + random() * beatMs + random() * refreshMs
    killed.push(unnoticed + count[victim]! * perWebhookMs)
  }
  const sorted = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)
  const of = (values: ReadonlyArray<number>, share: number) => percentile(sorted(values), share)
  return {
    runners,
    shardsOfFullest: Math.max(...Array.from({ length: runners }, (_, n) => owners.filter((one) => one === n).length)),
    fullest: of(fullest, 0.5),
    busiest: of(busiest, 0.5),
    killed: of(killed, 0.5),
    killedMost: of(killed, 1)
  }
}

const run = Effect.fnUntraced(function*(options: Options) {
  const webhooks = Math.ceil((options.webhooks ?? 1000) / perTable) * perTable
  yield* progress(`${webhooks} webhooks, taken over by one process`)
  const { machine, perWebhookMs, startMs } = yield* measure(options, webhooks)
  const sizes = [3, 10, 30, 100].map((runners) => simulate(runners, webhooks, perWebhookMs))
  return {
    machine,
    tables: [{
      title: `hand-over, simulated: ${integer(webhooks)} webhooks over ${shards} parts of the work, ${trials} trials`,
      header: ["runners", "parts at most", "webhooks of the fullest", "load of the busiest", "killed, s", "at most, s"],
      rows: sizes.map((size) => [
        integer(size.runners),
        integer(size.shardsOfFullest),
        `${fixed(2)(size.fullest)} × mean`,
        `${fixed(0)(100 * size.busiest)} % of all`,
        fixed(2)(size.killed / 1000),
        fixed(2)(size.killedMost / 1000)
      ])
    }],
    notes: [
      `measured here: ${fixed(2)(perWebhookMs)} ms for each webhook that one process takes over, ` +
      `${integer(webhooks)} at once; ${integer(startMs)} ms until it was ready`,
      "simulated: the engine's own assignment; one in n of the load is the nth webhook's (Zipf); whoever takes over is no " +
      "faster than one process here, for the database is one; nothing is in flight, no message is lost",
      `a silent runner is removed after ${silentMs / 1000} s`
    ],
    results: { webhooks, perWebhookMs, startMs, sizes }
  }
})

/** How evenly webhooks fall to many runners, and how long it takes to replace one of them. */
export const HandOver: Scenario = {
  name: "handover",
  about: "takes webhooks over, measured; and what that says of 3 to 100 runners, simulated",
  onlyByName: true,
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
