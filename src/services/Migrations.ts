import { PgClient } from "@effect/sql-pg"
import { Effect, Schema } from "effect"
import * as Migrator from "effect/sql/Migrator"
import { migrations } from "../../migrations/index.ts"
import { Partitions } from "./Partitions.ts"

/** The oldest PostgreSQL that has what we use (`CREATE OR REPLACE TRIGGER`, 14). */
export const oldestServer = 140000

/** The schema could not be made or brought up to date. `detail` says what to do. */
export class MigrationFailed extends Schema.TaggedError<MigrationFailed>()("MigrationFailed", {
  detail: Schema.String
}) {}

const run = Migrator.make({})({ loader: Migrator.fromRecord(migrations), table: "truss.migrations" })

// A schema's owner may drop and replace what is in it.
const requireOwnSchema = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const [stranger] = yield* sql<{ owner: string; us: string }>`
    SELECT r.rolname::text AS owner, current_user::text AS us
    FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
    WHERE n.nspname = 'truss' AND to_regclass('truss.migrations') IS NULL
      AND r.rolname <> current_user AND NOT r.rolsuper`
  if (stranger === undefined) return
  return yield* new MigrationFailed({
    detail:
      `the schema truss belongs to ${stranger.owner}, who could change what Truss Webhooks keeps in it: drop it, or ` +
      `ALTER SCHEMA truss OWNER TO ${stranger.us}`
  })
})

/**
 * Brings the schema `truss` up to date: the migrations that are missing, the first partition and the capture
 * functions. Safe to run from many processes at once; a schema newer than this version is refused.
 */
export const migrate = Effect.fn("Migrations.migrate")(function*() {
  const sql = yield* PgClient.PgClient
  const partitions = yield* Partitions
  const [server] = yield* sql<{ version: number; name: string; exists: boolean }>`
    SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS name,
      to_regnamespace('truss') IS NOT NULL AS exists`
  if (server!.version < oldestServer) {
    return yield* new MigrationFailed({ detail: `PostgreSQL ${server!.name} is too old: 14 or newer is needed` })
  }
  yield* sql.withTransaction(Effect.gen(function*() {
    yield* sql`SELECT pg_advisory_xact_lock(hashtext('truss.migrations'))`
    if (!server!.exists) yield* sql`CREATE SCHEMA IF NOT EXISTS truss`
    yield* requireOwnSchema
    yield* run
    const [applied] = yield* sql<{ last: number }>`SELECT max(migration_id)::int AS last FROM truss.migrations`
    const known = Math.max(...Object.keys(migrations).map((name) => Number.parseInt(name, 10)))
    if (applied!.last > known) {
      return yield* new MigrationFailed({
        detail: `the schema truss is at version ${applied!.last} and this program knows ${known}: use a newer version`
      })
    }
    yield* partitions.ensure
  }))
}, Effect.catchTag("MigrationError", (error) => Effect.fail(new MigrationFailed({ detail: error.message }))))
