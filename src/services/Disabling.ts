import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, PubSub } from "effect"
import type { SqlError } from "effect/sql"
import type { DisablingReason } from "../domain/Alert.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import { Alerts, subjectColumns, type SubjectRow } from "./Alerts.ts"
import { Actor, Audit, ownActor } from "./Audit.ts"
import { announce, markPauseOrResume, WebhookChanges } from "./WebhookChanges.ts"

export interface DisablingOptions {
  /** How long a webhook may fail on every attempt; 5 days unless said. */
  readonly afterMs?: number | undefined
}

export const defaultDisableAfterMs = 5 * 86_400_000

/** Pauses webhooks whose endpoint is gone or only fails: the service does so by itself, and tells operators. */
export class Disabling extends Context.Service<Disabling, {
  /** How long a webhook may fail on every attempt. */
  readonly afterMs: number
  /** Disables an active webhook, once everything that speaks for it is in the log; does nothing to any other. */
  disable(id: WebhookId, reason: DisablingReason): Effect.Effect<void, SqlError.SqlError>
}>()("truss/services/Disabling") {
  static readonly layer = (options: DisablingOptions = {}) =>
    Layer.effect(
      Disabling,
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const alerts = yield* Alerts
        const audit = yield* Audit
        const changes = yield* WebhookChanges

        const deactivate = (id: WebhookId, reason: DisablingReason) =>
          sql.unsafe<SubjectRow & { failing_since: Date | null }>(
            `UPDATE truss.webhooks w SET active = false, disabled_reason = $2, updated_at = clock_timestamp()
            FROM truss.tables t, truss.cursors c
            WHERE w.id = $1::uuid AND w.active AND t.id = w.table_id AND c.webhook_id = w.id
            RETURNING ${subjectColumns}, c.failing_since`,
            [id, reason]
          )

        const disable = Effect.fn("Disabling.disable")(function*(id: WebhookId, reason: DisablingReason) {
          const webhook = yield* sql.withTransaction(Effect.gen(function*() {
            const [row] = yield* deactivate(id, reason)
            if (row === undefined) return undefined
            yield* markPauseOrResume(sql, id)
            yield* audit.record({
              action: "webhook.disabled",
              webhookId: id,
              detail: { reason, fail_count: row.fail_count, failing_since: row.failing_since?.toISOString() ?? null }
            }).pipe(Effect.provideService(Actor, ownActor))
            yield* alerts.addDisabled(row, reason, row.failing_since?.getTime() ?? null)
            yield* announce(sql, id)
            return row
          }))
          if (webhook === undefined) return
          yield* Effect.logWarning("disabled a webhook", { webhook: id, reason, failCount: webhook.fail_count })
          yield* PubSub.publish(changes, id)
        })

        return Disabling.of({ afterMs: options.afterMs ?? defaultDisableAfterMs, disable })
      })
    )
}
