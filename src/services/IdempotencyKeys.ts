import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import type { SqlError } from "effect/sql"
import { createHmac } from "node:crypto"
import type { DatabaseUnavailable } from "../domain/Errors.ts"
import { orUnavailable } from "./Database.ts"
import type { EncryptionKey, EncryptionKeys } from "./EncryptionKey.ts"

/** An answer as it was given, without what is shown only once. */
export interface KeptAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Who asks for what. `digest` is a hash of the method, the path and the body. */
export interface KeyedRequest {
  readonly owner: string
  readonly key: string
  readonly digest: Uint8Array
}

/** What is known of a key: nothing yet, so that the request is to be run; its answer; or why there is none. */
export type Claim =
  | { readonly _tag: "Run"; readonly token: string }
  | { readonly _tag: "Kept"; readonly answer: KeptAnswer }
  | { readonly _tag: "Running" }
  | { readonly _tag: "Reused" }

/** A request that has not said for so long that it runs was cut off, with its process or its database. */
const abandonedAfter = "20 seconds"
const forgetEvery = "10 minutes"

/** What is stored of a digest. Without the key nobody can try which body it was, such as one with a short secret. */
const fingerprintOf = ({ digest }: KeyedRequest, { material }: EncryptionKey) =>
  createHmac("sha256", material).update("truss-webhooks idempotency").update(digest).digest()

/** The answers to requests with an `Idempotency-Key`, kept for 24 hours, for every process on the database. */
export class IdempotencyKeys extends Context.Service<IdempotencyKeys, {
  claim(request: KeyedRequest): Effect.Effect<Claim, DatabaseUnavailable>
  /** Says that the request still runs: to be said more often than every 20 seconds. */
  renew(token: string, request: KeyedRequest): Effect.Effect<void, DatabaseUnavailable>
  keep(token: string, request: KeyedRequest, answer: KeptAnswer): Effect.Effect<void, DatabaseUnavailable>
  /** The key is as if it had never been used. */
  release(token: string, request: KeyedRequest): Effect.Effect<void, DatabaseUnavailable>
  /** Removes answers that were kept for 24 hours; done every 10 minutes by itself. */
  readonly forget: Effect.Effect<void, DatabaseUnavailable>
}>()("truss/services/IdempotencyKeys") {
  static readonly layer = (options: { readonly keys: EncryptionKeys }) =>
    Layer.effect(
      IdempotencyKeys,
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const [newest] = options.keys

        const insert = (request: KeyedRequest) =>
          sql<{ token: string }>`
          INSERT INTO truss.idempotency AS i (owner, key, fingerprint, token)
          VALUES (${request.owner}, ${request.key}, ${fingerprintOf(request, newest)}, gen_random_uuid())
          ON CONFLICT (owner, key) DO UPDATE SET fingerprint = excluded.fingerprint, token = excluded.token,
            created_at = excluded.created_at, alive_at = excluded.alive_at, status = NULL, headers = NULL, body = NULL
          WHERE i.created_at < clock_timestamp() - interval '24 hours'
            OR i.status IS NULL AND i.alive_at < clock_timestamp() - ${abandonedAfter}::text::interval
          RETURNING token::text`

        const select = ({ key, owner }: KeyedRequest) =>
          sql<{ fingerprint: Uint8Array; status: number | null; headers: string; body: string }>`
          SELECT fingerprint, status, headers::text, body FROM truss.idempotency
          WHERE owner = ${owner} AND key = ${key}`

        // The first request may have come before the newest key did, or to a process that does not have it yet.
        const isSame = (request: KeyedRequest, fingerprint: Uint8Array) =>
          options.keys.some((key) => fingerprintOf(request, key).equals(fingerprint))

        const claim = Effect.fn("IdempotencyKeys.claim")(
          function*(request: KeyedRequest): Effect.fn.Return<Claim, SqlError.SqlError> {
            while (true) {
              const [mine] = yield* insert(request)
              if (mine !== undefined) return { _tag: "Run", token: mine.token }
              const [row] = yield* select(request)
              // Released in between.
              if (row === undefined) continue
              if (!isSame(request, row.fingerprint)) return { _tag: "Reused" }
              if (row.status === null) return { _tag: "Running" }
              return {
                _tag: "Kept",
                answer: { status: row.status, headers: JSON.parse(row.headers), body: row.body }
              }
            }
          },
          orUnavailable
        )

        const mine = (token: string, { key, owner }: KeyedRequest) =>
          sql`owner = ${owner} AND key = ${key} AND token = ${token}::text::uuid AND status IS NULL`

        const renew = (token: string, request: KeyedRequest) =>
          orUnavailable(
            sql`UPDATE truss.idempotency SET alive_at = clock_timestamp() WHERE ${mine(token, request)}`
          ).pipe(Effect.asVoid)

        const keep = (token: string, request: KeyedRequest, { body, headers, status }: KeptAnswer) =>
          orUnavailable(
            sql`UPDATE truss.idempotency
            SET status = ${status}::int2, headers = ${JSON.stringify(headers)}::text::json, body = ${body}
            WHERE ${mine(token, request)}`
          ).pipe(Effect.asVoid)

        const release = (token: string, request: KeyedRequest) =>
          orUnavailable(sql`DELETE FROM truss.idempotency WHERE ${mine(token, request)}`).pipe(Effect.asVoid)

        const forget = orUnavailable(
          sql`DELETE FROM truss.idempotency WHERE created_at < clock_timestamp() - interval '24 hours'`
        ).pipe(Effect.asVoid)

        yield* forget.pipe(
          Effect.ignoreCause({ log: "Debug" }),
          Effect.delay(forgetEvery),
          Effect.forever,
          Effect.forkScoped
        )

        return IdempotencyKeys.of({ claim, renew, keep, release, forget })
      })
    )
}
