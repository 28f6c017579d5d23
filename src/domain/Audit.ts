import { Schema } from "effect"
import { Time } from "./Time.ts"

export const AuditAction = Schema.Literals([
  "webhook.created",
  "webhook.updated",
  "webhook.deleted",
  "webhook.secret_rotated",
  "webhook.disabled",
  "job.created",
  "job.cancelled",
  "key.created",
  "key.revoked",
  "session.created",
  "session.ended"
])
export type AuditAction = typeof AuditAction.Type

/** Who changed what, when. `actor` is the name of an API key, or who acted without one. */
export const AuditRecord = Schema.Struct({
  id: Schema.String,
  at: Time,
  actor: Schema.String,
  /** Such as `webhook.updated`; there may be others than today's. */
  action: Schema.String,
  webhook_id: Schema.NullOr(Schema.String),
  detail: Schema.Record(Schema.String, Schema.Unknown)
}).annotate({ identifier: "AuditRecord" })
export type AuditRecord = typeof AuditRecord.Type
