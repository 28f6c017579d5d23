import { Schema } from "effect"
import { LogEntry } from "./Attempt.ts"
import { EventType } from "./EventType.ts"
import { Time } from "./Time.ts"

/** What became of an event for one webhook. */
export const EventState = Schema.Literals(["delivered", "failed", "pending", "not_sent"])
export type EventState = typeof EventState.Type

/**
 * Why it is so. Of `not_sent`: the webhook does not ask for the type, asked only later, its `columns` or `filter` say no,
 * or it was paused. Of `pending`: it is paused now, the process that delivers does not have its function, its circuit is
 * open, or an earlier event of the row goes first.
 */
export const EventReason = Schema.Literals([
  "event_type",
  "before_webhook",
  "columns",
  "filter",
  "paused",
  "no_subscriber",
  "circuit_open",
  "waiting_for_row"
])
export type EventReason = typeof EventReason.Type

/** One event and one webhook, as `GET /events/{id}` shows them. */
export const EventFate = Schema.Struct({
  webhook_id: Schema.String,
  state: EventState,
  reason: Schema.NullOr(EventReason),
  attempts: Schema.Array(LogEntry),
  next_attempt_at: Schema.NullOr(Time)
}).annotate({ identifier: "EventFate" })

/** An event, and what became of it. `payload` is its body, digit for digit. */
export const EventHistory = Schema.Struct({
  id: Schema.String,
  event_type: EventType,
  table_schema: Schema.String,
  table_name: Schema.String,
  committed_at: Time,
  payload: Schema.Unknown,
  webhooks: Schema.Array(EventFate)
}).annotate({ identifier: "EventHistory" })

/** What the tables say of an event and a webhook. */
export interface Facts {
  /** Whether some attempt succeeded, and how the last one ended; null if there was none. */
  readonly succeeded: boolean
  readonly lastOutcome: "success" | "retrying" | "failed" | null
  /** `waiting`: for an earlier event of its row. */
  readonly due: "no" | "yes" | "waiting"
  /** Whether the webhook asks for events of this type. */
  readonly asked: boolean
  /** Whether the event was there before the webhook was, or before it asked for this type. */
  readonly before: boolean
  /** What the webhook's selection says against the event. */
  readonly refusedBy: "columns" | "filter" | null
  /** Whether the webhook's cursor will come to it. */
  readonly ahead: boolean
  /** Whether an earlier event, of whatever row, is to be tried again first. */
  readonly held: boolean
  readonly active: boolean
  /** Its receiver is a function that the process which delivers does not have. */
  readonly lacksSubscriber: boolean
  readonly circuitOpen: boolean
}

/** The state of an event for a webhook, and the reason for it. */
export const fateOf = (facts: Facts): { readonly state: EventState; readonly reason: EventReason | null } => {
  const standstill = (): EventReason | null => {
    if (!facts.active) return "paused"
    if (facts.lacksSubscriber) return "no_subscriber"
    return facts.circuitOpen ? "circuit_open" : null
  }
  const pending = (reason: EventReason | null) => ({ state: "pending" as const, reason: reason ?? standstill() })
  const notSent = (reason: EventReason) => ({ state: "not_sent" as const, reason })
  if (facts.succeeded) return { state: "delivered", reason: null }
  if (facts.due === "waiting") return pending("waiting_for_row")
  if (facts.due === "yes" || facts.lastOutcome === "retrying") return pending(null)
  if (facts.lastOutcome !== null) return { state: "failed", reason: null }
  if (!facts.asked) return notSent("event_type")
  if (facts.before && !facts.ahead) return notSent("before_webhook")
  if (facts.refusedBy !== null) return notSent(facts.refusedBy)
  if (!facts.ahead) return notSent("paused")
  return pending(facts.held && facts.active && !facts.circuitOpen ? "waiting_for_row" : null)
}
