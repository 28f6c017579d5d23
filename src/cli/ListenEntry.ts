import type { AttemptError } from "../domain/Attempt.ts"
import { rawMember } from "./RawMember.ts"

/** An entry of the log, as far as `listen` needs it, and the bytes that it is about. */
export interface ListenEntry {
  readonly id: string
  readonly eventId: string
  readonly eventType: string
  readonly replayOf: string | null
  /** Null where it is kept no more. */
  readonly body: string | null
}

export const toListenEntry = (json: string): ListenEntry => {
  const { event_id, event_type, id, replay_of } = JSON.parse(json)
  const body = rawMember(json, "payload")
  return {
    id,
    eventId: event_id,
    eventType: event_type,
    replayOf: replay_of,
    body: body === undefined || body === "null" ? null : body
  }
}

/** What became of one event here. */
export interface ListenOutcome {
  readonly statusCode: number | null
  readonly latencyMs: number | null
  readonly error: AttemptError | "not_kept" | null
}

export interface ListenOutput {
  readonly json: boolean
  readonly print: boolean
}

/** The line for an event that was dealt with, for the `again`th time. */
export const listenLine = (
  { json, print }: ListenOutput,
  at: string,
  entry: ListenEntry,
  outcome: ListenOutcome,
  again = false
): string => {
  if (json) {
    const text = JSON.stringify({
      at,
      log_id: entry.id,
      event_id: entry.eventId,
      event_type: entry.eventType,
      replay_of: entry.replayOf,
      again,
      status_code: outcome.statusCode,
      latency_ms: outcome.latencyMs,
      error: outcome.error
    })
    if (!print) return text
    return `${text.slice(0, -1)},"payload":${(entry.body ?? "null").replaceAll(/[\r\n]+/g, " ")}}`
  }
  if (print) return entry.body ?? `truss-webhooks: the payload of ${entry.id} is kept no more`
  return [
    at.slice(11, 23),
    entry.eventType.padEnd(8),
    entry.eventId,
    outcome.error ?? outcome.statusCode,
    ...(outcome.latencyMs === null ? [] : [`${outcome.latencyMs.toFixed(1)} ms`]),
    ...(entry.replayOf === null ? [] : ["replay"]),
    ...(again ? ["again"] : [])
  ].join("  ")
}
