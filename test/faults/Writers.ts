import { PgClient } from "@effect/sql-pg"
import { Cause, Context, Effect, Layer, Redacted, Schedule as Repeat, type Scope } from "effect"
import type { SqlError } from "effect/sql"
import { randomOf } from "../support/Random.ts"
import type { Committed, Span } from "./History.ts"
import { draws, type Schedule } from "./Schedule.ts"

/** A pool on the database under test, for as long as the scope. Writers do not go through the proxy. */
export const connect = (url: string, maxConnections: number): Effect.Effect<PgClient.PgClient, never, Scope.Scope> =>
  Layer.build(Layer.fresh(PgClient.layer({ url: Redacted.make(url), maxConnections, applicationName: "writers" })))
    .pipe(Effect.map(Context.get(PgClient.PgClient)), Effect.orDie)

/**
 * The watched tables, and a ledger of what was committed: it is written in the transaction of the change, so it is right
 * even if the connection died during COMMIT. Its `seq` is drawn while the change's row is locked, so that of two changes
 * that share a key the one with the smaller number was committed first.
 */
export const createTables = (sql: PgClient.PgClient, tables: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    for (const table of tables) {
      yield* sql`CREATE TABLE ${sql(table)} (id int PRIMARY KEY, mark text NOT NULL, note text)`
    }
    yield* sql`CREATE TABLE ledger (seq bigserial PRIMARY KEY, tx int NOT NULL, step int NOT NULL, tbl text NOT NULL,
      change text NOT NULL, keys int[] NOT NULL)`
  }).pipe(Effect.orDie)

/** What the writers know besides the ledger. */
export interface Writing {
  /** By number. The end is unknown where the connection died before COMMIT was answered. */
  readonly transactions: Map<number, Span>
  commits: number
  /** On purpose; a deadlock, a key that was taken and a lost connection end transactions, too. */
  rolledBack: number
  broken: number
  schemaChanges: number
}

interface Changed {
  readonly type: "INSERT" | "UPDATE" | "DELETE"
  readonly mark: string
  /** Of its row; two when the change gave it another one. */
  readonly keys: ReadonlyArray<number>
}

/** Where PostgreSQL was away for most of the time, writers go on, but not for long. */
const fewCommits = 80
const longerMs = 8_000

const ints = (values: ReadonlyArray<number>) => `{${values.join(",")}}`

/** One statement, on up to four rows; it may find none. The mark is new with every change; a deletion tells the last one. */
const change = Effect.fnUntraced(function*(
  sql: PgClient.PgClient,
  random: () => number,
  table: string,
  keys: number,
  mark: string
) {
  const { between, chance } = draws(random)
  const key = between(1, keys)
  const several = Array.from({ length: between(2, 4) }, () => between(1, keys))
  const kind = random()
  type Row = { readonly id: number; readonly mark: string }
  const as = (type: Changed["type"], rows: ReadonlyArray<Row>): ReadonlyArray<Changed> =>
    rows.map((row) => ({ type, mark: row.mark, keys: [row.id] }))
  if (kind < 0.4) {
    const many = chance(0.25) ? several : [key]
    return as(
      "INSERT",
      yield* sql<Row>`INSERT INTO ${sql(table)} (id, mark) SELECT k, ${mark} || '.' || k
        FROM (SELECT DISTINCT unnest(${ints(many)}::text::int[]) AS k ORDER BY k) AS k
        ON CONFLICT DO NOTHING RETURNING id, mark`
    )
  }
  if (kind < 0.7) {
    const many = chance(0.25) ? several : [key]
    return as(
      "UPDATE",
      yield* sql<Row>`UPDATE ${sql(table)} SET mark = ${mark} || '.' || id
        WHERE id = ANY (${ints(many)}::text::int[]) RETURNING id, mark`
    )
  }
  if (kind < 0.85) {
    const to = between(1, keys)
    const rows = yield* sql<Row>`UPDATE ${sql(table)} SET id = ${String(to)}::text::int, mark = ${mark} || '.' || id
      WHERE id = ${String(key)}::text::int
        AND NOT EXISTS (SELECT FROM ${sql(table)} WHERE id = ${String(to)}::text::int) RETURNING id, mark`
    return rows.map((row) => ({ type: "UPDATE" as const, mark: row.mark, keys: [key, row.id] }))
  }
  return as(
    "DELETE",
    yield* sql<Row>`DELETE FROM ${sql(table)} WHERE id = ${String(key)}::text::int RETURNING id, mark`
  )
})

/** Writes until the run is over. A lost connection is waited for; whether it had committed then only the ledger knows. */
export const write = Effect.fnUntraced(function*(sql: PgClient.PgClient, schedule: Schedule, writing: Writing) {
  const { keys, pauseMs } = schedule.writers
  const startedAt = Date.now()
  const goesOn = () => {
    const elapsed = Date.now() - startedAt
    // A schedule in which hardly anything was written proves nothing.
    return elapsed < schedule.runMs || writing.commits < fewCommits && elapsed < schedule.runMs + longerMs
  }
  let clock = 0
  let nextTransaction = 1

  const step = Effect.fnUntraced(function*(random: () => number, tx: number, number: number) {
    const table = draws(random).pick(schedule.tables)
    const changed = yield* change(sql, random, table, keys, `${tx}-${number}`)
    for (const { keys, mark, type } of changed) {
      yield* sql`INSERT INTO ledger (tx, step, tbl, change, keys) VALUES (${String(tx)}::text::int,
        ${String(number)}::text::int, ${table}, ${`${type}:${mark}`}, ${ints(keys)}::text::int[])`
    }
  })

  const transaction = Effect.fnUntraced(function*(random: () => number, tx: number) {
    const { between, chance } = draws(random)
    for (let number = 1, steps = between(1, 5); number <= steps; number++) {
      const savepoint = chance(0.15)
      const keeps = chance(0.5)
      if (!savepoint) {
        yield* step(random, tx, number)
        continue
      }
      yield* sql`SAVEPOINT here`
      yield* step(random, tx, number)
      yield* keeps ? sql`RELEASE here` : sql`ROLLBACK TO here`
    }
    if (chance(0.06)) yield* Effect.sleep(between(20, 500))
    if (chance(0.15)) return yield* Effect.fail("rolled back" as const)
  })

  const writer = Effect.fnUntraced(function*(number: number) {
    const random = randomOf(schedule.seed + number)
    while (goesOn()) {
      const id = nextTransaction++
      const began = clock++
      let committing: number | undefined
      const asks = Effect.sync(() => (committing = clock++))
      const outcome = yield* sql.withTransaction(Effect.andThen(transaction(random, id), asks)).pipe(
        Effect.as("committed" as const),
        // A connection lost inside a transaction is a defect of `withTransaction`: its ROLLBACK fails.
        Effect.catchCause((cause) =>
          Cause.hasInterrupts(cause)
            ? Effect.interrupt
            : Effect.succeed(Cause.squash(cause) === "rolled back" ? "rolled back" as const : "unknown" as const)
        )
      )
      writing.transactions.set(id, { began, committing, ended: outcome === "committed" ? clock++ : undefined })
      if (outcome === "committed") writing.commits++
      else if (outcome === "rolled back") writing.rolledBack++
      else writing.broken++
      yield* Effect.sleep(outcome === "unknown" ? 30 : random() * 2 * pauseMs)
    }
  })

  /** `note` is added, dropped and named otherwise: a change of the schema that users make while others write. */
  const schemaChanger = Effect.gen(function*() {
    const random = randomOf(schedule.seed - 1)
    const { between, pick } = draws(random)
    const alter = (table: string, text: string) =>
      sql.withTransaction(Effect.andThen(
        // Writers that hold the table open for long must not make every other one queue behind this.
        sql`SET LOCAL lock_timeout = '200ms'`,
        sql.unsafe(`ALTER TABLE ${table} ${text}`)
      )).pipe(
        Effect.andThen(Effect.sync(() => writing.schemaChanges++)),
        Effect.catchCause((cause) => Cause.hasInterrupts(cause) ? Effect.interrupt : Effect.void)
      )
    while (goesOn()) {
      yield* Effect.sleep(between(100, 700))
      yield* alter(
        pick(schedule.tables),
        pick([
          "ADD IF NOT EXISTS extra int DEFAULT 7",
          "ADD IF NOT EXISTS note text",
          "DROP IF EXISTS extra",
          "DROP IF EXISTS note",
          "RENAME note TO remark",
          "RENAME remark TO note"
        ])
      )
    }
  })

  const writers = Array.from({ length: schedule.writers.count }, (_, i) => writer(i + 1))
  yield* Effect.all(schedule.writers.changesSchema ? [...writers, schemaChanger] : writers, {
    concurrency: "unbounded",
    discard: true
  })
})

/** What was committed. */
export const readLedger = (sql: PgClient.PgClient): Effect.Effect<ReadonlyArray<Committed>, SqlError.SqlError> =>
  sql<Committed>`SELECT seq::float8 AS seq, tx, step, tbl AS "table", change, keys FROM ledger ORDER BY seq`

/** Retries what a database that is just coming back refuses. */
export const patiently = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A> =>
  effect.pipe(Effect.retry({ schedule: Repeat.spaced("100 millis"), times: 200 }), Effect.orDie)
