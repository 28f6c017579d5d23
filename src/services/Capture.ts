import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Schedule } from "effect"
import { SqlError } from "effect/sql"
import { TableLocked, TableNotWatchable } from "../domain/Errors.ts"
import type { ChangeType } from "../domain/EventType.ts"
import {
  type CapturedTable,
  captureFunction,
  type CaptureKind,
  functionName,
  ownersFunction,
  type RoleRef
} from "./CaptureFunctions.ts"
import { captureLock } from "./CaptureLock.ts"
import { sqlState } from "./Database.ts"
import { identifier } from "./Quoting.ts"
import { syncSelections } from "./Selection.ts"
import { findTable, type WatchedTable } from "./WatchedTable.ts"

interface Trigger {
  readonly relation: number
  readonly name: string
  readonly kind: CaptureKind
  readonly create: string
}

interface Standing {
  readonly relation: number
  readonly relation_name: string
  readonly name: string
  readonly function: string
  readonly enabled: boolean
}

const transition: Record<ChangeType, string> = {
  INSERT: "REFERENCING NEW TABLE AS truss_new ",
  UPDATE: "REFERENCING OLD TABLE AS truss_old NEW TABLE AS truss_new ",
  DELETE: "REFERENCING OLD TABLE AS truss_old ",
  TRUNCATE: ""
}

/** The triggers that a watched table needs for these event types; their names sort before any that people give. */
const triggersOf = (
  table: WatchedTable,
  tableId: number,
  events: ReadonlyArray<ChangeType>
): ReadonlyArray<Trigger> =>
  events.flatMap((event) => {
    const row = table.rowTriggers && event !== "TRUNCATE"
    const kind = row ? "row" : event.toLowerCase() as CaptureKind
    const name = `00_truss_${event.toLowerCase()}_${tableId}`
    // PostgreSQL fires TRUNCATE for every partition of the table that is named: once is enough. Row triggers of a
    // partitioned table are cloned to its partitions by PostgreSQL itself.
    const relations = event === "TRUNCATE" || row
      ? table.relations.filter((relation) => relation.oid === table.oid || row && !table.partitioned)
      : table.relations
    return relations.map((relation) => ({
      relation: relation.oid,
      name,
      kind,
      create: `CREATE OR REPLACE TRIGGER ${identifier(name)} AFTER ${event} ON ${relation.name} ` +
        `${row ? "" : transition[event]}FOR EACH ${row ? "ROW" : "STATEMENT"} ` +
        `EXECUTE FUNCTION truss.${functionName(tableId, kind)}()`
    }))
  })

/** What of the triggers that stand is not as wanted, and what is missing. */
const differences = (tableId: number, wanted: ReadonlyArray<Trigger>, stands: ReadonlyArray<Standing>) => {
  const key = (trigger: { relation: number; name: string }) => `${trigger.relation} ${trigger.name}`
  const functions = new Map(wanted.map((trigger) => [key(trigger), functionName(tableId, trigger.kind)]))
  const isRight = (stand: Standing) => stand.enabled && functions.get(key(stand)) === stand.function
  const right = new Set(stands.filter(isRight).map(key))
  return {
    wrong: stands.filter((stand) => !isRight(stand)),
    missing: wanted.filter((trigger) => !right.has(key(trigger)))
  }
}

/** A watched table whose changes are not captured as they should be. */
export interface CaptureFault {
  readonly table: string
  /** `triggers`: some are missing, disabled or altered; else why the table cannot be watched. */
  readonly reason: "triggers" | TableNotWatchable["reason"]
  readonly detail: string
}

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
        captureLock(sql),
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
   * Compares every watched table with what should stand and mends it; marks webhooks whose table is missing; renews
   * the selections of webhooks whose table has other columns now.
   * Returns whether a webhook changed.
   */
  readonly reconcile: Effect.Effect<boolean, SqlError.SqlError>
  /** Compares every watched table with what should stand, and changes nothing. */
  readonly inspect: Effect.Effect<ReadonlyArray<CaptureFault>, SqlError.SqlError>
}>()("truss/services/Capture") {
  static readonly layer = (options: { readonly maxPayload: number }) =>
    Layer.effect(
      Capture,
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient

        const asked = (tableId: number) =>
          sql<{ schema: string; name: string; events: ReadonlyArray<ChangeType>; slot: number }>`
            SELECT t.table_schema AS schema, t.table_name AS name, (SELECT max(slot) FROM truss.slots) AS slot,
              ARRAY(SELECT DISTINCT e::text FROM truss.webhooks w, unnest(w.events) e WHERE w.table_id = t.id
                ORDER BY 1) AS events
            FROM truss.tables t WHERE t.id = ${tableId}`

        const standing = (tableId: number) =>
          sql.unsafe<Standing>(
            `SELECT g.tgrelid::int8::float8 AS relation, g.tgrelid::regclass::text AS relation_name,
              g.tgname::text AS name, p.proname::text AS function, g.tgenabled IN ('O', 'A') AS enabled
            FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
            WHERE p.pronamespace = 'truss'::regnamespace AND NOT g.tgisinternal AND g.tgparentid = 0
              AND p.proname ~ ('^capture_' || $1::text || '_')`,
            [String(tableId)]
          )

        const functionsOf = (tableId: number) =>
          sql<{ name: string; source: string; signature: string; owner: number }>`
            SELECT proname::text AS name, prosrc AS source, oid::regprocedure::text AS signature,
              proowner::int8::float8 AS owner FROM pg_proc
            WHERE pronamespace = 'truss'::regnamespace AND proname ~ ('^capture_' || ${String(tableId)}::text || '_')`

        const refusedOwner = ({ name }: RoleRef) =>
          new TableNotWatchable({
            reason: "not_owner",
            detail: `the table belongs to the role ${name}: the role that Truss Webhooks connects as must be able to ` +
              `SET ROLE to it (GRANT ${name} TO it)`
          })

        /** Made by us, handed over, and out of the owner's reach: nobody else may use the schema. */
        const makeOwners = Effect.fnUntraced(
          function*(tableId: number, owner: RoleRef) {
            const { create, signature } = ownersFunction(tableId, owner)
            const role = identifier(owner.name)
            yield* sql.unsafe(create)
            yield* sql.unsafe(`GRANT CREATE ON SCHEMA truss TO ${role}`)
            yield* sql.unsafe(`ALTER FUNCTION ${signature} OWNER TO ${role}`)
            yield* sql.unsafe(`REVOKE CREATE ON SCHEMA truss FROM ${role}`)
          },
          (effect, _, owner) =>
            Effect.catchIf(effect, (error) => sqlState(error) === "42501", () => Effect.fail(refusedOwner(owner)))
        )

        /** Functions first: replacing one locks nothing of the table. */
        const applyFunctions = Effect.fnUntraced(function*(
          table: CapturedTable,
          kinds: ReadonlySet<CaptureKind>,
          slot: number
        ) {
          const functions = yield* functionsOf(table.id)
          const stand = new Map(functions.map(({ name, source }) => [name, source]))
          const { otherOwner } = table
          if (otherOwner !== null) {
            const { name, source } = ownersFunction(table.id, otherOwner)
            const isRight = functions.some((found) =>
              found.name === name && found.source === source && found.owner === otherOwner.oid
            )
            if (!isRight) yield* makeOwners(table.id, otherOwner)
          }
          for (const kind of kinds) {
            const wanted = captureFunction(table, kind, slot)
            if (stand.get(wanted.name) !== wanted.source) yield* sql.unsafe(wanted.create)
          }
        })

        const dropFunctions = Effect.fnUntraced(function*(
          tableId: number,
          kinds: ReadonlySet<CaptureKind>,
          owner: RoleRef | null
        ) {
          const wanted = new Set([...kinds].map((kind) => functionName(tableId, kind)))
          if (owner !== null) wanted.add(ownersFunction(tableId, owner).name)
          for (const { name, signature } of yield* functionsOf(tableId)) {
            if (!wanted.has(name)) yield* sql.unsafe(`DROP FUNCTION ${signature}`)
          }
        })

        const applyTriggers = Effect.fnUntraced(function*(
          tableId: number,
          wanted: ReadonlyArray<Trigger>,
          stands: ReadonlyArray<Standing>
        ) {
          const { missing, wrong } = differences(tableId, wanted, stands)
          // Before any is made: a row trigger of a partitioned table does not go together with statement triggers of
          // the same name on its partitions. And OR REPLACE keeps a disabled trigger disabled.
          for (const { name, relation_name } of wrong) {
            yield* sql.unsafe(`DROP TRIGGER IF EXISTS ${identifier(name)} ON ${relation_name}`)
          }
          for (const { create } of missing) yield* sql.unsafe(create)
          return wrong.length + missing.length
        })

        const sync = Effect.fn("Capture.sync")(function*(tableId: number) {
          const [ask] = yield* asked(tableId)
          const stands = yield* standing(tableId)
          if (ask === undefined || ask.events.length === 0) {
            const changes = yield* applyTriggers(tableId, [], stands)
            yield* dropFunctions(tableId, new Set(), null)
            return changes
          }
          const table = yield* findTable(ask.schema, ask.name).pipe(
            Effect.provideService(PgClient.PgClient, sql)
          )
          const wanted = triggersOf(table, tableId, ask.events)
          const kinds = new Set(wanted.map((trigger) => trigger.kind))
          yield* applyFunctions({ ...table, id: tableId, maxPayload: options.maxPayload }, kinds, ask.slot)
          const changes = yield* applyTriggers(tableId, wanted, stands)
          yield* dropFunctions(tableId, kinds, table.otherOwner)
          return changes
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
            SELECT split_part(p.proname, '_', 2)::int, g.tgrelid::regclass::text
            FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
            WHERE p.pronamespace = 'truss'::regnamespace AND NOT g.tgisinternal AND g.tgparentid = 0
              AND p.proname ~ '^capture_[0-9]+_'
              AND NOT EXISTS (SELECT FROM truss.webhooks w WHERE w.table_id = split_part(p.proname, '_', 2)::int)`
          let changed = false
          for (const { id, label } of tables) {
            const missing = yield* withTriggerLock(sql, label, sync(id)).pipe(
              Effect.tap((changes) =>
                changes > 0
                  ? Effect.logInfo("mended the triggers of a watched table", { table: label, changes })
                  : Effect.void
              ),
              Effect.as(false),
              Effect.catchTags({
                TableLocked: () =>
                  Effect.as(Effect.logWarning("could not mend triggers yet: locked", { table: label }), undefined),
                TableNotWatchable: (error) =>
                  Effect.as(
                    Effect.logWarning("a watched table cannot be watched", { table: label, detail: error.detail }),
                    error.reason === "not_found" ? true : undefined
                  )
              })
            )
            if (missing !== undefined && (yield* mark(id, missing))) changed = true
          }
          yield* withTriggerLock(sql, "the schema truss", syncSelections(sql)).pipe(
            Effect.catchTag("TableLocked", ({ detail }) => Effect.logWarning("could not renew selections yet", detail))
          )
          return changed
        })

        const inspectTable = Effect.fnUntraced(function*(
          tableId: number
        ): Effect.fn.Return<ReadonlyArray<CaptureFault>, SqlError.SqlError> {
          const [ask] = yield* asked(tableId)
          if (ask === undefined) return []
          const label = `${ask.schema}.${ask.name}`
          const stands = yield* standing(tableId)
          return yield* findTable(ask.schema, ask.name).pipe(
            Effect.provideService(PgClient.PgClient, sql),
            Effect.map((table): ReadonlyArray<CaptureFault> => {
              const { missing, wrong } = differences(tableId, triggersOf(table, tableId, ask.events), stands)
              const disabled = wrong.filter((stand) => !stand.enabled).map((stand) => `${stand.name} is disabled`)
              const said = [...disabled, ...missing.map((trigger) => `${trigger.name} is missing`)]
              const [first, ...rest] = disabled.length > 0 ? disabled : said
              if (first === undefined) return []
              const detail = rest.length === 0 ? `trigger ${first}` : `trigger ${first}, and ${rest.length} more`
              return [{ table: label, reason: "triggers", detail }]
            }),
            Effect.catchTag("TableNotWatchable", ({ detail, reason }) =>
              Effect.succeed([{ table: label, reason, detail }]))
          )
        })

        const inspect = Effect.gen(function*() {
          const tables = yield* sql<{ id: number }>`
            SELECT id FROM truss.tables t WHERE EXISTS (SELECT FROM truss.webhooks w WHERE w.table_id = t.id)
            ORDER BY table_schema, table_name`
          return (yield* Effect.forEach(tables, ({ id }) =>
            inspectTable(id))).flat()
        })

        return Capture.of({ sync: (tableId) => Effect.asVoid(sync(tableId)), reconcile, inspect })
      })
    )
}
