import { PgClient } from "@effect/sql-pg"
import { assert } from "@effect/vitest"
import { Cause, Context, Effect, Layer, Redacted, Schedule, type Scope } from "effect"
import { encodeAttemptId } from "../../src/domain/AttemptRef.ts"
import { randomOf } from "../support/Random.ts"
import { deliveryIdOf, type Endpoint, eventIdOf } from "../support/Recorder.ts"
import { waitFor } from "../support/ServiceProcess.ts"

/** A pool on the database under test, for as long as the scope. */
export const connect = (url: string, maxConnections = 8): Effect.Effect<PgClient.PgClient, never, Scope.Scope> =>
  Layer.build(Layer.fresh(PgClient.layer({ url: Redacted.make(url), maxConnections, applicationName: "writers" })))
    .pipe(
      Effect.map(Context.get(PgClient.PgClient)),
      Effect.orDie
    )

/** The watched table, and a ledger that holds each change which was committed, since it is written with it. */
export const createTables = (sql: PgClient.PgClient) =>
  Effect.gen(function*() {
    yield* sql`CREATE TABLE orders (id bigint PRIMARY KEY, mark text NOT NULL)`
    yield* sql`CREATE TABLE ledger (change text PRIMARY KEY)`
  }).pipe(Effect.orDie)

export { newSeed } from "../support/Random.ts"

/** Writers at work. */
export interface Load {
  /** Transactions that were committed so far. */
  readonly commits: () => number
  /** Every change that was tried, whatever became of it. */
  readonly tried: ReadonlySet<string>
}

interface Row {
  readonly id: number
  readonly mark: string
}

/**
 * Several writers that commit `transactions` together: one to four changes each, one in eight is rolled back, one in
 * ten stays open for a while, so that later ones commit before it. A lost connection is waited for; whether the
 * transaction was committed then only the ledger knows.
 */
export const write = Effect.fnUntraced(function*(
  sql: PgClient.PgClient,
  options: {
    readonly seed: number
    readonly transactions: number
    readonly writers?: number
    /** Pause after each transaction of a writer. */
    readonly pauseMs?: number
    readonly load?: { commits: number; tried: Set<string> }
    /** Keeps two workloads on one table apart. */
    readonly name?: string
  }
) {
  const { name = "w", pauseMs = 0, seed, transactions, writers = 6 } = options
  const load = options.load ?? { commits: 0, tried: new Set<string>() }
  let left = transactions
  const writer = Effect.fnUntraced(function*(number: number) {
    const random = randomOf(seed + number)
    let rows: Array<Row> = []
    let nextId = number * 1_000_000
    let nextMark = 0

    const transact = Effect.fnUntraced(function*(rollsBack: boolean, waits: number, changes: number) {
      const after = [...rows]
      const marks: Array<string> = []
      yield* sql.withTransaction(Effect.gen(function*() {
        for (let i = 0; i < changes; i++) {
          const mark = `${name}${number}-${nextMark++}`
          const kind = after.length === 0 ? 0 : random()
          const at = Math.floor(random() * after.length)
          if (kind < 0.5) {
            const id = nextId++
            marks.push(`INSERT:${mark}`)
            load.tried.add(`INSERT:${mark}`)
            after.push({ id, mark })
            yield* sql`INSERT INTO orders (id, mark) VALUES (${String(id)}::text::bigint, ${mark})`
          } else if (kind < 0.8) {
            const { id } = after[at]!
            marks.push(`UPDATE:${mark}`)
            load.tried.add(`UPDATE:${mark}`)
            after[at] = { id, mark }
            yield* sql`UPDATE orders SET mark = ${mark} WHERE id = ${String(id)}::text::bigint`
          } else {
            const [row] = after.splice(at, 1)
            marks.push(`DELETE:${row!.mark}`)
            load.tried.add(`DELETE:${row!.mark}`)
            yield* sql`DELETE FROM orders WHERE id = ${String(row!.id)}::text::bigint`
          }
        }
        for (const mark of marks) yield* sql`INSERT INTO ledger VALUES (${mark})`
        if (waits > 0) yield* Effect.sleep(waits)
        if (rollsBack) return yield* Effect.fail("rolled back" as const)
      }))
      rows = after
    })

    // After a lost connection only the table knows which rows there are.
    const readAgain = Effect.gen(function*() {
      const found = yield* sql<{ id: string; mark: string }>`
        SELECT id::text, mark FROM orders WHERE id / 1000000 = ${number} ORDER BY id`
      rows = found.map(({ id, mark }) => ({ id: Number(id), mark }))
    })

    while (left > 0) {
      left--
      const rollsBack = random() < 0.125
      const waits = random() < 0.1 ? 5 + random() * 60 : 0
      const outcome = yield* transact(rollsBack, waits, 1 + Math.floor(random() * 4)).pipe(
        Effect.as("committed" as const),
        // A connection lost inside a transaction is a defect of `withTransaction`: its ROLLBACK fails.
        Effect.catchCause((cause) =>
          Cause.hasInterrupts(cause)
            ? Effect.interrupt
            : Effect.succeed(Cause.squash(cause) === "rolled back" ? "rolled back" as const : "unknown" as const)
        )
      )
      if (outcome === "committed") load.commits++
      else left++
      if (outcome === "unknown") {
        yield* Effect.retry(readAgain, { schedule: Schedule.spaced("50 millis"), times: 600 })
      }
      if (pauseMs > 0) yield* Effect.sleep(pauseMs)
    }
  })
  yield* Effect.forEach(Array.from({ length: writers }, (_, i) => i + 1), writer, {
    concurrency: "unbounded",
    discard: true
  }).pipe(Effect.orDie)
})

const say = (line: string) => Effect.sync(() => void process.stdout.write(`${line}\n`))

/** What became of the changes of a test, in numbers. */
export interface Verdict {
  readonly committed: number
  readonly arrived: number
  readonly lost: number
  /** Changes that arrived more than once, and not because the log has a failed attempt. */
  readonly twice: number
  /** Requests that arrived and are not in the log: each of them explains one that came again. */
  readonly unlogged: number
  /** Requests whose attempt failed by the log, so that another one was due. */
  readonly retried: number
}

export const report = (title: string, facts: Readonly<Record<string, unknown>>) =>
  say(`  ${title}: ${Object.entries(facts).map(([name, value]) => `${name} ${value}`).join(", ")}`)

/** Which changes are committed by now. */
export const ledger = (sql: PgClient.PgClient) =>
  Effect.map(
    sql<{ change: string }>`SELECT change FROM ledger`,
    (rows) => new Set(rows.map((row) => row.change))
  ).pipe(Effect.orDie)

const attempts = (sql: PgClient.PgClient, webhookId: string) =>
  Effect.orDie(
    sql<{ seq: number; nonce: number; outcome: string }>`
      SELECT event_seq::float8 AS seq, nonce::float8 AS nonce, outcome::text AS outcome FROM truss.attempts
      WHERE webhook_id = ${webhookId}::text::uuid`
  )

const idsOf = (rows: ReadonlyArray<{ readonly seq: number; readonly nonce: number }>): ReadonlySet<string> =>
  new Set(rows.map(({ nonce, seq }) => encodeAttemptId({ eventSeq: seq, nonce })))

/** The `X-Truss-Delivery` of every attempt in the log. */
export const loggedDeliveries = (sql: PgClient.PgClient, webhookId: string) =>
  Effect.map(attempts(sql, webhookId), idsOf)

/** Waits until each change in the ledger has arrived at the endpoint and stands in the log as delivered. */
export const delivered = Effect.fnUntraced(function*(
  sql: PgClient.PgClient,
  endpoint: Endpoint,
  webhookId: string,
  options: { readonly within?: number; readonly describe?: () => string } = {}
) {
  const committed = yield* ledger(sql)
  const left = new Set(committed)
  const missing = () => {
    const arrived = endpoint.byChange()
    for (const change of left) if (arrived.has(change)) left.delete(change)
    return [...left]
  }
  yield* waitFor("every committed change to arrive", Effect.sync(() => missing().length === 0), {
    ...options,
    describe: () =>
      `${missing().length} of ${committed.size} are missing, such as ${missing().slice(0, 5).join(" ")}\n${
        options.describe?.() ?? ""
      }`
  })
  const logged = Effect.map(
    sql<{ count: number }>`SELECT count(DISTINCT event_seq)::int AS count FROM truss.attempts
      WHERE webhook_id = ${webhookId}::text::uuid AND outcome = 'success'`,
    (rows) => rows[0]!.count >= committed.size
  )
  yield* waitFor("every delivery to be in the log", Effect.orDie(logged), options)
})

/**
 * Holds what arrived against what was committed: nothing lost, nothing that was rolled back, and whatever came twice
 * has the same `webhook-id` and bytes, and came again because its first attempt could not be logged.
 */
export const judge = Effect.fnUntraced(function*(
  title: string,
  sql: PgClient.PgClient,
  endpoint: Endpoint,
  webhookId: string,
  facts: Readonly<Record<string, unknown>> = {}
) {
  const committed = yield* ledger(sql)
  const rows = yield* attempts(sql, webhookId)
  const log = idsOf(rows)
  const failures = idsOf(rows.filter((row) => row.outcome !== "success"))
  const successes = rows.filter((row) => row.outcome === "success").map((row) => row.seq)
  const arrived = endpoint.byChange()
  const events = new Map<string, string>()
  const differing: Array<string> = []
  const inExcess: Array<string> = []
  let twice = 0
  for (const [change, requests] of arrived) {
    const [first] = requests
    if (requests.some((other) => eventIdOf(other) !== eventIdOf(first!) || !other.bytes.equals(first!.bytes))) {
      differing.push(change)
    }
    if (events.has(eventIdOf(first!))) differing.push(change)
    events.set(eventIdOf(first!), change)
    const good = requests.filter((request) => !failures.has(deliveryIdOf(request)))
    if (good.length > 1) twice++
    if (good.filter((request) => log.has(deliveryIdOf(request))).length > 1) inExcess.push(change)
  }
  const requests = endpoint.received()
  const verdict: Verdict = {
    committed: committed.size,
    arrived: [...committed].filter((change) => arrived.has(change)).length,
    lost: [...committed].filter((change) => !arrived.has(change)).length,
    twice,
    unlogged: requests.filter((request) => !log.has(deliveryIdOf(request))).length,
    retried: requests.filter((request) => failures.has(deliveryIdOf(request))).length
  }
  const neverCommitted = [...arrived.keys()].filter((change) => !committed.has(change))
  yield* report(title, { ...verdict, "never committed": neverCommitted.length, ...facts })
  assert.strictEqual(verdict.lost, 0, "committed changes that never arrived")
  assert.deepStrictEqual(neverCommitted, [], "changes that arrived and were never committed")
  assert.deepStrictEqual(differing, [], "changes that came again with another webhook-id or other bytes")
  assert.deepStrictEqual(inExcess, [], "changes that were sent again although the log has their success")
  assert.strictEqual(new Set(successes).size, successes.length, "events with two successes in the log")
  return verdict
})
