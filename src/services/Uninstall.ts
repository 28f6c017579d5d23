import { PgClient } from "@effect/sql-pg"
import { Effect, Schema } from "effect"
import { SqlError } from "effect/sql"
import { withTriggerLock } from "./Capture.ts"
import { reasonOf, sqlState } from "./Database.ts"
import { dispatcherSession } from "./DispatcherLock.ts"
import { identifier } from "./Quoting.ts"

/** The kinds of objects in the schema `truss`, in the order in which they can be dropped, by the names that we give. */
const made: ReadonlyArray<readonly [kind: string, name: RegExp]> = [
  [
    "table",
    new RegExp(
      "^(migrations|slots|tables|webhooks|cursors|due|jobs|alerts|audit|api_keys|idempotency|leader|runners|origin" +
        "|incarnation|events|attempts|encryption_keys|sessions|cluster_runners|cluster_shards|cursor_parts|job_parts)$"
    )
  ],
  ["function", /^(only|without|part_of|capture_[0-9]+_(?:[a-z]+|json_[0-9]+)|select_[0-9a-f]{32})$/],
  ["sequence", /^(bell|event_seq|attempt_seq|epoch_seq)$/],
  ["type", /^(event_type|outcome)$/]
]

/** What the service has made in a database. */
export interface Installed {
  readonly triggers: ReadonlyArray<{ readonly name: string; readonly table: string }>
  /** Objects of the schema `truss`, with their schema, quoted where need be. */
  readonly objects: ReadonlyArray<{ readonly kind: string; readonly identity: string }>
  /** The role that the schema belongs to, if ours may not drop it. */
  readonly foreignOwner: string | null
  /** Addresses of the processes that use it now. */
  readonly running: ReadonlyArray<string>
}

/** A service uses the database. */
export class StillRunning extends Schema.TaggedError<StillRunning>()("StillRunning", {
  addresses: Schema.Array(Schema.String)
}) {}

/** PostgreSQL refused, and nothing was removed: `detail` says what to do. */
export class UninstallRefused extends Schema.TaggedError<UninstallRefused>()("UninstallRefused", {
  detail: Schema.String
}) {}

const schemaQuery = `
  SELECT CASE WHEN NOT pg_has_role(nspowner, 'USAGE') THEN pg_get_userbyid(nspowner)::text END AS foreign_owner
  FROM pg_namespace WHERE nspname = 'truss'`

const triggersQuery = `
  SELECT g.tgname::text AS name, g.tgrelid::regclass::text AS table
  FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
  WHERE p.pronamespace = 'truss'::regnamespace AND NOT g.tgisinternal AND g.tgparentid = 0
    AND g.tgname ~ '^00_truss_[a-z]+_[0-9]+$'
  ORDER BY g.tgrelid, g.tgname`

// What belongs to a table, such as its partitions and the sequence of an identity column, goes with it.
const objectsQuery = `
  SELECT i.type AS kind, coalesce(p.proname, i.name) AS name, i.identity
  FROM pg_depend d CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) i
  LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
  WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'truss'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend o
      WHERE o.classid = d.classid AND o.objid = d.objid AND o.deptype IN ('a', 'i')
        AND o.refclassid = 'pg_class'::regclass AND o.refobjid <> o.objid)
  ORDER BY i.identity`

// Whoever delivers holds a lock, whatever it last wrote; a standby says every two seconds that it lives.
const deliversQuery = `SELECT 'pid ' || l.pid AS address FROM (${dispatcherSession}) l`

const runnersQuery =
  "SELECT address FROM truss.runners WHERE beat > clock_timestamp() - interval '10 seconds' ORDER BY 1"

/** What there is to remove; `undefined` where the service never was. Reads the catalog only. */
export const findInstalled = Effect.fn("Uninstall.find")(function*() {
  const sql = yield* PgClient.PgClient
  const [schema] = yield* sql.unsafe<{ foreign_owner: string | null }>(schemaQuery)
  if (schema === undefined) return undefined
  const triggers = yield* sql.unsafe<Installed["triggers"][number]>(triggersQuery)
  const found = yield* sql.unsafe<{ kind: string; name: string; identity: string }>(objectsQuery)
  const objects = made.flatMap(([kind, pattern]) =>
    found.filter((object) => object.kind === kind && pattern.test(object.name))
  )
  const runners = objects.some(({ identity }) => identity === "truss.runners")
    ? yield* sql.unsafe<{ address: string }>(runnersQuery)
    : []
  const running = runners.length > 0 ? runners : yield* sql.unsafe<{ address: string }>(deliversQuery)
  return {
    triggers,
    objects,
    foreignOwner: schema.foreign_owner,
    running: running.map(({ address }) => address)
  } satisfies Installed as Installed
})

/** Without CASCADE: PostgreSQL refuses where something that others made depends on what is dropped. */
const statementsOf = ({ foreignOwner, objects, triggers }: Installed): ReadonlyArray<string> => [
  ...triggers.map(({ name, table }) => `DROP TRIGGER ${identifier(name)} ON ${table}`),
  ...made.flatMap(([kind]) => {
    const identities = objects.filter((object) => object.kind === kind).map(({ identity }) => identity)
    return identities.length === 0 ? [] : [`DROP ${kind} ${identities.join(", ")}`]
  }),
  ...(foreignOwner === null ? ["DROP SCHEMA truss"] : [])
]

/** Which object stands in the way. */
const detailOf = (error: SqlError.SqlError): string => {
  const { cause } = error.reason as { readonly cause?: unknown }
  const detail = typeof cause === "object" && cause !== null && "detail" in cause ? cause.detail : undefined
  return typeof detail === "string" ? detail.split("\n").join("; ") : reasonOf(error)
}

const refused = (error: SqlError.SqlError): Effect.Effect<never, SqlError.SqlError | UninstallRefused> => {
  switch (sqlState(error)) {
    case "2BP01":
      return Effect.fail(
        new UninstallRefused({
          detail: `${detailOf(error)}. Nothing was removed: drop or move what is yours first`
        })
      )
    case "42501":
      return Effect.fail(
        new UninstallRefused({
          detail: `${reasonOf(error)}. Nothing was removed: connect as a role that is a member of the owner`
        })
      )
    default:
      return Effect.fail(error)
  }
}

/**
 * Removes every trigger, function, table, sequence and type that the service made, and the schema `truss`, in one
 * transaction, and nothing else: what others made there, or made to depend on it, is a refusal. Waits for locks as the
 * capture does. Returns what was removed; `undefined` where there was nothing.
 */
export const uninstall = Effect.fn("Uninstall.run")(function*(options: { readonly force: boolean }) {
  const sql = yield* PgClient.PgClient
  const transaction = Effect.gen(function*() {
    // Nobody starts meanwhile.
    yield* sql`SELECT pg_advisory_xact_lock(hashtext('truss.migrations'))`
    const installed = yield* findInstalled()
    if (installed === undefined) return undefined
    if (installed.running.length > 0 && !options.force) {
      return yield* new StillRunning({ addresses: installed.running })
    }
    for (const statement of statementsOf(installed)) yield* sql.unsafe(statement)
    return installed
  })
  if ((yield* findInstalled()) === undefined) return undefined
  return yield* withTriggerLock(sql, "A watched table or the schema truss", transaction)
}, Effect.catchIf(SqlError.isSqlError, refused))
