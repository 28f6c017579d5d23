import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"

const tables = [
  "slots",
  "tables",
  "encryption_keys",
  "webhooks",
  "cursors",
  "events",
  "attempts",
  "due",
  "api_keys",
  "origin",
  "incarnation",
  "leader"
]

/**
 * Copies the schema `truss` as `pg_dump` and `pg_restore` would, between two servers: rows as they are, under
 * transaction numbers of the target. (The embedded server has no `pg_dump`, and the system's may be older.) The target
 * has the schema as `migrate` leaves it, and as many partitions.
 */
export const copySchema = Effect.fnUntraced(function*(from: PgClient.PgClient, to: PgClient.PgClient) {
  yield* to.withTransaction(Effect.gen(function*() {
    yield* to`SET LOCAL session_replication_role = replica`
    yield* to.unsafe(`TRUNCATE ${tables.map((name) => `truss.${name}`).join(", ")} CASCADE`)
    for (const table of tables) {
      const [rows] = yield* from.unsafe<{ all: string }>(
        `SELECT coalesce(json_agg(t), '[]')::text AS all FROM truss.${table} t`
      )
      yield* to.unsafe(
        `INSERT INTO truss.${table} OVERRIDING SYSTEM VALUE
          SELECT * FROM json_populate_recordset(NULL::truss.${table}, $1::text::json)`,
        [rows!.all]
      )
    }
    const sequences = yield* from<{ name: string; value: string }>`
      SELECT format('%I.%I', schemaname, sequencename) AS name, last_value::text AS value FROM pg_sequences
      WHERE schemaname = 'truss' AND last_value IS NOT NULL`
    for (const { name, value } of sequences) yield* to`SELECT setval(${name}, ${value}::text::int8)`
    const functions = yield* from<{ definition: string }>`
      SELECT pg_get_functiondef(oid) AS definition FROM pg_proc
      WHERE pronamespace = 'truss'::regnamespace AND proname ~ '^(capture|select)_'`
    for (const { definition } of functions) yield* to.unsafe(definition)
    const triggers = yield* from<{ definition: string }>`
      SELECT pg_get_triggerdef(oid) AS definition FROM pg_trigger WHERE tgname LIKE '00\\_truss%' AND NOT tgisinternal`
    for (const { definition } of triggers) yield* to.unsafe(definition)
  }))
})
