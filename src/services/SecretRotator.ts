import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, PubSub } from "effect"
import { type DatabaseUnavailable, WebhookNotFound } from "../domain/Errors.ts"
import type { RotatedSecret, SecretRotation } from "../domain/SecretRotation.ts"
import { isWebhookId, type WebhookId } from "../domain/Webhook.ts"
import { Audit } from "./Audit.ts"
import { orUnavailable } from "./Database.ts"
import { generateSecret } from "./Signing.ts"
import { announce, WebhookChanges } from "./WebhookChanges.ts"

/** Gives webhooks new secrets while receivers still verify with the old ones. */
export class SecretRotator extends Context.Service<SecretRotator, {
  /** The secret that was current becomes the previous one; one that was the previous is forgotten. */
  rotate(
    id: string,
    rotation: SecretRotation
  ): Effect.Effect<RotatedSecret, WebhookNotFound | DatabaseUnavailable>
}>()("truss/services/SecretRotator") {
  static readonly layer = Layer.effect(
    SecretRotator,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const audit = yield* Audit
      const changes = yield* WebhookChanges

      // Without an overlap the secret before is not kept; its time says that there was one.
      const replace = (id: WebhookId, secret: string, overlapSeconds: number) =>
        sql<{ until: Date | null }>`
          UPDATE truss.webhooks SET secret = ${secret},
            previous_secret = CASE WHEN ${overlapSeconds}::int > 0 THEN secret END,
            previous_secret_until = CASE WHEN secret IS NOT NULL
              THEN date_trunc('milliseconds', clock_timestamp()) + ${overlapSeconds}::int * interval '1 second' END,
            updated_at = clock_timestamp()
          WHERE id = ${id}::text::uuid RETURNING previous_secret_until AS until`

      const rotate = Effect.fn("SecretRotator.rotate")(function*(id: string, rotation: SecretRotation) {
        if (!isWebhookId(id)) return yield* new WebhookNotFound({ id })
        const secret = rotation.secret ?? generateSecret()
        const until = yield* sql.withTransaction(Effect.gen(function*() {
          const [row] = yield* replace(id, secret, rotation.overlap_seconds)
          if (row === undefined) return yield* new WebhookNotFound({ id })
          yield* audit.record({
            action: "webhook.secret_rotated",
            webhookId: id,
            detail: { overlap_seconds: rotation.overlap_seconds, generated: rotation.secret === undefined }
          })
          yield* announce(sql, id)
          return row.until
        }))
        yield* PubSub.publish(changes, id)
        return { secret, previous_valid_until: until?.toISOString() ?? null }
      }, orUnavailable)

      return SecretRotator.of({ rotate })
    })
  )
}
