import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { LogEntry, Outcome } from "../../domain/Attempt.ts"
import { EventType } from "../../domain/EventType.ts"
import { Limit, optionalBody, PathId, QueryInteger, QueryText, QueryTime } from "./Parameters.ts"
import { BadRequest, bodyProblems, NoSubscriber, NotFound, TooManySubscribers, Unavailable } from "./Problems.ts"
import { NoOptions } from "./Webhooks.ts"

/** A page of the log, newest first. */
export const LogPage = Schema.Struct({
  data: Schema.Array(LogEntry),
  next_cursor: Schema.NullOr(Schema.String)
}).annotate({ identifier: "LogPage" })

/** What the stream of the log sends. */
export const LogEvent = Schema.Union([
  Schema.Struct({ id: Schema.String, event: Schema.tag("entry"), data: Schema.fromJsonString(LogEntry) }),
  Schema.Struct({
    event: Schema.tag("reset"),
    data: Schema.fromJsonString(Schema.Struct({ reason: Schema.Literal("unknown_event_id") }))
  }),
  Schema.Struct({
    id: Schema.String,
    event: Schema.tag("overflow"),
    data: Schema.fromJsonString(Schema.Struct({ last_event_id: Schema.String }))
  })
])

const params = { id: PathId, logId: PathId }

const list = HttpApiEndpoint.get("list", "/webhooks/:id/logs", {
  params: { id: PathId },
  query: {
    limit: Schema.optionalKey(Limit),
    cursor: Schema.optionalKey(QueryText),
    event_type: Schema.optionalKey(EventType),
    outcome: Schema.optionalKey(Outcome),
    status_code: Schema.optionalKey(QueryInteger(100, 599)),
    event_id: Schema.optionalKey(QueryText),
    from: Schema.optionalKey(QueryTime),
    to: Schema.optionalKey(QueryTime)
  },
  success: LogPage,
  error: [BadRequest, NotFound, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "List a webhook's deliveries",
  description: "Newest first. `from` is inclusive, `to` is not. Payloads are digit for digit what was sent."
}))

const stream = HttpApiEndpoint.get("stream", "/webhooks/:id/logs/stream", {
  params: { id: PathId },
  query: { last_event_id: Schema.optionalKey(QueryText) },
  headers: { "last-event-id": Schema.optionalKey(Schema.String) },
  success: HttpApiSchema.StreamSse({ events: LogEvent }),
  error: [BadRequest, NotFound, TooManySubscribers, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Follow a webhook's deliveries",
  description: "Server-sent events: each new entry as it is written, from now on or from behind `Last-Event-ID` (or " +
    "`last_event_id`, for clients that cannot set a header). `reset`: that entry is not known (any more), what " +
    "follows is new. `overflow`: the client does not keep up; the stream ends, and resumes from that id."
}))

const get = HttpApiEndpoint.get("get", "/webhooks/:id/logs/:logId", {
  params,
  success: LogEntry,
  error: [NotFound, Unavailable]
}).annotateMerge(OpenApi.annotations({ summary: "Get one delivery" }))

const replay = HttpApiEndpoint.post("replay", "/webhooks/:id/replay/:logId", {
  params,
  payload: NoOptions,
  success: LogEntry,
  error: [...bodyProblems, NotFound, NoSubscriber, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Replay a delivery",
  description: "Sends the exact bytes of that delivery again, waits, and answers with the new entry. The body may be " +
    "left out."
})).annotateMerge(optionalBody)

const skip = HttpApiEndpoint.post("skip", "/webhooks/:id/skip/:eventId", {
  params: { id: PathId, eventId: PathId },
  payload: NoOptions,
  success: LogEntry,
  error: [...bodyProblems, NotFound, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Go on past an event",
  description: "For an event that keeps failing and holds up others: its outcome becomes `failed`, with the error " +
    "`skipped`. Answers with that entry of the log. The body may be left out."
})).annotateMerge(optionalBody)

/** The delivery log of a webhook, and what can be done with an entry. */
export class LogsGroup extends HttpApiGroup.make("logs")
  .add(list, stream, get, replay, skip)
  .annotateMerge(OpenApi.annotations({ title: "Delivery log" }))
{}
