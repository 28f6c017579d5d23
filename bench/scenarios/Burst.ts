import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import { openCeiling } from "../CeilingProcess.ts"
import { cpuSeconds, peakMemory } from "../CpuTime.ts"
import type { Options } from "../Options.ts"
import { columns, createOrders, values } from "../Orders.ts"
import { fixed, integer, progress, range, type Table } from "../Report.ts"
import type { Scenario } from "../Scenario.ts"
import { type Service, startService } from "../ServiceProcess.ts"
import { now } from "../SharedClock.ts"
import { openStage, type Stage } from "../Stage.ts"
import { expensiveStatements, resetStatements } from "../Statements.ts"
import { spread } from "../Statistics.ts"

const writers = 2
const transactionRows = 100
const inFlight = 64
const warmUpRows = 5_000

/** One transaction of so many rows. */
const inserts = (single: boolean) =>
  single
    ? `DO $$ BEGIN FOR i IN 1..${transactionRows} LOOP
        INSERT INTO orders (${columns}) VALUES (${values("i")}); END LOOP; END $$`
    : `INSERT INTO orders (${columns}) SELECT ${values("i")} FROM generate_series(1, ${transactionRows}) i`

const lastEntry = ({ sql }: Stage) =>
  Effect.map(
    sql<{ seq: number }>`SELECT coalesce(pg_sequence_last_value('truss.attempt_seq'), 0)::float8 AS seq`,
    (rows) => rows[0]?.seq ?? 0
  )

const entriesSince = ({ sql }: Stage, webhook: string, seq: number) =>
  Effect.map(
    sql<{ entries: number; events: number; successes: number }>`
      SELECT count(*)::float8 AS entries, count(DISTINCT event_seq)::float8 AS events,
        count(*) FILTER (WHERE outcome = 'success')::float8 AS successes
      FROM truss.attempts WHERE webhook_id = ${webhook}::text::uuid AND seq > ${seq}::text::int8`,
    (rows) => rows[0] ?? { entries: 0, events: 0, successes: 0 }
  )

const cpuOf = Effect.fnUntraced(function*(stage: Stage, service: Service) {
  return { service: yield* cpuSeconds(service.pid), postgres: yield* cpuSeconds(stage.postgresPid) }
})

const burst = Effect.fnUntraced(function*(stage: Stage, service: Service, webhook: string, rows: number) {
  const { options, receiver, sql } = stage
  const statement = inserts(options.singleInserts)
  yield* receiver.reset({ expect: rows })
  yield* sql`CHECKPOINT`
  const before = yield* lastEntry(stage)
  const cpuBefore = yield* cpuOf(stage, service)

  let transactions = rows / transactionRows
  const write = Effect.gen(function*() {
    while (transactions-- > 0) yield* sql.unsafe(statement)
  })
  const start = now()
  const written = Effect.map(Effect.all(Array.from({ length: writers }, () => write), { concurrency: writers }), now)
  const [writtenAt, arrivedAt] = yield* Effect.all([written, receiver.reached], { concurrency: 2 }).pipe(
    Effect.timeoutOrElse({
      duration: "60 seconds",
      orElse: () =>
        Effect.flatMap(
          receiver.report,
          ({ requests }) => new BenchError({ message: `after 60 s ${requests} of ${rows} requests had come` })
        )
    })
  )
  // The numbers are drawn before the commit that shows the entries, and cost less to look at.
  while ((yield* lastEntry(stage)) < before + rows) yield* Effect.sleep(1)
  while ((yield* entriesSince(stage, webhook, before)).entries < rows) yield* Effect.sleep(1)
  const end = now()

  const cpuAfter = yield* cpuOf(stage, service)
  const { bodyBytes, connections, requests } = yield* receiver.report
  const log = yield* entriesSince(stage, webhook, before)
  if (log.entries !== rows || log.events !== rows || log.successes !== rows || requests !== rows) {
    return yield* new BenchError({
      message: `${rows} rows, but ${requests} requests and ${log.entries} entries of ${log.events} events, ` +
        `${log.successes} of them successes`
    })
  }
  const perTenThousand = (who: "service" | "postgres") => {
    const [from, to] = [cpuBefore[who], cpuAfter[who]]
    return from === undefined || to === undefined ? Number.NaN : (to - from) / rows * 10_000
  }
  return {
    deliveriesPerSecond: rows / ((end - start) / 1000),
    writtenMs: writtenAt - start,
    arrivedMs: arrivedAt - start,
    elapsedMs: end - start,
    bodyBytes: bodyBytes / rows,
    connections,
    serviceCpu: perTenThousand("service"),
    postgresCpu: perTenThousand("postgres")
  }
}, Effect.catchTag("SqlError", (error) => new BenchError({ message: error.message })))

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
  const rows = Math.ceil((options.rows ?? 50_000) / transactionRows) * transactionRows
  const rounds = options.rounds ?? 3

  yield* progress(`warming up with ${warmUpRows} rows`)
  yield* burst(stage, service, webhook, warmUpRows)
  const bodies = yield* sampleBodies(stage)
  const ceilings = options.noCeiling ? [] : alone
  const send = yield* openCeiling
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
