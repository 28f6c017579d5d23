import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted } from "effect"
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { type ApiKey, ApiKeyNotFound, isGeneratedKey, keyPrefix, type KeyScope } from "../domain/ApiKey.ts"
import { type DatabaseUnavailable, InvalidParameter } from "../domain/Errors.ts"
import { Audit } from "./Audit.ts"
import { orUnavailable } from "./Database.ts"
import { atPosition, decodeCursor, encodeCursor, positionOf } from "./PageCursor.ts"
import { pageRead } from "./PageRead.ts"

/** Who a valid key stands for; `id` is null for the configured key, which is not stored. */
export interface KeyOwner {
  readonly id: string | null
  readonly name: string
  readonly scope: KeyScope
}

/** A new key: the only time that `key` is there. */
export interface CreatedKey extends ApiKey {
  readonly key: Redacted.Redacted
}

/** A page of keys, oldest first. */
export interface KeyPage {
  readonly data: ReadonlyArray<ApiKey>
  readonly next_cursor: string | null
}

export interface ApiKeysOptions {
  /** A key with write scope that is accepted without being stored. */
  readonly apiKey?: Redacted.Redacted | undefined
}

interface Row {
  readonly id: string
  readonly name: string
  readonly scope: KeyScope
  readonly prefix: string
  readonly created_at: Date
  readonly last_used_at: Date | null
  readonly position: string
}

const columns = `id::text, name, scope, prefix, created_at, last_used_at, ${positionOf("created_at")} AS position`

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
// oxlint-disable-next-line no-control-regex
const unprintable = /[\u0000-\u001f\u007f]/

const sha256 = (key: string) => createHash("sha256").update(key, "utf8").digest()

const show = (row: Row): ApiKey => ({
  id: row.id,
  name: row.name,
  scope: row.scope,
  prefix: row.prefix,
  created_at: row.created_at.toISOString(),
  last_used_at: row.last_used_at?.toISOString() ?? null
})

/** API keys. The database holds their SHA-256 and their first 16 characters, never the keys. */
export class ApiKeys extends Context.Service<ApiKeys, {
  /** `name` has 1 to 200 characters. */
  create(name: string, scope: KeyScope): Effect.Effect<CreatedKey, InvalidParameter | DatabaseUnavailable>
  /** Oldest first. */
  readonly list: Effect.Effect<ReadonlyArray<ApiKey>, DatabaseUnavailable>
  page(
    query: { readonly limit: number; readonly cursor?: string | undefined }
  ): Effect.Effect<KeyPage, InvalidParameter | DatabaseUnavailable>
  /** Holds at once in this process and in every other. */
  revoke(id: string): Effect.Effect<void, ApiKeyNotFound | DatabaseUnavailable>
  /** Whose key it is, or `undefined` when it is nobody's. */
  verify(key: Redacted.Redacted): Effect.Effect<KeyOwner | undefined, DatabaseUnavailable>
  /** Whether there is any key that `verify` would accept. */
  readonly any: Effect.Effect<boolean, DatabaseUnavailable>
}>()("truss/services/ApiKeys") {
  static readonly layer = (options?: ApiKeysOptions): Layer.Layer<ApiKeys, never, PgClient.PgClient> =>
    Layer.effect(
      ApiKeys,
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const inTime = pageRead(sql)
        const audit = yield* Audit
        const scope = yield* Effect.scope
        const configured = options?.apiKey === undefined ? undefined : sha256(Redacted.value(options.apiKey))
        const touching = new Set<string>()

        const insert = (name: string, scope: KeyScope, prefix: string, hash: Uint8Array) =>
          sql<Row>`INSERT INTO truss.api_keys (name, scope, prefix, hash) VALUES (${name}, ${scope}, ${prefix}, ${hash})
            RETURNING ${sql.literal(columns)}`

        const select = (after: readonly [string, string] | undefined, limit: number | null) =>
          sql.unsafe<Row>(
            `SELECT ${columns} FROM truss.api_keys
            WHERE $1::int8 IS NULL OR (created_at, id) > ${atPosition("$1", "$2")}
            ORDER BY created_at, id LIMIT $3`,
            [after?.[0] ?? null, after?.[1] ?? null, limit]
          )

        const selectByHash = (hash: Uint8Array) =>
          sql<{ id: string; name: string; scope: KeyScope; hash: Uint8Array; stale: boolean }>`
            SELECT id::text, name, scope, hash,
              last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute' AS stale
            FROM truss.api_keys WHERE hash = ${hash}`

        const touch = (id: string) =>
          sql`UPDATE truss.api_keys SET last_used_at = clock_timestamp()
            WHERE id = ${id}::uuid AND (last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute')`
            .pipe(
              Effect.catchCause((cause) => Effect.logDebug("the use of an API key was not noted", cause)),
              Effect.ensuring(Effect.sync(() => touching.delete(id)))
            )

        const create = Effect.fn("ApiKeys.create")(function*(name: string, scope: KeyScope) {
          if (name.length < 1 || name.length > 200 || unprintable.test(name) || !name.isWellFormed()) {
            return yield* new InvalidParameter({
              path: "name",
              message: "must have 1 to 200 characters, without control characters"
            })
          }
          const key = keyPrefix + randomBytes(32).toString("base64url")
          const row = yield* sql.withTransaction(Effect.gen(function*() {
            const [row] = yield* insert(name, scope, key.slice(0, 16), sha256(key))
            yield* audit.record({ action: "key.created", webhookId: null, detail: { key_id: row!.id, name, scope } })
            return row!
          }))
          return { ...show(row), key: Redacted.make(key, { label: "api key" }) }
        }, orUnavailable)

        const list = Effect.map(select(undefined, null), (rows) => rows.map(show)).pipe(
          orUnavailable,
          Effect.withSpan("ApiKeys.list")
        )

        const page = Effect.fn("ApiKeys.page")(function*({ cursor, limit }: {
          readonly limit: number
          readonly cursor?: string | undefined
        }) {
          const after = cursor === undefined ? undefined : yield* decodeCursor("keys", cursor)
          const rows = yield* select(after, limit + 1)
          const shown = rows.slice(0, limit)
          const last = shown.at(-1)
          return {
            data: shown.map(show),
            next_cursor: rows.length > shown.length && last !== undefined ? encodeCursor("keys", last) : null
          }
        }, inTime)

        const revoke = Effect.fn("ApiKeys.revoke")(function*(id: string) {
          if (!uuid.test(id)) return yield* new ApiKeyNotFound({ id })
          const revoked = yield* sql.withTransaction(Effect.gen(function*() {
            const [row] = yield* sql<{ name: string; scope: KeyScope }>`
              DELETE FROM truss.api_keys WHERE id = ${id}::uuid RETURNING name, scope`
            if (row !== undefined) {
              yield* audit.record({ action: "key.revoked", webhookId: null, detail: { key_id: id, ...row } })
            }
            return row !== undefined
          }))
          if (!revoked) return yield* new ApiKeyNotFound({ id })
        }, orUnavailable)

        const verify = Effect.fn("ApiKeys.verify")(function*(key: Redacted.Redacted) {
          const text = Redacted.value(key)
          const hash = sha256(text)
          if (configured !== undefined && timingSafeEqual(hash, configured)) {
            return { id: null, name: "TRUSS_API_KEY", scope: "write" as const }
          }
          if (!isGeneratedKey(text)) return undefined
          const [row] = yield* selectByHash(hash)
          if (row === undefined || !timingSafeEqual(hash, row.hash)) return undefined
          if (row.stale && !touching.has(row.id)) {
            touching.add(row.id)
            yield* Effect.forkIn(touch(row.id), scope)
          }
          return { id: row.id, name: row.name, scope: row.scope }
        }, orUnavailable)

        const any = Effect.suspend(() =>
          configured !== undefined
            ? Effect.succeed(true)
            : Effect.map(
              sql<{ found: boolean }>`SELECT EXISTS (SELECT 1 FROM truss.api_keys) AS found`,
              ([row]) => row!.found
            )
        ).pipe(orUnavailable, Effect.withSpan("ApiKeys.any"))

        return ApiKeys.of({ create, list, page, revoke, verify, any })
      })
    ).pipe(Layer.provide(Audit.layer))
}
