import type { Outcome } from "./Attempt.ts"

/** What the fold needs to know of a log entry; times are milliseconds since 1970. */
export interface DueEntry {
  readonly eventId: string
  readonly attempt: number
  readonly outcome: Outcome
  readonly error: string | null
  readonly probe: boolean
  readonly nextAttemptAt: number | null
  /** The attempt that it repeats, where it is one of a replay. */
  readonly replayOf: string | null
}

/** An event that is to be tried again. */
export interface Due {
  readonly attempt: number
  readonly at: number
  readonly replayOf: string | null
}

/**
 * Which events are to be tried again, by the log: `truss.due` holds the result, and beside it what waits without an
 * attempt of its own. A replay by hand is tried once, and changes nothing about the event's own next attempt.
 */
export const foldDue = (entries: Iterable<DueEntry>): ReadonlyMap<string, Due> => {
  const due = new Map<string, Due>()
  for (const { attempt, error, eventId, nextAttemptAt, outcome, probe, replayOf } of entries) {
    if (outcome === "retrying" && nextAttemptAt !== null) {
      const replays = due.get(eventId)?.replayOf ?? replayOf
      due.set(eventId, {
        attempt: error === "aborted" || probe ? attempt : attempt + 1,
        at: nextAttemptAt,
        replayOf: replays
      })
    } else if (due.get(eventId)?.replayOf === replayOf) due.delete(eventId)
  }
  return due
}
