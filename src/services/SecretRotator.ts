import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, PubSub } from "effect"
import { type DatabaseUnavailable, type SecretsUnavailable, WebhookNotFound } from "../domain/Errors.ts"
import type { RotatedSecret, SecretRotation } from "../domain/SecretRotation.ts"
import { isWebhookId, type WebhookId } from "../domain/Webhook.ts"
import { Audit } from "./Audit.ts"
import { orUnavailable } from "./Database.ts"
import { secretColumns, type SecretRow, Secrets } from "./Secrets.ts"
import { generateSecret } from "./Signing.ts"
import { announce, WebhookChanges } from "./WebhookChanges.ts"

/** Gives webhooks new secrets while receivers still verify with the old ones. */
export class SecretRotator extends Context.Service<SecretRotator, {
  /** The secret that was current becomes the previous one; one that was the previous is forgotten. */
  rotate(
    id: string,
    rotation: SecretRotation
  ): Effect.Effect<RotatedSecret, WebhookNotFound | SecretsUnavailable | DatabaseUnavailable>
}>()("truss/services/SecretRotator") {
  static readonly layer = Layer.effect(
    SecretRotator,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const audit = yield* Audit
      const secrets = yield* Secrets
      const changes = yield* WebhookChanges

      const lock = (id: WebhookId) =>
        sql.unsafe<SecretRow>(`SELECT ${secretColumns} FROM truss.webhooks w WHERE w.id = $1::uuid FOR UPDATE`, [id])

      // Without an overlap the secret before is not kept; its time says that there was one.
      const write = (id: WebhookId, secret: string, previous: string | null, overlapSeconds: number) =>
        sql<{ until: Date | null }>`
          UPDATE truss.webhooks SET secret = ${secret}, previous_secret = ${previous},
            previous_secret_until = CASE WHEN secret IS NOT NULL
              THEN date_trunc('milliseconds', clock_timestamp()) + ${overlapSeconds}::int * interval '1 second' END,
            updated_at = clock_timestamp()
          WHERE id = ${id}::text::uuid RETURNING previous_secret_until AS until`

      const replace = Effect.fnUntraced(function*(id: WebhookId, secret: string, overlapSeconds: number) {
        const seal = yield* secrets.sealer
        const [row] = yield* lock(id)
        if (row === undefined) return yield* new WebhookNotFound({ id })
        const { secret: current } = yield* secrets.open(id, row)
        // One that cannot be read signs nothing any more.
        const overlap = typeof current === "string" ? overlapSeconds : 0
        const previous = typeof current === "string" && overlap > 0 ? seal(id, "previous_secret", current) : null
        const [written] = yield* write(id, seal(id, "secret", secret), previous, overlap)
        return written!.until
      })

      const rotate = Effect.fn("SecretRotator.rotate")(function*(id: string, rotation: SecretRotation) {
        if (!isWebhookId(id)) return yield* new WebhookNotFound({ id })
        const secret = rotation.secret ?? generateSecret()
        const until = yield* sql.withTransaction(Effect.gen(function*() {
          const until = yield* replace(id, secret, rotation.overlap_seconds)
          yield* audit.record({
            action: "webhook.secret_rotated",
            webhookId: id,
            detail: { overlap_seconds: rotation.overlap_seconds, generated: rotation.secret === undefined }
          })
          yield* announce(sql, id)
          return until
        }))
        yield* PubSub.publish(changes, id)
        return { secret, previous_valid_until: until?.toISOString() ?? null }
      }, orUnavailable)

      return SecretRotator.of({ rotate })
    })
  )
}
