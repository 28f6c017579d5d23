/**
 * What the log says of a webhook: how many attempts failed in a row, since when, and whether its circuit is open. A fold
 * over the entries in the order in which they were written; `truss.cursors` holds its result.
 */
import type { EventType } from "./EventType.ts"
import type { CircuitState } from "./Webhook.ts"

/** Times are milliseconds since 1970. */
export interface DeliveryState {
  readonly failCount: number
  /** When the first of the failures in a row was made. */
  readonly failingSince: number | null
  /** When the latest of them ended. */
  readonly lastFailedAt: number | null
  /** When the failure ended that opened the circuit. */
  readonly openedAt: number | null
}

/** What the fold needs to know of a log entry. */
export interface Folded {
  readonly eventType: EventType
  readonly success: boolean
  readonly createdAt: number
  readonly endedAt: number
}

export const initial: DeliveryState = { failCount: 0, failingSince: null, lastFailedAt: null, openedAt: null }

/** So many failures in a row open the circuit. */
export const openAfter = 10

const firstProbeMs = 1_000
const longestPauseMs = 60_000

/** When the next probe goes out: a second after the circuit opened, then about twice as long after each failure. */
export const nextProbeAt = ({ lastFailedAt, openedAt }: DeliveryState): number | null =>
  openedAt === null || lastFailedAt === null
    ? null
    : lastFailedAt + Math.min(longestPauseMs, Math.max(firstProbeMs, lastFailedAt - openedAt))

export const circuitOf = (state: DeliveryState, now: number): CircuitState => {
  const at = nextProbeAt(state)
  return at === null ? "closed" : now < at ? "open" : "half_open"
}

/** Whether every attempt has failed for so long, since the webhook was enabled; one failure alone is no time. */
export const isFailingForTooLong = (
  state: DeliveryState,
  enabledAt: number,
  now: number,
  disableAfterMs: number
): boolean =>
  state.failCount > 1 && state.failingSince !== null &&
  now - Math.max(state.failingSince, enabledAt) >= disableAfterMs

/**
 * How a run of entries changes the state, whatever the state was before: with it a batch is written without asking
 * first. Ends of failures that may turn out to be the one that opens the circuit are kept.
 */
export interface Change {
  /** A success was among them; the rest is about what came after the last one. */
  readonly reset: boolean
  readonly failures: number
  readonly firstFailedAt: number | null
  readonly lastFailedAt: number | null
  readonly ends: ReadonlyArray<number>
}

export const none: Change = { reset: false, failures: 0, firstFailedAt: null, lastFailedAt: null, ends: [] }

/** One more entry: a success starts over, a failure adds one, TEST does not count. */
export const step = (change: Change, entry: Folded): Change => {
  if (entry.eventType === "TEST") return change
  if (entry.success) return { ...none, reset: true }
  return {
    reset: change.reset,
    failures: change.failures + 1,
    firstFailedAt: change.firstFailedAt ?? entry.createdAt,
    lastFailedAt: Math.max(change.lastFailedAt ?? 0, entry.endedAt),
    ends: change.ends.length < openAfter ? [...change.ends, entry.endedAt] : change.ends
  }
}

/** The change that a whole run of entries makes. */
export const fold = (entries: Iterable<Folded>): Change => {
  let change = none
  for (const entry of entries) change = step(change, entry)
  return change
}

/** The state after the change. */
export const apply = (state: DeliveryState, change: Change): DeliveryState => {
  const before = change.reset ? initial : state
  if (change.failures === 0) return before
  const failCount = before.failCount + change.failures
  return {
    failCount,
    failingSince: before.failingSince ?? change.firstFailedAt,
    lastFailedAt: Math.max(before.lastFailedAt ?? 0, change.lastFailedAt ?? 0),
    openedAt: before.openedAt ?? (failCount < openAfter ? null : change.ends[openAfter - before.failCount - 1] ?? null)
  }
}
