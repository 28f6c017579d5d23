/** One webhook whose endpoint hangs: what does another one, on another table, notice of it? */
import { Effect } from "effect"
import { BenchError } from "../BenchError.ts"
import { type Latency, latencyOf, latencyText } from "../Latency.ts"
import { createOrders } from "../Orders.ts"
import { write, writeAndReceive } from "../PacedRows.ts"
import { fixed, progress, range, type Table } from "../Report.ts"
import { startService } from "../ServiceProcess.ts"
import type { Stage } from "../Stage.ts"
import { spread } from "../Statistics.ts"
import { openHangingEndpoint } from "./DeadEndpoints.ts"

const concurrency = 16
const warmUpSeconds = 3

/** Longer than an attempt's timeout of 15 s: the lanes are full, then all of them time out, then the circuit opens. */
const seconds = 20

const healthy = "orders"
const neighbour = "neighbours"

interface Round {
  readonly alone: Latency
  /** Rows come into the neighbour's table, too, but its webhook is paused. */
  readonly paused: Latency
  readonly hanging: Latency
}

const timeouts = ({ sql }: Stage, webhook: string) =>
  Effect.map(
    sql<{ n: number }>`SELECT count(*)::float8 AS n FROM truss.attempts
      WHERE webhook_id = ${webhook}::text::uuid AND error = 'timeout'`,
    (rows) => rows[0]?.n ?? 0
  )

export const hangingNeighbour = Effect.fnUntraced(function*(stage: Stage, rounds: number, rate: number) {
  yield* createOrders(stage.sql, healthy)
  yield* createOrders(stage.sql, neighbour)
  const hangingUrl = yield* openHangingEndpoint
  const service = yield* startService(stage)
  yield* service.createWebhook({ table: healthy, url: stage.receiver.url, concurrency })

  let nextId = 1
  const next = (table: string, seconds: number) => {
    const paced = { firstId: nextId, rows: rate * seconds, rate, table: () => table }
    nextId += paced.rows
    return paced
  }
  const alone = Effect.suspend(() => writeAndReceive(stage, next(healthy, seconds)))
  const beside = Effect.suspend(() =>
    Effect.all([writeAndReceive(stage, next(healthy, seconds)), write(stage, next(neighbour, seconds))], {
      concurrency: 2
    })
  ).pipe(Effect.map(([changes]) => changes))

  const round = Effect.gen(function*() {
    const first = latencyOf(yield* alone)
    const webhook = yield* service.createWebhook({ table: neighbour, url: hangingUrl, concurrency, active: false })
    const paused = latencyOf(yield* beside)
    yield* service.resumeWebhook(webhook)
    const hanging = latencyOf(yield* beside)
    const timedOut = yield* timeouts(stage, webhook)
    if (timedOut < concurrency) {
      return yield* new BenchError({ message: `the neighbour did not hang: ${timedOut} attempts timed out` })
    }
    yield* service.deleteWebhook(webhook)
    return { alone: first, paused, hanging } satisfies Round
  })

  yield* progress(`a hanging neighbour: warming up for ${warmUpSeconds} s`)
  yield* writeAndReceive(stage, next(healthy, warmUpSeconds))
  yield* write(stage, next(neighbour, warmUpSeconds))
  const measured: Array<Round> = []
  for (let n = 1; n <= rounds; n++) {
    const result = yield* round
    measured.push(result)
    yield* progress(
      `round ${n} of ${rounds}: alone ${latencyText(result.alone)}; rows beside ${latencyText(result.paused)}; ` +
        `beside a hanging one ${latencyText(result.hanging)}`
    )
  }

  const phases = [
    ["alone", "alone"],
    ["beside a paused webhook with as many rows", "paused"],
    ["beside the hanging webhook", "hanging"]
  ] as const
  const ratioOf = (phase: keyof Round) => spread(measured.map((round) => round[phase].p99 / round.alone.p99))
  const of = (phase: keyof Round, share: keyof Latency) => spread(measured.map((round) => round[phase][share]))
  const table: Table = {
    title:
      `isolation: ${rate} rows/s into either table, ${rounds} rounds of ${seconds} s each, ms, median (min–max) of the rounds'`,
    header: ["the healthy webhook", "p50", "p99", "max", "p99 ×"],
    rows: phases.map(([name, phase]) => [
      name,
      ...(["p50", "p99", "max"] as const).map((share) => range(of(phase, share), fixed(2))),
      phase === "alone" ? "" : range(ratioOf(phase), fixed(2))
    ])
  }
  return {
    table,
    results: { rate, rounds: measured, ratio: { paused: ratioOf("paused"), hanging: ratioOf("hanging") } }
  }
}, Effect.scoped)
