import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import { startContender } from "../contenders/ContenderProcess.ts"
import { contenders } from "../contenders/Contenders.ts"
import { peakMemory } from "../CpuTime.ts"
import { latencyOf, latencyText } from "../Latency.ts"
import type { Options } from "../Options.ts"
import { createOrders } from "../Orders.ts"
import { pacedIds, writeAndReceive } from "../PacedRows.ts"
import { fixed, integer, progress, range } from "../Report.ts"
import { inFlight, runBurst, transactionRows, warmUpRows, wholeTransactions, writers } from "../RowBurst.ts"
import type { Scenario } from "../Scenario.ts"
import { checkLog, isLogged, lastEntry } from "../ServiceBurst.ts"
import { startService } from "../ServiceProcess.ts"
import { openDatabase, openStage, type Stage } from "../Stage.ts"
import { expensiveStatements, resetStatements } from "../Statements.ts"
import { spread } from "../Statistics.ts"

const warmUpSeconds = 2

/** Somebody who delivers the inserts of `orders` in a database of its own. */
interface Sender {
  readonly name: string
  readonly durable: boolean
  readonly stage: Stage
  readonly pid: number
  readonly tidy: ReadonlyArray<string>
  /** For a burst that is about to start: asks whether all of its rows are stored as delivered. */
  readonly settling: (rows: number) => Effect.Effect<Effect.Effect<boolean, BenchError>, BenchError>
  /** Whether what is stored says that each of the burst's rows was delivered, once. */
  readonly check: (rows: number) => Effect.Effect<void, BenchError>
}

const asBenchError = Effect.mapError((error: { readonly message: string }) =>
  new BenchError({ message: error.message })
)

const ours = Effect.fnUntraced(function*(base: Stage) {
  const stage = yield* openDatabase(base, "truss")
  yield* createOrders(stage.sql, "orders")
  const service = yield* startService(stage)
  const webhook = yield* service.createWebhook({ table: "orders", url: stage.receiver.url, concurrency: inFlight })
  let before = 0
  return {
    name: "truss-webhooks",
    durable: true,
    stage,
    pid: service.pid,
    tidy: [],
    settling: (rows) =>
      lastEntry(stage).pipe(
        Effect.map((seq) => {
          before = seq
          return asBenchError(isLogged(stage, webhook, seq, rows))
        }),
        asBenchError
      ),
    check: (rows) => asBenchError(checkLog(stage, webhook, before, rows, rows))
  } satisfies Sender
})

const theirs = Effect.fnUntraced(function*(base: Stage, index: number) {
  const contender = contenders[index]!
  const stage = yield* openDatabase(base, `contender_${index}`)
  yield* createOrders(stage.sql, "orders")
  const { pid, settled } = yield* startContender(stage, contender)
  return {
    name: contender.name,
    durable: contender.durable,
    stage,
    pid,
    tidy: contender.tidy ?? [],
    settling: () => Effect.succeed(asBenchError(settled)),
    check: () => Effect.void
  } satisfies Sender
})

const burst = Effect.fnUntraced(function*({ check, name, pid, settling, stage }: Sender, rows: number) {
  const settled = yield* settling(rows)
  const result = yield* runBurst(stage, { rows, pid, settled, arrivals: true })
  const { arrivals, bodyBytes, connections } = result.received
  const ids = new Set(arrivals.map(([id]) => id)).size
  if (arrivals.length !== rows || ids !== rows) {
    return yield* new BenchError({
      message: `${name}: ${rows} rows, but ${arrivals.length} requests for ${ids} of them`
    })
  }
  yield* check(rows)
  return {
    perSecond: result.perSecond,
    writtenMs: result.writtenMs,
    senderCpu: result.used.sender / rows * 10_000,
    postgresCpu: result.used.postgres / rows * 10_000,
    walBytes: result.used.walBytes / rows,
    bodyBytes: bodyBytes / rows,
    connections
  }
})

type Measured = Effect.Success<ReturnType<typeof burst>> & Effect.Success<ReturnType<typeof steady>>

const steady = Effect.fnUntraced(function*(sender: Sender, firstId: number, seconds: number, rate: number) {
  const paced = { firstId, rows: rate * seconds, rate, table: () => "orders" }
  const changes = yield* writeAndReceive(sender.stage, paced)
  const fromReturn = latencyOf(changes)
  const fromSent = latencyOf(changes.map(({ arrivedAt, sentAt }) => ({ arrivedAt, returnedAt: sentAt })))
  return { p50: fromReturn.p50, p99: fromReturn.p99, sentP50: fromSent.p50, sentP99: fromSent.p99 }
})

/** So that nobody's turn pays for the rows that another one left dead. */
const tidyUp = Effect.fnUntraced(function*({ stage: { sql }, tidy }: Sender) {
  for (const statement of [...tidy, "VACUUM (ANALYZE)"]) yield* sql.unsafe(statement)
})

const run = Effect.fnUntraced(function*(options: Options) {
  const base = yield* openStage(options)
  const rows = wholeTransactions(options.rows ?? 50_000)
  const rounds = options.rounds ?? 3
  const seconds = options.seconds ?? 15
  const rate = options.rate ?? 200
  const senders: ReadonlyArray<Sender> = [
    yield* ours(base),
    ...(yield* Effect.forEach(contenders, (_, index) => theirs(base, index)))
  ]

  for (const sender of senders) {
    yield* progress(`warming up ${sender.name}`)
    yield* burst(sender, warmUpRows)
    yield* steady(sender, pacedIds, warmUpSeconds, rate)
    yield* tidyUp(sender)
  }
  const measured = new Map<Sender, Array<Measured>>(senders.map((sender) => [sender, []]))
  yield* resetStatements(base)
  for (let round = 0; round < rounds; round++) {
    // Another one goes first in each round.
    const turns = senders.map((_, n) => senders[(n + round) % senders.length]!)
    for (const sender of turns) {
      const burstResult = yield* burst(sender, rows)
      const firstId = pacedIds + rate * (warmUpSeconds + round * seconds)
      const latency = yield* steady(sender, firstId, seconds, rate)
      yield* tidyUp(sender)
      measured.get(sender)!.push({ ...burstResult, ...latency })
      yield* progress(
        `round ${round + 1} of ${rounds}: ${sender.name}: ${integer(burstResult.perSecond)}/s, ` +
          latencyText({ ...latency, max: 0 })
      )
    }
  }

  const results = yield* Effect.forEach(senders, (sender) =>
    Effect.map(peakMemory(sender.pid), (memory) => {
      const all = measured.get(sender)!
      const of = (key: keyof Measured) => spread(all.map((one) => one[key]))
      return { name: sender.name, durable: sender.durable, memory, rounds: all, of }
    }))
  const [first, ...others] = results as [typeof results[number], ...typeof results]
  const ratiosTo = (ratio: (round: number) => number) => spread(Array.from({ length: rounds }, (_, n) => ratio(n)))
  const bestDurable = (round: number) =>
    Math.max(...others.filter(({ durable }) => durable).map((other) => other.rounds[round]!.perSecond))
  const rateRatio = ratiosTo((round) => first.rounds[round]!.perSecond / bestDurable(round))
  const latencyRatio = (share: "sentP50" | "sentP99") =>
    ratiosTo((round) => first.rounds[round]![share] / Math.min(...others.map((other) => other.rounds[round]![share])))
  const per = fixed(2)
  return {
    machine: base.machine,
    tables: [
      {
        title: `contenders: ${integer(rows)} rows, ${rounds} rounds, median (min–max)`,
        header: ["burst", "deliveries/s", "CPU s for 10,000", "  sender", "  PostgreSQL", "WAL B each", "most MB"],
        rows: results.map(({ memory, name, of, rounds: all }) => [
          name,
          range(of("perSecond")),
          range(spread(all.map(({ postgresCpu, senderCpu }) => senderCpu + postgresCpu)), per),
          range(of("senderCpu"), per),
          range(of("postgresCpu"), per),
          range(of("walBytes")),
          memory === undefined ? "unknown" : integer(memory)
        ])
      },
      {
        title: `contenders: ${rate} changes/s for ${seconds} s, ${rounds} rounds, ms, median (min–max)`,
        header: ["steady", "from COMMIT's return, p50", "p99", "from when it was sent, p50", "p99"],
        rows: results.map(({ name, of }) => [
          name,
          ...(["p50", "p99", "sentP50", "sentP99"] as const).map((share) => range(of(share), per))
        ])
      },
      {
        title: "truss-webhooks against them, by round",
        header: ["", "×"],
        rows: [
          ["deliveries/s against the best durable one", range(rateRatio, per)],
          ["p50 from when COMMIT was sent, against the best one's", range(latencyRatio("sentP50"), per)],
          ["p99", range(latencyRatio("sentP99"), per)]
        ]
      },
      ...(yield* expensiveStatements(base))
    ],
    notes: [
      `${writers} writers, ${transactionRows} rows in each transaction; each sender has a database of its own in the ` +
      `same server, ${inFlight} in flight, signed bodies; in turns`,
      "a burst ends when the sender has stored that all is delivered, where it stores that; every row arrived once",
      "from COMMIT's return a time may be below zero, so ratios are from when it was sent, the writer's wait included",
      "CPU of PostgreSQL is with the writers' part; WAL is of the row, its capture and its delivery together"
    ],
    results: {
      rows,
      seconds,
      rate,
      senders: results.map(({ durable, memory, name, rounds: all }) => ({ name, durable, memory, rounds: all })),
      ratios: { rate: rateRatio, p50: latencyRatio("sentP50"), p99: latencyRatio("sentP99") }
    }
  }
})

/** The same rows, bodies and receiver, delivered by us and by what one would build instead. */
export const Contenders: Scenario = {
  name: "contenders",
  about: "burst and steady, by the service and in turns with it by graphile-worker, pg-boss and a bare LISTEN",
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
