import { Schema } from "effect"
import type { Outcome } from "./Attempt.ts"
import type { ChangeType } from "./EventType.ts"
import { Time } from "./Time.ts"

export const JobKind = Schema.Literals(["replay", "recover"])
export type JobKind = typeof JobKind.Type

export const JobState = Schema.Literals(["running", "done", "cancelled"])
export type JobState = typeof JobState.Type

/** A bulk replay or a recovery, done in the background. A finished one has `done` equal to `matched`. */
export const Job = Schema.Struct({
  id: Schema.String,
  kind: JobKind,
  state: JobState,
  matched: Schema.Int,
  done: Schema.Int,
  created_at: Time
}).annotate({ identifier: "Job" })
export type Job = typeof Job.Type

/** Which events a bulk replay repeats: those whose last attempt matches. `from` is inclusive, `to` is not. */
export interface ReplayCriteria {
  readonly from?: Date | undefined
  readonly to?: Date | undefined
  readonly outcome?: Outcome | undefined
  readonly event_type?: ChangeType | undefined
}
