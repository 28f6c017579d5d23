import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Outcome } from "../../domain/Attempt.ts"
import { ChangeType } from "../../domain/EventType.ts"
import { Job } from "../../domain/Job.ts"
import { Reconciliation } from "../../domain/Reconciliation.ts"
import { Limit, optionalBody, PathId, QueryText, QueryTime } from "./Parameters.ts"
import { BadRequest, bodyProblems, NotFound, Unavailable } from "./Problems.ts"

/** Which events to replay: every member narrows it down. */
export const ReplayRequest = Schema.Struct({
  from: Schema.optionalKey(QueryTime),
  to: Schema.optionalKey(QueryTime),
  outcome: Schema.optionalKey(Outcome),
  event_type: Schema.optionalKey(ChangeType)
}).annotate({ identifier: "ReplayRequest" })

/** Since when to look for events that were never attempted. */
export const RecoverRequest = Schema.Struct({ since: QueryTime }).annotate({ identifier: "RecoverRequest" })

/** The job that was created, and how many events it is about. */
export const CreatedJob = Schema.Struct({
  job_id: Schema.String,
  matched: Schema.Int
}).annotate({ identifier: "CreatedJob" })

/** A page of jobs, newest first. */
export const JobList = Schema.Struct({
  data: Schema.Array(Job),
  next_cursor: Schema.NullOr(Schema.String)
}).annotate({ identifier: "JobList" })

const params = { id: PathId }
const accepted = CreatedJob.pipe(HttpApiSchema.status(202))

const reconcile = HttpApiEndpoint.get("reconcile", "/webhooks/:id/reconcile", {
  params,
  query: { from: Schema.optionalKey(QueryTime), to: Schema.optionalKey(QueryTime) },
  success: Reconciliation,
  error: [BadRequest, NotFound, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Prove that nothing is missing",
  description:
    "Of the events committed in that time that the webhook asks for, how many are in which state. The five " +
    "add up to `matched`. `from` is inclusive, `to` is not; everything kept unless given."
}))

const replay = HttpApiEndpoint.post("replay", "/webhooks/:id/replay", {
  params,
  payload: ReplayRequest,
  success: accepted,
  error: [...bodyProblems, NotFound, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Replay many deliveries",
  description: "Sends every event again whose last attempt matches (`from` and `to` are about that attempt), in the " +
    "background and behind live events. The body may be left out: then it is every event that was attempted."
})).annotateMerge(optionalBody)

const recover = HttpApiEndpoint.post("recover", "/webhooks/:id/recover", {
  params,
  payload: RecoverRequest,
  success: accepted,
  error: [...bodyProblems, NotFound, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Send what was never attempted",
  description: "The events since then that the webhook asks for and never attempted: it was paused, or did not exist " +
    "yet but the table was watched."
}))

const jobs = HttpApiEndpoint.get("jobs", "/webhooks/:id/jobs", {
  params,
  query: { limit: Schema.optionalKey(Limit), cursor: Schema.optionalKey(QueryText) },
  success: JobList,
  error: [BadRequest, NotFound, Unavailable]
}).annotateMerge(OpenApi.annotations({ summary: "List bulk replays and recoveries", description: "Newest first." }))

const cancel = HttpApiEndpoint.delete("cancel", "/webhooks/:id/jobs/:jobId", {
  params: { id: PathId, jobId: PathId },
  success: HttpApiSchema.NoContent,
  error: [NotFound, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Cancel a bulk replay or a recovery",
  description: "What is in flight ends. A finished job stays as it is."
}))

/** What to do when something is missing. */
export class RepairGroup extends HttpApiGroup.make("repair")
  .add(reconcile, replay, recover, jobs, cancel)
  .annotateMerge(OpenApi.annotations({ title: "Repair" }))
{}
