import { type Answer, isSuccess } from "./Attempt.ts"
import type { EventType } from "./EventType.ts"

/** What the fold needs to know of a log entry. */
export interface Folded {
  readonly eventType: EventType
  readonly answer: Answer
}

/**
 * How a run of log entries, in the order in which they are written, changes `fail_count`: a success sets it to 0, a
 * failure adds 1, TEST does not count. `reset` says whether a success was among them, `failures` how many failed since.
 */
export interface FailCountChange {
  readonly reset: boolean
  readonly failures: number
}

export const none: FailCountChange = { reset: false, failures: 0 }

/** One more entry. */
export const step = (change: FailCountChange, entry: Folded): FailCountChange => {
  if (entry.eventType === "TEST") return change
  return isSuccess(entry.answer)
    ? { reset: true, failures: 0 }
    : { reset: change.reset, failures: change.failures + 1 }
}

/** The change that a whole run of entries makes. */
export const fold = (entries: Iterable<Folded>): FailCountChange => {
  let change = none
  for (const entry of entries) change = step(change, entry)
  return change
}

/** The count after the change. */
export const apply = (failCount: number, change: FailCountChange): number =>
  (change.reset ? 0 : failCount) + change.failures
