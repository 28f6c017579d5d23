import { Effect, Schema } from "effect"
import { fillLog, oneIn } from "../api/AttemptLog.ts"
import { attempt, BenchError } from "../BenchError.ts"
import type { Options } from "../Options.ts"
import { createOrders } from "../Orders.ts"
import { fixed, integer, progress } from "../Report.ts"
import type { Scenario } from "../Scenario.ts"
import { startService } from "../ServiceProcess.ts"
import { openStage } from "../Stage.ts"
import { expensiveStatements, resetStatements } from "../Statements.ts"
import { percentile } from "../Statistics.ts"

const Page = Schema.fromJsonString(Schema.Struct({
  data: Schema.Array(Schema.Struct({ id: Schema.String, event_id: Schema.String, created_at: Schema.String })),
  next_cursor: Schema.NullOr(Schema.String)
}))

const warmUpRequests = 3
const leastRequests = 5
const mostRequests = 500
const largestPage = 500

/** A request, asked again and again with other values. */
interface Question {
  readonly name: string
  /** Its path and query, the nth time. */
  readonly path: (n: number) => string
}

const get = (url: string) =>
  attempt(`GET ${url}`, async () => {
    const start = performance.now()
    const response = await fetch(url)
    const text = await response.text()
    return { ms: performance.now() - start, status: response.status, text }
  })

const page = Effect.fnUntraced(function*(url: string) {
  const { status, text } = yield* get(url)
  if (status !== 200) return yield* new BenchError({ message: `GET ${url}: ${status} ${text}` })
  return yield* Effect.mapError(
    Schema.decodeUnknownEffect(Page)(text),
    (error) => new BenchError({ message: error.message })
  )
})

/** Asks for so many seconds at most, one request after the other. */
const ask = Effect.fnUntraced(function*(base: string, { name, path }: Question, seconds: number) {
  for (let n = 0; n < warmUpRequests; n++) yield* get(`${base}${path(n)}`)
  const times: Array<number> = []
  let refused = 0
  let bytes = 0
  const end = performance.now() + seconds * 1000
  for (let n = 0; n < mostRequests && (n < leastRequests || performance.now() < end); n++) {
    const { ms, status, text } = yield* get(`${base}${path(warmUpRequests + n)}`)
    times.push(ms)
    bytes += text.length
    if (status !== 200) refused++
  }
  const sorted = Float64Array.from(times).sort()
  const of = (share: number) => percentile(sorted, share)
  yield* progress(`${name}: p50 ${fixed(1)(of(0.5))} ms, p99 ${fixed(1)(of(0.99))} ms`)
  return {
    name,
    requests: times.length,
    p50: of(0.5),
    p99: of(0.99),
    max: of(1),
    refused,
    bytes: bytes / times.length
  }
})

const run = Effect.fnUntraced(function*(options: Options) {
  const stage = yield* openStage(options)
  const rows = options.rows ?? 10_000_000
  const seconds = options.seconds ?? 10
  yield* createOrders(stage.sql, "orders")
  const service = yield* startService(stage)
  const webhook = yield* service.createWebhook({ table: "orders", url: stage.receiver.url })
  const filling = performance.now()
  yield* fillLog(stage, webhook, rows)
  const fillSeconds = (performance.now() - filling) / 1000

  const logs = `/api/webhooks/${webhook}/logs`
  // Cursors are opaque to users. Walking to the depths through 20,000 pages is what they save the benchmark from.
  const newest = yield* page(`${service.base}${logs}?limit=1`)
  const newestSeq = Number.parseInt(newest.next_cursor ?? "", 36)
  if (newest.data.length !== 1 || !Number.isSafeInteger(newestSeq)) {
    return yield* new BenchError({ message: `the newest page was ${JSON.stringify(newest)}` })
  }
  const cursorAt = (share: number) => Math.max(2, Math.floor(newestSeq - share * (rows - 2))).toString(36)
  // Golden-ratio steps reach everywhere evenly, whatever the number of requests.
  const everywhere = (n: number) => (n * 0.618_033_988_75) % 1
  const samples = yield* Effect.forEach(
    Array.from({ length: 50 }, (_, n) => everywhere(n)),
    (share) => Effect.map(page(`${service.base}${logs}?limit=1&cursor=${cursorAt(share)}`), ({ data }) => data[0])
  )
  const known = samples.filter((entry) => entry !== undefined)
  if (known.length !== samples.length) return yield* new BenchError({ message: "a page in the depths was empty" })
  const sampleAt = (n: number) => known[n % known.length]!
  const hourFrom = (at: string) =>
    `from=${encodeURIComponent(at)}&to=${encodeURIComponent(new Date(Date.parse(at) + 3_600_000).toISOString())}`

  const questions: ReadonlyArray<Question> = [
    { name: "newest page of 50", path: () => logs },
    { name: `newest page of ${largestPage}`, path: () => `${logs}?limit=${largestPage}` },
    { name: "page of 50, anywhere", path: (n) => `${logs}?cursor=${cursorAt(everywhere(n))}` },
    { name: "page of 50, the last", path: () => `${logs}?cursor=${cursorAt(1 - 50 / rows)}` },
    { name: `outcome=retrying, one in ${integer(oneIn.retrying)}`, path: () => `${logs}?outcome=retrying` },
    { name: `outcome=failed, one in ${integer(oneIn.failed)}`, path: () => `${logs}?outcome=failed` },
    {
      name: "  the same, anywhere",
      path: (n) => `${logs}?outcome=failed&cursor=${cursorAt(everywhere(n))}`
    },
    { name: `status_code=410, one in ${integer(oneIn.gone)}`, path: () => `${logs}?status_code=410` },
    { name: "status_code=418, none", path: () => `${logs}?status_code=418` },
    { name: "event_id, anywhere", path: (n) => `${logs}?event_id=${sampleAt(n).event_id}` },
    { name: "from and to, an hour anywhere", path: (n) => `${logs}?${hourFrom(sampleAt(n).created_at)}` },
    { name: "one entry, anywhere", path: (n) => `${logs}/${sampleAt(n).id}` },
    ...["1h", "24h", "7d"].map((window) => ({
      name: `stats, window=${window}`,
      path: () => `/api/webhooks/${webhook}/stats?window=${window}`
    }))
  ]
  yield* resetStatements(stage)
  const measured = yield* Effect.forEach(questions, (question) => ask(service.base, question, seconds))
  return {
    machine: stage.machine,
    tables: [
      {
        title: `api: ${integer(rows)} attempts of one webhook in 7 days, ms over HTTP`,
        header: ["", "requests", "p50", "p99", "max", "bytes", "refused"],
        rows: measured.map(({ bytes, max, name, p50, p99, refused, requests }) => [
          name,
          integer(requests),
          fixed(1)(p50),
          fixed(1)(p99),
          fixed(1)(max),
          integer(bytes),
          refused === 0 ? "" : integer(refused)
        ])
      },
      ...(yield* expensiveStatements(stage))
    ],
    notes: [
      "one client, one request after the other, on a connection that is kept; the answer is read to its end",
      `each at most ${mostRequests} times or for ${seconds} s, at least ${leastRequests} times; refused: not answered with 200`,
      `the log was written by SQL in ${integer(fillSeconds)} s, an event to each attempt, in four partitions, vacuumed`
    ],
    results: { rows, fillSeconds, questions: measured }
  }
})

/** How soon the API answers when the log is long. */
export const Api: Scenario = {
  name: "api",
  about: "ten million attempts in the log: pages, filters and statistics over HTTP",
  run: (options) => Effect.catchTag(run(options), "SqlError", (error) => new BenchError({ message: error.message }))
}
