import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { AttemptError } from "../../domain/Attempt.ts"
import { PreviewRequest } from "../../domain/PreviewRequest.ts"
import { RotatedSecret, SecretRotation } from "../../domain/SecretRotation.ts"
import { Webhook, WebhookCreate, WebhookPatch } from "../../domain/Webhook.ts"
import { Limit, optionalBody, PathId, QueryBoolean, QueryText } from "./Parameters.ts"
import {
  BadRequest,
  bodyProblems,
  Locked,
  Mismatch,
  NoSubscriber,
  NotFound,
  NotWatchable,
  PreconditionFailed,
  Unavailable,
  UrlForbidden
} from "./Problems.ts"

/** A page of webhooks, oldest first. */
export const WebhookPage = Schema.Struct({
  data: Schema.Array(Webhook),
  next_cursor: Schema.NullOr(Schema.String)
}).annotate({ identifier: "WebhookPage" })

/** What came of a test delivery, whatever the endpoint answered. */
export const TestResult = Schema.Struct({
  log_id: Schema.String,
  status_code: Schema.NullOr(Schema.Int),
  response_body: Schema.NullOr(Schema.String),
  latency_ms: Schema.Finite,
  error: Schema.NullOr(AttemptError)
}).annotate({ identifier: "TestResult" })

/** The body of a request that needs none. */
export const NoOptions = Schema.Record(Schema.String, Schema.Never).annotate({ identifier: "NoOptions" })

/** What a selection would have fired. `samples` are bodies as they would be sent, digit for digit. */
export const PreviewResult = Schema.Struct({
  considered: Schema.Int,
  would_fire: Schema.Int,
  samples: Schema.Array(Schema.Unknown)
}).annotate({ identifier: "PreviewResult" })

const params = { id: PathId }

const create = HttpApiEndpoint.post("create", "/webhooks", {
  payload: WebhookCreate,
  success: Webhook.pipe(HttpApiSchema.status(201)),
  error: [...bodyProblems, Locked, NotWatchable, Mismatch, UrlForbidden, Unavailable]
}).annotateMerge(OpenApi.annotations({ summary: "Create a webhook" }))

const list = HttpApiEndpoint.get("list", "/webhooks", {
  query: {
    limit: Schema.optionalKey(Limit),
    cursor: Schema.optionalKey(QueryText),
    table: Schema.optionalKey(QueryText),
    active: Schema.optionalKey(QueryBoolean)
  },
  success: WebhookPage,
  error: [BadRequest, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "List webhooks",
  description:
    "`table` takes `orders` or `public.orders`. `next_cursor` is `cursor` of the next page, null on the last."
}))

const get = HttpApiEndpoint.get("get", "/webhooks/:id", {
  params,
  success: Webhook,
  error: [BadRequest, NotFound, PreconditionFailed, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Get a webhook",
  description: "`ETag` is about what can be set, not about what deliveries change: 304 says that the settings are " +
    "those of `If-None-Match`."
}))

const patch = HttpApiEndpoint.patch("patch", "/webhooks/:id", {
  params,
  payload: WebhookPatch,
  success: Webhook,
  error: [...bodyProblems, NotFound, PreconditionFailed, Locked, NotWatchable, Mismatch, UrlForbidden, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Change a webhook",
  description: "Any subset of the writable fields. A header value of `***` keeps the stored one; a `secret` of null " +
    "removes it. A new secret replaces the one before at once; `secret/rotate` lets both sign for a while. " +
    "With `If-Match`, 412 if the webhook was changed since."
}))

const remove = HttpApiEndpoint.delete("delete", "/webhooks/:id", {
  params,
  success: HttpApiSchema.NoContent,
  error: [BadRequest, NotFound, PreconditionFailed, Locked, Unavailable]
}).annotateMerge(OpenApi.annotations({ summary: "Delete a webhook and its log" }))

const test = HttpApiEndpoint.post("test", "/webhooks/:id/test", {
  params,
  payload: NoOptions,
  success: TestResult,
  error: [...bodyProblems, NotFound, NoSubscriber, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Send a test event",
  description: "Sends a synthetic event and waits: 200 whatever the endpoint answered. The body may be left out."
})).annotateMerge(optionalBody)

const rotate = HttpApiEndpoint.post("rotate", "/webhooks/:id/secret/rotate", {
  params,
  payload: SecretRotation,
  success: RotatedSecret,
  error: [...bodyProblems, NotFound, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Rotate a webhook's secret",
  description: "Answers with the new secret, which is shown this once. Until `previous_valid_until` deliveries are " +
    "signed by both. The body may be left out."
})).annotateMerge(optionalBody)

const preview = HttpApiEndpoint.post("preview", "/webhooks/preview", {
  payload: PreviewRequest,
  success: PreviewResult,
  error: [...bodyProblems, NotWatchable, Mismatch, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Try out a selection",
  description: "Of the newest 1,000 events that are kept for the table: how many would fire a webhook with these " +
    "`events` (all unless given), `columns` and `filter`, and up to 5 of their bodies, newest first. Changes nothing."
}))

/** The webhooks: create, list, read, change, delete, test, rotate. */
export class WebhooksGroup extends HttpApiGroup.make("webhooks")
  .add(create, list, get, patch, remove, test, rotate, preview)
  .annotateMerge(OpenApi.annotations({ title: "Webhooks" }))
{}
