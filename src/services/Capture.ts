import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Schedule } from "effect"
import { SqlError } from "effect/sql"
import { TableLocked, type TableNotWatchable } from "../domain/Errors.ts"
import type { ChangeType } from "../domain/EventType.ts"
import { texts } from "./PgArray.ts"
import { lookUpTable, type WatchedTable } from "./WatchedTable.ts"

interface Trigger {
  readonly relation: number
  readonly name: string
  /** Everything that makes it what it is; two triggers that are equal here are equal. */
  readonly definition: string
  readonly create: string
}

interface Standing {
  readonly relation: number
  readonly relation_name: string
  readonly name: string
  readonly definition: string
}

const quote = (name: string) => `"${name.replaceAll("\"", "\"\"")}"`
const literal = (text: string) => `'${text.replaceAll("'", "''")}'`

const rowPrefix: Record<ChangeType, string> = {
  INSERT: ",\"row\":",
  UPDATE: ",\"row\":",
  DELETE: ",\"row\":null,\"old_row\":",
  TRUNCATE: ",\"row\":null,\"old_row\":null"
}
const transition: Record<ChangeType, string> = {
  INSERT: "REFERENCING NEW TABLE AS truss_new ",
  UPDATE: "REFERENCING OLD TABLE AS truss_old NEW TABLE AS truss_new ",
  DELETE: "REFERENCING OLD TABLE AS truss_old ",
  TRUNCATE: ""
}

/** The triggers that a watched table needs for these event types. */
const triggersOf = (
  table: WatchedTable,
  tableId: number,
  events: ReadonlyArray<ChangeType>,
  maxPayload: number
): ReadonlyArray<Trigger> =>
  events.flatMap((event) => {
    const row = table.rowTriggers && event !== "TRUNCATE"
    const fn = row ? "row" : event.toLowerCase()
    const head = JSON.stringify({ event, schema: table.schema, table: table.name }).slice(0, -1) + rowPrefix[event]
    const args = [String(tableId), head, String(maxPayload), texts(table.primaryKey), texts(table.virtualColumns)]
    const name = `00_truss_${event.toLowerCase()}_${tableId}`
    const definition = `capture_${fn}:${Buffer.from(args.map((arg) => arg + "\0").join(""), "utf8").toString("hex")}`
    // PostgreSQL fires TRUNCATE for every partition of the table that is named: once is enough. Row triggers of a
    // partitioned table are cloned to its partitions by PostgreSQL itself.
    const relations = event === "TRUNCATE" || row
      ? table.relations.filter((relation) => relation.oid === table.oid || row && !table.partitioned)
      : table.relations
    return relations.map((relation) => ({
      relation: relation.oid,
      name,
      definition,
      create: `CREATE OR REPLACE TRIGGER ${quote(name)} AFTER ${event} ON ${relation.name} ` +
        `${row ? "" : transition[event]}FOR EACH ${row ? "ROW" : "STATEMENT"} ` +
        `EXECUTE FUNCTION truss.capture_${fn}(${args.map(literal).join(", ")})`
    }))
  })

const lockWait = "100ms"
const patience = Schedule.spaced("40 millis").pipe(Schedule.jittered, Schedule.upTo({ duration: "3 seconds" }))

const isLocked = (error: unknown): boolean =>
  SqlError.isSqlError(error) && (error.reason._tag === "LockTimeoutError" || error.reason._tag === "DeadlockError")

/**
 * Runs a transaction that changes triggers. A DDL statement that waits for a lock makes every later writer wait behind
 * it, so it waits for at most 100 ms at a time, and is tried again for 3 s.
 */
export const withTriggerLock = <A, E, R>(
  sql: PgClient.PgClient,
  table: string,
  transaction: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError.SqlError | TableLocked, R> =>
  sql.withTransaction(
    Effect.andThen(
      Effect.andThen(
        sql`SELECT pg_advisory_xact_lock(hashtext('truss.capture'))`,
        sql.unsafe(`SET LOCAL lock_timeout = '${lockWait}'`)
      ),
      transaction
    )
  ).pipe(
    Effect.retry({ schedule: patience, while: isLocked }),
    Effect.catchIf(isLocked, () =>
      Effect.fail(
        new TableLocked({ detail: `${table} is locked by other transactions. Nothing was changed: try again.` })
      )) as never
  )

/** Installs and drops the triggers that capture changes, and keeps them as they should be. */
export class Capture extends Context.Service<Capture, {
  /** Makes the triggers of one table what its webhooks ask for. Inside the caller's `withTriggerLock`. */
  sync(tableId: number): Effect.Effect<void, TableNotWatchable | SqlError.SqlError>
  /**
   * Compares every watched table with what should stand and mends it; marks webhooks whose table is missing.
   * Returns whether a webhook changed.
   */
  readonly reconcile: Effect.Effect<boolean, SqlError.SqlError>
}>()("truss/services/Capture") {
  static readonly layer = (options: { readonly maxPayload: number }) =>
    Layer.effect(
      Capture,
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient

        const asked = (tableId: number) =>
          sql<{ schema: string; name: string; events: ReadonlyArray<ChangeType> }>`
            SELECT t.table_schema AS schema, t.table_name AS name,
              ARRAY(SELECT DISTINCT e::text FROM truss.webhooks w, unnest(w.events) e WHERE w.table_id = t.id) AS events
            FROM truss.tables t WHERE t.id = ${tableId}`

        const standing = (tableId: number) =>
          sql.unsafe<Standing>(
            `SELECT g.tgrelid::int8::float8 AS relation, g.tgrelid::regclass::text AS relation_name, g.tgname::text AS name,
              p.proname || ':' || encode(g.tgargs, 'hex') || CASE WHEN g.tgenabled IN ('O', 'A') THEN '' ELSE ':off' END
                AS definition
            FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname = 'truss' AND NOT g.tgisinternal AND g.tgparentid = 0
              AND g.tgname LIKE '00\\_truss\\_%\\_' || $1::text`,
            [String(tableId)]
          )

        const apply = Effect.fnUntraced(function*(
          wanted: ReadonlyArray<Trigger>,
          stands: ReadonlyArray<Standing>
        ) {
          const key = (trigger: { relation: number; name: string }) => `${trigger.relation} ${trigger.name}`
          const byKey = new Map(stands.map((trigger) => [key(trigger), trigger]))
          let changes = 0
          for (const trigger of wanted) {
            const now = byKey.get(key(trigger))
            byKey.delete(key(trigger))
            if (now?.definition === trigger.definition) continue
            // OR REPLACE keeps a disabled trigger disabled.
            if (now?.definition.endsWith(":off")) {
              yield* sql.unsafe(`DROP TRIGGER ${quote(now.name)} ON ${now.relation_name}`)
            }
            yield* sql.unsafe(trigger.create)
            changes++
          }
          for (const left of byKey.values()) {
            yield* sql.unsafe(`DROP TRIGGER IF EXISTS ${quote(left.name)} ON ${left.relation_name}`)
            changes++
          }
          return changes
        })

        const sync = Effect.fn("Capture.sync")(function*(tableId: number) {
          const [ask] = yield* asked(tableId)
          if (ask === undefined) return 0
          const stands = yield* standing(tableId)
          if (ask.events.length === 0) return yield* apply([], stands)
          const table = yield* lookUpTable(ask.schema, ask.name).pipe(
            Effect.provideService(PgClient.PgClient, sql)
          )
          return yield* apply(triggersOf(table, tableId, ask.events, options.maxPayload), stands)
        })

        const mark = (tableId: number, missing: boolean) =>
          Effect.map(
            missing
              ? sql`UPDATE truss.webhooks SET disabled_reason = 'table_missing', updated_at = clock_timestamp()
                  WHERE table_id = ${tableId} AND disabled_reason IS NULL RETURNING id`
              : sql`UPDATE truss.webhooks SET disabled_reason = NULL, updated_at = clock_timestamp()
                  WHERE table_id = ${tableId} AND disabled_reason = 'table_missing' RETURNING id`,
            (rows) => rows.length > 0
          )

        const reconcile = Effect.gen(function*() {
          const tables = yield* sql<{ id: number; label: string }>`
            SELECT id, table_schema || '.' || table_name AS label FROM truss.tables t
            WHERE EXISTS (SELECT FROM truss.webhooks w WHERE w.table_id = t.id)
            UNION
            SELECT substring(g.tgname FROM '[0-9]+$')::int, g.tgrelid::regclass::text
            FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE n.nspname = 'truss' AND NOT g.tgisinternal AND g.tgparentid = 0 AND g.tgname ~ '^00_truss_[a-z]+_[0-9]+$'
              AND NOT EXISTS (
                SELECT FROM truss.webhooks w WHERE w.table_id = substring(g.tgname FROM '[0-9]+$')::int
              )`
          let changed = false
          for (const { id, label } of tables) {
            const missing = yield* withTriggerLock(sql, label, sync(id)).pipe(
              Effect.tap((changes) =>
                changes > 0 ? Effect.logInfo("mended the triggers of a watched table", { table: label, changes }) : Effect.void
              ),
              Effect.as(false),
              Effect.catchTags({
                TableLocked: () => Effect.as(Effect.logWarning("could not mend triggers yet: locked", { table: label }), undefined),
                TableNotWatchable: (error) =>
                  Effect.as(
                    Effect.logWarning("a watched table cannot be watched", { table: label, detail: error.detail }),
                    error.reason === "not_found" ? true : undefined
                  )
              })
            )
            if (missing !== undefined && (yield* mark(id, missing))) changed = true
          }
          return changed
        })

        return Capture.of({ sync: (tableId) => Effect.asVoid(sync(tableId)), reconcile })
      })
    )
}
