import { Effect, Schema } from "effect"
import { Time } from "./Time.ts"
import { between, Secret } from "./Webhook.ts"

/** How long both secrets sign unless said, and at most, in seconds. */
export const defaultOverlapSeconds = 86_400
export const maxOverlapSeconds = 30 * 86_400

/** The body of `POST /webhooks/{id}/secret/rotate`. */
export const SecretRotation = Schema.Struct({
  secret: Schema.optionalKey(Secret.annotate({ description: "The new secret; generated unless given" })),
  overlap_seconds: between(0, maxOverlapSeconds).annotate({
    description: "How long the secret before signs, too; a day unless given"
  }).pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaultOverlapSeconds)))
}).annotate({ identifier: "SecretRotation" })
export type SecretRotation = typeof SecretRotation.Type

/** What came of it: the only answer that ever shows a secret. */
export const RotatedSecret = Schema.Struct({
  secret: Schema.String,
  previous_valid_until: Schema.NullOr(Time).annotate({
    description: "Until when the secret before signs, too; null when there was none"
  })
}).annotate({ identifier: "RotatedSecret" })
export type RotatedSecret = typeof RotatedSecret.Type
