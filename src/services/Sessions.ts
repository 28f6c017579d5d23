import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted } from "effect"
import { createHash, createHmac, randomBytes } from "node:crypto"
import type { KeyScope } from "../domain/ApiKey.ts"
import type { DatabaseUnavailable } from "../domain/Errors.ts"
import { ApiKeys, type ApiKeysOptions, type KeyOwner } from "./ApiKeys.ts"
import { Actor, Audit } from "./Audit.ts"
import { orUnavailable } from "./Database.ts"

/** A session ends after this, used or not. */
export const sessionSeconds = 12 * 60 * 60

/** Of one key, the newest so many are kept. */
const sessionsPerKey = 1_000
const forgetEvery = "10 minutes"

interface Row {
  readonly key_id: string | null
  readonly name: string | null
  readonly scope: KeyScope | null
}

const isToken = (text: string) => /^[A-Za-z0-9_-]{43}$/.test(text)

/**
 * Sessions that API keys were traded for, for every process on the database. A token is 32 random bytes in base64url, of
 * which only a hash is stored. A session ends with its key: it goes with the key's row, and that of the configured key is
 * hashed with the key (HMAC-SHA256), so that another one finds it no more and nothing about the key is stored.
 */
export class Sessions extends Context.Service<Sessions, {
  /** A new session's token, or `undefined` when the key is nobody's. */
  create(key: Redacted.Redacted): Effect.Effect<Redacted.Redacted | undefined, DatabaseUnavailable>
  /** The owner of the key that the session stands for, while both are valid. */
  verify(token: Redacted.Redacted): Effect.Effect<KeyOwner | undefined, DatabaseUnavailable>
  /** Holds at once in every process; does nothing when there is no such session. */
  end(token: Redacted.Redacted): Effect.Effect<void, DatabaseUnavailable>
  /** Removes what has expired; done every 10 minutes by itself. */
  readonly forget: Effect.Effect<void, DatabaseUnavailable>
}>()("truss/services/Sessions") {
  static readonly layer = (options?: ApiKeysOptions) =>
    Layer.effect(
      Sessions,
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const keys = yield* ApiKeys
        const audit = yield* Audit
        const apiKey = options?.apiKey

        const hashOf = (token: string) => createHash("sha256").update(token).digest()
        const configuredHashOf = (token: string) =>
          apiKey === undefined
            ? undefined
            : createHmac("sha256", Redacted.value(apiKey)).update(token).digest()

        // A hash is as good as random to whoever sends tokens: the index may compare it.
        const isTokens = (token: string) => {
          const configured = configuredHashOf(token)
          return configured === undefined
            ? sql`s.hash = ${hashOf(token)}`
            : sql`s.hash IN (${hashOf(token)}, ${configured})`
        }

        const ownerOf = ({ key_id, name, scope }: Row): KeyOwner =>
          key_id === null
            ? { id: null, name: "TRUSS_API_KEY", scope: "write" }
            : { id: key_id, name: name!, scope: scope! }

        const expiry = sql`clock_timestamp() + ${sessionSeconds}::int * interval '1 second'`

        // The lock keeps a key that is just being revoked from leaving a session behind.
        const insertFor = (id: string, hash: Uint8Array) =>
          sql`INSERT INTO truss.sessions (hash, key_id, expires_at)
            SELECT ${hash}, k.id, ${expiry} FROM truss.api_keys k WHERE k.id = ${id}::uuid FOR KEY SHARE
            RETURNING key_id`

        const insertConfigured = (hash: Uint8Array) =>
          sql`INSERT INTO truss.sessions (hash, expires_at) VALUES (${hash}, ${expiry}) RETURNING key_id`

        const trim = (id: string | null) =>
          sql`DELETE FROM truss.sessions WHERE hash IN (
            SELECT hash FROM truss.sessions WHERE ${id === null ? sql`key_id IS NULL` : sql`key_id = ${id}::uuid`}
            ORDER BY created_at DESC OFFSET ${sessionsPerKey}::int)`

        const record = (action: "session.created" | "session.ended", { id, name, scope }: KeyOwner) =>
          audit.record({ action, webhookId: null, detail: { key_id: id, scope } }).pipe(
            Effect.provideService(Actor, name)
          )

        const create = Effect.fn("Sessions.create")(function*(key: Redacted.Redacted) {
          const owner = yield* keys.verify(key)
          if (owner === undefined) return undefined
          const token = randomBytes(32).toString("base64url")
          return yield* sql.withTransaction(Effect.gen(function*() {
            const [row] = yield* owner.id === null
              ? insertConfigured(configuredHashOf(token)!)
              : insertFor(owner.id, hashOf(token))
            if (row === undefined) return undefined
            yield* trim(owner.id)
            yield* record("session.created", owner)
            return Redacted.make(token, { label: "session" })
          }))
        }, orUnavailable)

        const verify = Effect.fn("Sessions.verify")(function*(token: Redacted.Redacted) {
          const text = Redacted.value(token)
          if (!isToken(text)) return undefined
          const [row] = yield* sql<Row>`
            SELECT s.key_id::text, k.name, k.scope FROM truss.sessions s LEFT JOIN truss.api_keys k ON k.id = s.key_id
            WHERE ${isTokens(text)} AND s.expires_at > clock_timestamp()`
          return row && ownerOf(row)
        }, orUnavailable)

        const end = Effect.fn("Sessions.end")(function*(token: Redacted.Redacted) {
          const text = Redacted.value(token)
          if (!isToken(text)) return
          yield* sql.withTransaction(Effect.gen(function*() {
            const [row] = yield* sql<Row>`
              WITH ended AS (DELETE FROM truss.sessions s WHERE ${isTokens(text)} RETURNING s.key_id)
              SELECT e.key_id::text, k.name, k.scope FROM ended e LEFT JOIN truss.api_keys k ON k.id = e.key_id`
            if (row !== undefined) yield* record("session.ended", ownerOf(row))
          }))
        }, orUnavailable)

        const forget = orUnavailable(
          sql`DELETE FROM truss.sessions WHERE expires_at <= clock_timestamp()`
        ).pipe(Effect.asVoid)

        yield* forget.pipe(
          Effect.ignoreCause({ log: "Debug" }),
          Effect.delay(forgetEvery),
          Effect.forever,
          Effect.forkScoped
        )

        return Sessions.of({ create, verify, end, forget })
      })
    )
}
