import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import { openCeiling } from "../CeilingProcess.ts"
import { peakMemory } from "../CpuTime.ts"
import type { Options } from "../Options.ts"
import { createOrders } from "../Orders.ts"
import { fixed, integer, progress, range, type Table } from "../Report.ts"
import { inFlight, transactionRows, warmUpRows, wholeTransactions, writers } from "../RowBurst.ts"
import type { Scenario } from "../Scenario.ts"
import { serviceBurst } from "../ServiceBurst.ts"
import { type Service, startService } from "../ServiceProcess.ts"
import { openStage, type Stage } from "../Stage.ts"
import { expensiveStatements, resetStatements } from "../Statements.ts"
import { spread } from "../Statistics.ts"

const burst = Effect.fnUntraced(function*(stage: Stage, service: Service, webhook: string, rows: number) {
  const { arrivedMs, elapsedMs, perSecond, received, used, writtenMs } = yield* serviceBurst(
    stage,
    service,
    webhook,
    rows
  )
  return {
    deliveriesPerSecond: perSecond,
    writtenMs,
    arrivedMs,
    elapsedMs,
    bodyBytes: received.bodyBytes / rows,
    connections: received.connections,
    serviceCpu: used.sender / rows * 10_000,
    postgresCpu: used.postgres / rows * 10_000
  }
})

const alone = [
  { name: "undici", client: "undici", sign: false },
  { name: "undici, signed", client: "undici", sign: true },
  { name: "node:http", client: "node:http", sign: false },
  { name: "node:http, signed", client: "node:http", sign: true },
  { name: "what the receiver takes", client: "raw", sign: true }
] as const

/** The very bodies that were delivered. */
const sampleBodies = ({ sql }: Stage) =>
  Effect.map(
    sql<{ body: string }>`SELECT body FROM truss.events ORDER BY seq LIMIT 1000`,
    (rows) => rows.map(({ body }) => body)
  ).pipe(Effect.mapError((error) => new BenchError({ message: error.message })))

const run = Effect.fnUntraced(function*(options: Options) {
  const stage = yield* openStage(options)
  const { receiver, sql } = stage
  yield* createOrders(sql, "orders")
  const service = yield* startService(stage)
  const webhook = yield* service.createWebhook({ table: "orders", url: receiver.url, concurrency: inFlight })
  const rows = wholeTransactions(options.rows ?? 50_000)
  const rounds = options.rounds ?? 3

  yield* progress(`warming up with ${warmUpRows} rows`)
  yield* burst(stage, service, webhook, warmUpRows)
  const bodies = yield* sampleBodies(stage)
  const ceilings = options.noCeiling ? [] : alone
  const { send } = yield* openCeiling
  const measure = (order: typeof alone[number], requests: number) =>
    send({ client: order.client, sign: order.sign, url: receiver.url, requests, inFlight, bodies })
  for (const order of ceilings) yield* measure(order, warmUpRows)

  const measured: Array<Effect.Success<ReturnType<typeof burst>>> = []
  const sent = new Map<string, Array<number>>(ceilings.map(({ name }) => [name, []]))
  yield* resetStatements(stage)
  for (let round = 1; round <= rounds; round++) {
    const result = yield* burst(stage, service, webhook, rows)
    measured.push(result)
    yield* progress(`round ${round} of ${rounds}: ${integer(result.deliveriesPerSecond)} deliveries/s`)
    for (const order of ceilings) {
      const rate = yield* measure(order, rows)
      sent.get(order.name)?.push(rate)
      yield* progress(`  ${order.name}: ${integer(rate)} requests/s`)
    }
  }
  const memory = yield* peakMemory(service.pid)
  const of = (key: keyof typeof measured[number]) => spread(measured.map((round) => round[key]))
  const ratios = ceilings.map(({ client, name }) => ({
    name,
    client,
    rate: spread(sent.get(name) ?? []),
    ratio: spread((sent.get(name) ?? []).map((rate, round) => measured[round]!.deliveriesPerSecond / rate))
  }))
  const cpu = spread(measured.map((round) => round.serviceCpu + round.postgresCpu))

  const tables: Array<Table> = [
    {
      title: `burst: ${integer(rows)} rows, ${rounds} rounds, median (min–max)`,
      header: ["", "per second", "burst is"],
      rows: [
        ["durable deliveries", range(of("deliveriesPerSecond")), ""],
        ...ratios.map(({ client, name, rate, ratio }) =>
          client === "raw"
            ? [name, range(rate), ""]
            : [`${name} alone`, range(rate), `× ${range(ratio, fixed(2))}`]
        )
      ]
    },
    {
      title: "and what it took",
      header: ["", "median (min–max)"],
      rows: [
        ["all rows committed after, ms", range(of("writtenMs"))],
        ["last request arrived after, ms", range(of("arrivedMs"))],
        ["last log entry committed after, ms", range(of("elapsedMs"))],
        ["CPU s for 10,000 deliveries", range(cpu, fixed(2))],
        ["  of the service", range(of("serviceCpu"), fixed(2))],
        ["  of PostgreSQL, the writers' part included", range(of("postgresCpu"), fixed(2))],
        ["connections opened", range(of("connections"))],
        ["bytes of a body", range(of("bodyBytes"))],
        ["most memory of the service, MB", memory === undefined ? "unknown" : integer(memory)]
      ]
    },
    ...(yield* expensiveStatements(stage))
  ]
  return {
    machine: stage.machine,
    tables,
    notes: [
      `${writers} writers, ${transactionRows} rows in each transaction by ` +
      `${
        options.singleInserts ? "as many INSERT statements" : "one INSERT"
      }; one signed webhook, concurrency ${inFlight}`,
      "from the first INSERT to the commit of the last log entry; every row is in the log once, as a success",
      `alone: one process, ${inFlight} in flight, same receiver and bodies; signed as the service signs, else not at all`
    ],
    results: { rows, rounds: measured, alone: Object.fromEntries(sent), ratios, cpuPerTenThousand: cpu, memory }
  }
})

/** How many durable deliveries a second one service makes. */
export const Burst: Scenario = {
  name: "burst",
  about: "a burst of changes: trigger, signed POST, log committed; beside it what HTTP clients do alone",
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
