import { Schema } from "effect"
import { EventType } from "./EventType.ts"
import { Time } from "./Time.ts"

/** What an attempt came to: delivered, to be tried again, or given up. */
export const Outcome = Schema.Literals(["success", "retrying", "failed"])
export type Outcome = typeof Outcome.Type

/**
 * Why no usable answer came; `null` in a log entry when the endpoint answered. `aborted`: the service stopped before an
 * answer came. `skipped`: nothing was sent, since somebody let the webhook go on past the event. `secret_unreadable`:
 * nothing was sent, since the webhook's secret or a header's value cannot be decrypted. `subscriber_failed`: the
 * function in the endpoint's place failed; `response_body` is its error's message.
 */
export const AttemptError = Schema.Literals([
  "timeout",
  "dns",
  "connection_refused",
  "connection_reset",
  "unreachable",
  "tls",
  "protocol",
  "redirect",
  "blocked_address",
  "aborted",
  "secret_unreadable",
  "subscriber_failed",
  "skipped"
])
export type AttemptError = typeof AttemptError.Type

/** What came back from one request. `latencyMs` runs from the start of the attempt to the end of the answer. */
export interface Answer {
  readonly statusCode: number | null
  readonly responseBody: string | null
  readonly latencyMs: number
  readonly error: AttemptError | null
  readonly retryAfter: string | null
}

/** 2xx is success, and nothing else (redirects are not followed). */
export const isSuccess = (answer: Answer): boolean =>
  answer.error === null && answer.statusCode !== null && answer.statusCode >= 200 && answer.statusCode < 300

/** One attempt as the log shows it. `payload` is the JSON that was sent, digit for digit. */
export const LogEntry = Schema.Struct({
  id: Schema.String,
  webhook_id: Schema.String,
  event_id: Schema.String,
  event_type: EventType,
  attempt: Schema.Int,
  payload: Schema.Unknown.annotate({
    description:
      "The body that was sent: `event`, `schema`, `table`, `row`, `old_row`, `timestamp`, and `truncated` if it is"
  }),
  status_code: Schema.NullOr(Schema.Int),
  response_body: Schema.NullOr(Schema.String),
  latency_ms: Schema.Finite,
  error: Schema.NullOr(Schema.String),
  outcome: Outcome,
  next_attempt_at: Schema.NullOr(Time),
  replay_of: Schema.NullOr(Schema.String),
  created_at: Time
}).annotate({ identifier: "LogEntry" })
export type LogEntry = typeof LogEntry.Type
