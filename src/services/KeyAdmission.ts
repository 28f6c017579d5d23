import type { PgClient } from "@effect/sql-pg"
import { Effect, Schema } from "effect"
import type { EncryptionKeys } from "./EncryptionKey.ts"
import { plain } from "./PgArray.ts"
import { sealedPrefix } from "./Sealing.ts"

/** The keys of this process are not those of the database. `detail` says what to do. */
export class EncryptionKeyRefused extends Schema.TaggedError<EncryptionKeyRefused>()("EncryptionKeyRefused", {
  detail: Schema.String
}) {}

/** One at a time: of two first starts, the second finds what the first has registered. */
const inTurn = <A, E>(sql: PgClient.PgClient, effect: Effect.Effect<A, E>) =>
  sql.withTransaction(Effect.andThen(sql`SELECT pg_advisory_xact_lock(hashtext('truss.encryption_keys'))`, effect))

/** Which of these keys something is encrypted by. To be asked when their rows are locked, so that nobody adds to it. */
const used = (sql: PgClient.PgClient, ids: ReadonlyArray<string>) =>
  sql<{ id: string }>`
    SELECT k.id FROM unnest(${plain(ids)}::text::text[], ${
    plain(ids.map(sealedPrefix))
  }::text::text[]) AS k (id, prefix)
    WHERE EXISTS (
      SELECT FROM truss.webhooks w, unnest(ARRAY[w.secret, w.previous_secret] ||
        ARRAY(SELECT h.value FROM json_each_text(w.headers) h)) v
      WHERE starts_with(v, k.prefix))`

const refused = (keys: EncryptionKeys, needed: ReadonlyArray<string>) =>
  new EncryptionKeyRefused({
    detail:
      `TRUSS_ENCRYPTION_KEY: the database holds secrets encrypted by ${needed.join(", ")}, and this process has ` +
      `${keys.map(({ id }) => id).join(", ")}: give every process on this database the same keys, in ` +
      "TRUSS_ENCRYPTION_KEY or as the same encryption.key in its data folder (docs/guide/secrets.md; also for a lost key)"
  })

/** Whether another process has shown a sign of life lately. */
const isAnotherAlive = (sql: PgClient.PgClient, ids: string) =>
  Effect.map(
    sql<{ alive: boolean | null }>`
      SELECT max(at) > clock_timestamp() - interval '10 seconds' AS alive
      FROM (SELECT beat AS at FROM truss.runners UNION ALL
        SELECT registered_at FROM truss.encryption_keys WHERE id <> ALL (${ids}::text::text[])) signs`,
    ([row]) => row!.alive === true
  )

/**
 * Registers the newest key, and tells whether it counts. Refused where something is encrypted by a registered key that is
 * not among these. Where nothing is, such keys give way if no process is left that may have them, or this one `delivers`;
 * else the process goes on, and can store no secrets.
 */
export const admit = Effect.fn("Secrets.admit")(
  function*(sql: PgClient.PgClient, keys: EncryptionKeys, delivers: boolean) {
    const ids = plain(keys.map(({ id }) => id))
    return yield* inTurn(
      sql,
      Effect.gen(function*() {
        const foreign = (yield* sql<{ id: string }>`
          SELECT id FROM truss.encryption_keys WHERE id <> ALL (${ids}::text::text[]) ORDER BY id FOR UPDATE`)
          .map(({ id }) => id)
        if (foreign.length > 0) {
          const needed = (yield* used(sql, foreign)).map(({ id }) => id)
          if (needed.length > 0) return yield* refused(keys, needed)
          if (!delivers && (yield* isAnotherAlive(sql, ids))) {
            yield* Effect.logWarning(
              "another process on this database has other encryption keys: this one can store no secrets until all have the " +
                "same (docs/guide/secrets.md)",
              { theirs: foreign, ours: keys.map(({ id }) => id) }
            )
            return false
          }
          yield* sql`DELETE FROM truss.encryption_keys WHERE id = ANY (${plain(foreign)}::text::text[])`
        }
        yield* sql`INSERT INTO truss.encryption_keys (id) VALUES (${keys[0].id}) ON CONFLICT DO NOTHING`
        return true
      })
    )
  }
)

/** Forgets the keys that nothing is encrypted by any more, and says so: they can be removed from the settings. */
export const retire = (sql: PgClient.PgClient, [newest, ...older]: EncryptionKeys) =>
  inTurn(
    sql,
    Effect.gen(function*() {
      if (older.length === 0) return
      const ids = older.map(({ id }) => id)
      yield* sql`SELECT FROM truss.encryption_keys WHERE id = ANY (${plain(ids)}::text::text[]) ORDER BY id FOR UPDATE`
      const needed = new Set((yield* used(sql, ids)).map(({ id }) => id))
      const over = ids.filter((id) => !needed.has(id))
      yield* sql`DELETE FROM truss.encryption_keys WHERE id = ANY (${plain(over)}::text::text[])`
      if (over.length > 0) {
        yield* Effect.logInfo("older encryption keys are not needed any more: remove them from TRUSS_ENCRYPTION_KEY", {
          removable: over,
          newest: newest.id
        })
      }
      if (needed.size > 0) yield* Effect.logWarning("older encryption keys are still needed", { needed: [...needed] })
    })
  )
