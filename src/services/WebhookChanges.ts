import type { PgClient } from "@effect/sql-pg"
import { Context, Layer, PubSub } from "effect"
import type { WebhookId } from "../domain/Webhook.ts"

/** Tells the parts of this process that a webhook was created, changed or deleted. Other processes hear it by NOTIFY. */
export class WebhookChanges extends Context.Service<WebhookChanges, PubSub.PubSub<WebhookId>>()(
  "truss/services/WebhookChanges"
) {
  static readonly layer = Layer.effect(WebhookChanges, PubSub.sliding<WebhookId>(4096))
}

/** Tells other processes, once the caller's transaction has committed. */
export const announce = (sql: PgClient.PgClient, id: WebhookId) => sql`SELECT pg_notify('truss', ${`webhook ${id}`})`

/** Notes, in the caller's transaction, that the webhook is paused or resumed here: what happens between is skipped. */
export const markPauseOrResume = (sql: PgClient.PgClient, id: WebhookId) =>
  sql`WITH c AS (
      UPDATE truss.cursors SET gaps = gaps || pg_current_snapshot() WHERE webhook_id = ${id}::text::uuid
      RETURNING webhook_id AS id
    )
    UPDATE truss.cursor_parts SET gaps = gaps || pg_current_snapshot() FROM c WHERE webhook_id = c.id`
