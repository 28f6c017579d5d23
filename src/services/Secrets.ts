import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import type { SqlError } from "effect/sql"
import { SecretsUnavailable } from "../domain/Errors.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import type { WebhookHeaders } from "../domain/WebhookHeaders.ts"
import type { EncryptionKeys } from "./EncryptionKey.ts"
import { admit, type EncryptionKeyRefused, retire } from "./KeyAdmission.ts"
import { plain, texts } from "./PgArray.ts"
import { headerPlace, type Place, plainPrefix, seal, sealedPrefix, unseal } from "./Sealing.ts"
import { type StoredSecrets, unreadable } from "./Signing.ts"

/** What deliveries are signed by, of `truss.webhooks w`. */
export const secretColumns = `w.secret, w.previous_secret,
  (extract(epoch FROM w.previous_secret_until) * 1000)::float8 AS previous_secret_until`

/** A row with `secretColumns`, and the headers' JSON for who needs it: names as they are, values encrypted. */
export interface SecretRow {
  readonly secret: string | null
  readonly previous_secret: string | null
  /** Milliseconds since 1970. */
  readonly previous_secret_until: number | null
  readonly headers?: string
}

/** Secrets and headers in the clear. Where one of them cannot be read, `secret` says so and nothing else is there. */
export interface OpenSecrets extends StoredSecrets {
  readonly headers: WebhookHeaders
}

/** Encrypts a value for its place in a webhook. */
export type Seal = (id: WebhookId, place: Place, value: string) => string

/** Headers with their values encrypted. */
export const sealHeaders = (sealValue: Seal, id: WebhookId, headers: WebhookHeaders): WebhookHeaders =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, sealValue(id, headerPlace(name), value)]))

/** Webhooks that are encrypted anew in one transaction. */
const page = 500

const forgetEvery = "10 minutes"

interface StaleRow extends Pick<SecretRow, "secret" | "previous_secret"> {
  readonly id: WebhookId
  readonly headers: string
}

/** The one place that knows how signing secrets and header values are stored: encrypted, each bound to its place. */
export class Secrets extends Context.Service<Secrets, {
  /**
   * Makes the database accept this process's keys, to be done before anything is read or written; then encrypts by the
   * newest what older ones encrypted and what is stored in the clear, and says which keys can go. Refused where something
   * is encrypted by a key that this process lacks. While another process with other keys lives, those count.
   */
  readonly admit: Effect.Effect<void, EncryptionKeyRefused | SecretsUnavailable | SqlError.SqlError>
  /** The same for the process that delivers: from now on, its keys count. What it cannot read is said in the log. */
  readonly claim: Effect.Effect<void, SecretsUnavailable | SqlError.SqlError>
  /** How to encrypt what the caller's transaction stores. */
  readonly sealer: Effect.Effect<Seal, SecretsUnavailable | SqlError.SqlError>
  /** Decrypts what a row holds. What cannot be read is said in the log. */
  open(id: WebhookId, row: SecretRow): Effect.Effect<OpenSecrets>
  /** Removes secrets whose overlap has ended; done every 10 minutes by itself. */
  readonly forget: Effect.Effect<void, SqlError.SqlError>
}>()("truss/services/Secrets") {
  static readonly layer = (options: { readonly keys: EncryptionKeys }) =>
    Layer.effect(
      Secrets,
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const { keys } = options
        const ids = plain(keys.map(({ id }) => id))

        // Whoever retires a key waits for this transaction, and sees what it stored.
        const accepted = sql<{ id: string }>`
          SELECT id FROM truss.encryption_keys WHERE id = ANY (${ids}::text::text[]) FOR KEY SHARE`

        const sealingKey = Effect.gen(function*() {
          const rows = yield* accepted
          const key = keys.find(({ id }) => rows.some((row) => row.id === id))
          if (key !== undefined) return key
          const detail =
            "Another process on this database has another encryption key, which counts: nothing was changed. Give all the " +
            "same TRUSS_ENCRYPTION_KEY or encryption.key"
          yield* Effect.logError(detail, { ours: keys[0].id })
          return yield* new SecretsUnavailable({ detail })
        })

        const sealer = Effect.map(sealingKey, (key): Seal => (id, place, value) => seal(key, id, place, value))

        const open = Effect.fnUntraced(function*(id: WebhookId, row: SecretRow): Effect.fn.Return<OpenSecrets> {
          const lost: Array<Place> = []
          const value = (place: Place, sealed: string): string => {
            const opened = unseal(keys, id, place, sealed)
            if (opened === undefined) lost.push(place)
            return opened ?? ""
          }
          const secret = row.secret === null ? null : value("secret", row.secret)
          const previousSecret = row.previous_secret === null || row.previous_secret_until === null
            ? null
            : { secret: value("previous_secret", row.previous_secret), until: row.previous_secret_until }
          const stored = Object.entries(JSON.parse(row.headers ?? "{}") as WebhookHeaders)
          const headers = Object.fromEntries(stored.map(([name, sealed]) => [name, value(headerPlace(name), sealed)]))
          if (lost.length === 0) return { secret, previousSecret, headers }
          yield* Effect.logError("a webhook's secrets cannot be read, so nothing is sent for it: write them anew", {
            webhook: id,
            places: lost
          })
          return { secret: unreadable, previousSecret: null, headers: {} }
        })

        const stalePage = (after: string, prefixes: ReadonlyArray<string>) =>
          sql<StaleRow>`
            SELECT w.id::text, w.secret, w.previous_secret, w.headers::text FROM truss.webhooks w
            WHERE w.id > ${after}::text::uuid AND EXISTS (
              SELECT FROM unnest(ARRAY[w.secret, w.previous_secret] ||
                ARRAY(SELECT h.value FROM json_each_text(w.headers) h)) v
              WHERE v LIKE ANY (${texts(prefixes.map((prefix) => `${prefix}%`))}::text::text[]))
            ORDER BY w.id LIMIT ${page} FOR UPDATE`

        const write = (rows: ReadonlyArray<StaleRow>) =>
          sql`UPDATE truss.webhooks w
            SET secret = r.secret, previous_secret = r.previous_secret, headers = r.headers::json
            FROM unnest(${plain(rows.map((row) => row.id))}::text::uuid[],
              ${texts(rows.map((row) => row.secret))}::text::text[],
              ${texts(rows.map((row) => row.previous_secret))}::text::text[],
              ${texts(rows.map((row) => row.headers))}::text::text[]) AS r (id, secret, previous_secret, headers)
            WHERE w.id = r.id`

        /** Encrypts the next page after an id anew; undefined when there was none. */
        const renewPage = (after: string) =>
          sql.withTransaction(Effect.gen(function*() {
            const key = yield* sealingKey
            const others = keys.filter((other) => other.id !== key.id)
            const rows = yield* stalePage(after, [plainPrefix, ...others.map(({ id }) => sealedPrefix(id))])
            // What cannot be read stays as it is.
            const again = (id: WebhookId, place: Place, stored: string) => {
              const value = stored.startsWith(plainPrefix)
                ? stored.slice(plainPrefix.length)
                : unseal(others, id, place, stored)
              return value === undefined ? stored : seal(key, id, place, value)
            }
            const renewed = rows.map(({ headers, id, previous_secret, secret }): StaleRow => ({
              id,
              secret: secret === null ? null : again(id, "secret", secret),
              previous_secret: previous_secret === null ? null : again(id, "previous_secret", previous_secret),
              headers: JSON.stringify(sealHeaders(again, id, JSON.parse(headers)))
            }))
            if (rows.length > 0) yield* write(renewed)
            const last = rows.at(-1)
            return last === undefined ? undefined : { last: last.id, count: rows.length }
          }))

        const renew = Effect.gen(function*() {
          let after = "00000000-0000-0000-0000-000000000000"
          let count = 0
          while (true) {
            const done = yield* renewPage(after)
            if (done === undefined) break
            after = done.last
            count += done.count
            yield* Effect.logInfo("encrypting stored secrets by the newest key", { webhooks: count, key: keys[0].id })
          }
          if (count > 0) yield* Effect.logInfo("stored secrets are encrypted by the newest key", { key: keys[0].id })
          yield* retire(sql, keys)
        }).pipe(Effect.withSpan("Secrets.renew"))

        const forget = Effect.asVoid(
          sql`UPDATE truss.webhooks SET previous_secret = NULL
            WHERE previous_secret IS NOT NULL AND previous_secret_until <= clock_timestamp()`
        )
        yield* forget.pipe(
          Effect.ignoreCause({ log: "Debug" }),
          Effect.delay(forgetEvery),
          Effect.forever,
          Effect.forkScoped
        )

        const admitted = (delivers: boolean) =>
          Effect.flatMap(admit(sql, keys, delivers), (counts) => counts ? renew : Effect.void)

        return Secrets.of({
          admit: admitted(false),
          claim: Effect.catchTag(
            admitted(true),
            "EncryptionKeyRefused",
            ({ detail }) => Effect.logError(`${detail}. Webhooks with such secrets are not sent.`)
          ),
          sealer,
          open,
          forget
        })
      })
    )
}
