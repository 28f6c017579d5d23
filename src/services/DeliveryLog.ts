import { Context, type Effect } from "effect"
import type { Outcome } from "../domain/Attempt.ts"
import type { DatabaseUnavailable, InvalidParameter, LogEntryNotFound, WebhookNotFound } from "../domain/Errors.ts"
import type { EventType } from "../domain/EventType.ts"

/** What `GET /webhooks/{id}/logs` can ask for. Times are ISO 8601; `from` is inclusive, `to` is not. */
export interface LogQuery {
  readonly limit: number
  readonly cursor?: string | undefined
  readonly event_type?: EventType | undefined
  readonly outcome?: Outcome | undefined
  readonly status_code?: number | undefined
  readonly event_id?: string | undefined
  readonly from?: Date | undefined
  readonly to?: Date | undefined
}

/** The append-only log of attempts. Entries come as JSON text, so that no digit of a payload is lost on the way. */
export class DeliveryLog extends Context.Service<DeliveryLog, {
  /** `{"data":[entry…],"next_cursor":…}`, newest first. */
  list(
    webhookId: string,
    query: LogQuery
  ): Effect.Effect<string, WebhookNotFound | InvalidParameter | DatabaseUnavailable>
  get(
    webhookId: string,
    logId: string
  ): Effect.Effect<string, WebhookNotFound | LogEntryNotFound | DatabaseUnavailable>
}>()("truss/services/DeliveryLog") {}
