import { Context, type Effect } from "effect"
import type { AttemptError } from "../domain/Attempt.ts"
import type { DatabaseUnavailable, LogEntryNotFound, WebhookNotFound } from "../domain/Errors.ts"

export interface TestResult {
  readonly log_id: string
  readonly status_code: number | null
  readonly response_body: string | null
  readonly latency_ms: number
  readonly error: AttemptError | null
}

/** Deliveries that somebody asked for and waits for. They need no actor: any process signs, sends and appends. */
export class ManualDelivery extends Context.Service<ManualDelivery, {
  /** Sends a synthetic event shaped like the table. */
  test(webhookId: string): Effect.Effect<TestResult, WebhookNotFound | DatabaseUnavailable>
  /** Re-sends the exact bytes of that delivery; the new entry as JSON text. */
  replay(
    webhookId: string,
    logId: string
  ): Effect.Effect<string, WebhookNotFound | LogEntryNotFound | DatabaseUnavailable>
}>()("truss/services/ManualDelivery") {}
