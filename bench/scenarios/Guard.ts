import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import { openCeiling } from "../CeilingProcess.ts"
import { type Bound, bounds, holds } from "../guard/Bounds.ts"
import type { Options } from "../Options.ts"
import { createOrders } from "../Orders.ts"
import { fixed, integer, progress } from "../Report.ts"
import { inFlight, wholeTransactions, writeRows } from "../RowBurst.ts"
import type { Scenario } from "../Scenario.ts"
import { serviceBurst } from "../ServiceBurst.ts"
import { startService } from "../ServiceProcess.ts"
import { openDatabase, openStage } from "../Stage.ts"
import { usageOf, usedBetween } from "../Usage.ts"

const warmUpRows = 20_000

/** Until an HTTP client's code is compiled: the best round must not be the one in which it was not. */
const warmUpRequests = 40_000

type Ratios = Readonly<Record<keyof typeof bounds, number>>

const best = ({ better }: Bound, ratios: ReadonlyArray<number>) =>
  better === "higher" ? Math.max(...ratios) : Math.min(...ratios)

const run = Effect.fnUntraced(function*(options: Options) {
  const stage = yield* openStage(options)
  const rows = wholeTransactions(options.rows ?? 10_000)
  const rounds = options.rounds ?? 5
  yield* createOrders(stage.sql, "orders")
  const plain = yield* openDatabase(stage, "plain")
  yield* createOrders(plain.sql, "orders")
  const service = yield* startService(stage)
  const webhook = yield* service.createWebhook({ table: "orders", url: stage.receiver.url, concurrency: inFlight })
  const ceiling = yield* openCeiling
  const bodies = [`{"event":"INSERT","row":"${"x".repeat(260)}"}`]

  const sendAlone = (requests: number) =>
    ceiling.send({ client: "undici", sign: false, url: stage.receiver.url, requests, inFlight, bodies })
  const round = Effect.gen(function*() {
    const start = yield* usageOf(plain, ceiling.pid)
    const alone = yield* sendAlone(rows)
    const sent = usedBetween(start, yield* usageOf(plain, ceiling.pid))
    yield* plain.sql`CHECKPOINT`
    const before = yield* usageOf(plain)
    yield* writeRows(plain, rows)
    const written = usedBetween(before, yield* usageOf(plain))
    const { perSecond, used } = yield* serviceBurst(stage, service, webhook, rows)
    return {
      burst: perSecond / alone,
      cpu: (used.sender + used.postgres) / sent.sender,
      wal: used.walBytes / written.walBytes
    } satisfies Ratios
  })

  yield* progress("warming up")
  yield* sendAlone(warmUpRequests)
  yield* writeRows(plain, warmUpRows)
  yield* serviceBurst(stage, service, webhook, warmUpRows)
  const measured: Array<Ratios> = []
  const names = Object.keys(bounds) as ReadonlyArray<keyof Ratios>
  const judge = () =>
    names.map((name) => {
      const bound: Bound = bounds[name]
      const ratio = best(bound, measured.map((round) => round[name]))
      return { bound, ratio, holds: holds(bound, ratio) }
    })
  do {
    const result = yield* round
    measured.push(result)
    yield* progress(`round ${measured.length}: ${names.map((name) => `${name} ${fixed(2)(result[name])}`).join(", ")}`)
  } while (measured.length < rounds && judge().some(({ holds }) => !holds))
  const judged = judge()
  return {
    machine: stage.machine,
    tables: [
      {
        title: `guard: ${integer(rows)} rows, the best of ${measured.length} of at most ${rounds} rounds`,
        header: ["", "×", "bound", ""],
        rows: judged.map(({ bound, holds, ratio }) => [
          bound.name,
          fixed(2)(ratio),
          `${bound.better === "higher" ? "≥" : "≤"} ${bound.bound}`,
          holds ? "holds" : "FAILS"
        ])
      }
    ],
    notes: ["ratios within one round; there are more rounds only while a bound does not hold, since noise passes"],
    results: { rows, rounds: measured, judged: judged.map(({ bound, holds, ratio }) => ({ ...bound, ratio, holds })) },
    failures: judged.filter(({ holds }) => !holds).map(({ bound, ratio }) =>
      `${bound.name} is ${fixed(2)(ratio)}, and was to be ${
        bound.better === "higher" ? "at least" : "at most"
      } ${bound.bound}`
    )
  }
})

/** Fails when a ratio is far worse than it was: for CI. */
export const Guard: Scenario = {
  name: "guard",
  about: "a short check that no ratio became far worse, for CI; only when asked for",
  onlyByName: true,
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
