import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import type { SqlError } from "effect/sql"
import type { WebhookId } from "../domain/Webhook.ts"

/** Who asks for what is done now; set by whoever lets a request in. */
export const Actor = Context.Reference<string>("truss/services/Actor", { defaultValue: () => "api" })

/** What the service does by itself is done by this one. */
export const ownActor = "truss-webhooks"

export interface AuditEntry {
  readonly action:
    | "webhook.created"
    | "webhook.updated"
    | "webhook.deleted"
    | "webhook.secret_rotated"
    | "webhook.disabled"
    | "job.created"
    | "job.cancelled"
  readonly webhookId: WebhookId
  /** Never a secret or the value of a header: the table is kept for ever. */
  readonly detail: Readonly<Record<string, string | number | boolean | null | ReadonlyArray<string>>>
}

/** Who changed what, when: append-only. */
export class Audit extends Context.Service<Audit, {
  /** Adds an entry for the current `Actor`, in the caller's transaction: there is none of what was not done. */
  record(entry: AuditEntry): Effect.Effect<void, SqlError.SqlError>
}>()("truss/services/Audit") {
  static readonly layer = Layer.effect(
    Audit,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const insert = (actor: string, { action, detail, webhookId }: AuditEntry) =>
        sql`INSERT INTO truss.audit (actor, action, webhook_id, detail)
          VALUES (${actor}, ${action}, ${webhookId}::text::uuid, ${JSON.stringify(detail)}::text::json)`
      return Audit.of({
        record: (entry) => Effect.flatMap(Actor, (actor) => Effect.asVoid(insert(actor, entry)))
      })
    })
  )
}
