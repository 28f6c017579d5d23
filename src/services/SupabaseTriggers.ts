import { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"
import type { SupabaseTrigger } from "../domain/SupabaseTrigger.ts"

interface TriggerRow extends Omit<SupabaseTrigger, "args" | "condition"> {
  readonly args: string
  readonly definition: string
}

/** Arguments are kept one after the other, each ended by a zero byte. */
const argumentsOf = (hex: string) => Buffer.from(hex, "hex").toString("utf8").split("\0").slice(0, -1)

const conditionOf = (definition: string) => / WHEN (\(.*\)) EXECUTE FUNCTION /s.exec(definition)?.[1] ?? null

/** Every database webhook of Supabase, by table and name; those of partitions are their parent's. */
export const readSupabaseTriggers: Effect.Effect<
  ReadonlyArray<SupabaseTrigger>,
  SqlError.SqlError,
  PgClient.PgClient
> = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const rows = yield* sql<TriggerRow>`
    SELECT t.tgname::text AS name, n.nspname::text AS table_schema, c.relname::text AS table_name, t.tgtype::int AS type,
      t.tgenabled::text AS enabled, encode(t.tgargs, 'hex') AS args, pg_get_triggerdef(t.oid) AS definition,
      ARRAY(SELECT a.attname::text FROM unnest(t.tgattr::int2[]) WITH ORDINALITY AS u (number, place)
        JOIN pg_attribute a ON a.attrelid = t.tgrelid AND a.attnum = u.number ORDER BY u.place) AS columns
    FROM pg_trigger t
      JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace f ON f.oid = p.pronamespace
    WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND p.proname = 'http_request' AND f.nspname = 'supabase_functions'
    ORDER BY n.nspname, c.relname, t.tgname`
  return rows.map(({ args, definition, ...rest }) => ({
    ...rest,
    args: argumentsOf(args),
    condition: conditionOf(definition)
  }))
})
