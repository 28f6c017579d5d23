import { Schema } from "effect"
import { HttpApiError } from "effect/http-api"
import { Fault } from "../../domain/Errors.ts"

const detail = Schema.String.annotate({ description: "What went wrong this time, for people to read" })

/** 400: a body or a parameter that does not fit; `errors` names every fault at once. */
export class BadRequest extends HttpApiError.Problem<BadRequest>()("BadRequest", {
  type: "urn:truss:problem:bad-request",
  status: 400,
  title: "Bad Request"
}, { detail, errors: Schema.Array(Fault) }) {}

/** 401: no API key, or one that is not valid. */
export class Unauthorized extends HttpApiError.Problem<Unauthorized>()("Unauthorized", {
  type: "urn:truss:problem:unauthorized",
  status: 401,
  title: "Unauthorized"
}, { detail }) {}

/** 403: a key without the right scope, a host that is not this machine, or another site's request. */
export class Forbidden extends HttpApiError.Problem<Forbidden>()("Forbidden", {
  type: "urn:truss:problem:forbidden",
  status: 403,
  title: "Forbidden"
}, { detail }) {}

/** 404: no such webhook, log entry or route. */
export class NotFound extends HttpApiError.Problem<NotFound>()("NotFound", {
  type: "urn:truss:problem:not-found",
  status: 404,
  title: "Not Found"
}, { detail }) {}

/** 405: the path exists, with the methods that the header `Allow` lists. */
export class MethodNotAllowed extends HttpApiError.Problem<MethodNotAllowed>()("MethodNotAllowed", {
  type: "urn:truss:problem:method-not-allowed",
  status: 405,
  title: "Method Not Allowed"
}, { detail }) {}

/** 409: others held the table's lock for too long. Nothing was changed; the same request may work later. */
export class Locked extends HttpApiError.Problem<Locked>()("Locked", {
  type: "urn:truss:problem:table-locked",
  status: 409,
  title: "Table Locked"
}, { detail }) {}

/** 409: the first request with the same `Idempotency-Key` has no answer yet. */
export class StillRunning extends HttpApiError.Problem<StillRunning>()("StillRunning", {
  type: "urn:truss:problem:still-running",
  status: 409,
  title: "Still Running"
}, { detail }) {}

/** 409: the webhook delivers to a function of a program, and this process does not have it. Nothing was done. */
export class NoSubscriber extends HttpApiError.Problem<NoSubscriber>()("NoSubscriber", {
  type: "urn:truss:problem:no-subscriber",
  status: 409,
  title: "No Subscriber"
}, { detail }) {}

/** 412: what is there is not what `If-Match` says. Nothing was changed. */
export class PreconditionFailed extends HttpApiError.Problem<PreconditionFailed>()("PreconditionFailed", {
  type: "urn:truss:problem:precondition-failed",
  status: 412,
  title: "Precondition Failed"
}, { detail }) {}

/** 413: a body over 1 MiB. */
export class ContentTooLarge extends HttpApiError.Problem<ContentTooLarge>()("ContentTooLarge", {
  type: "urn:truss:problem:content-too-large",
  status: 413,
  title: "Content Too Large"
}, { detail }) {}

/** 414: a path and query of over 8192 characters. */
export class UriTooLong extends HttpApiError.Problem<UriTooLong>()("UriTooLong", {
  type: "urn:truss:problem:uri-too-long",
  status: 414,
  title: "URI Too Long"
}, { detail }) {}

/** 415: a body that is not `application/json`. */
export class UnsupportedMediaType extends HttpApiError.Problem<UnsupportedMediaType>()("UnsupportedMediaType", {
  type: "urn:truss:problem:unsupported-media-type",
  status: 415,
  title: "Unsupported Media Type"
}, { detail }) {}

/** 422: the table cannot be watched; `reason` says why in a word, `detail` what to do. */
export class NotWatchable extends HttpApiError.Problem<NotWatchable>()("NotWatchable", {
  type: "urn:truss:problem:table-not-watchable",
  status: 422,
  title: "Table Not Watchable"
}, { detail, reason: Schema.String }) {}

/** 422: the table does not have what was asked of it, a column or a primary key; `errors` names every one. */
export class Mismatch extends HttpApiError.Problem<Mismatch>()("Mismatch", {
  type: "urn:truss:problem:table-mismatch",
  status: 422,
  title: "Table Mismatch"
}, { detail, errors: Schema.Array(Fault) }) {}

/** 422: the URL's host is an address that must not be reached, or leads to such ones only. */
export class UrlForbidden extends HttpApiError.Problem<UrlForbidden>()("UrlForbidden", {
  type: "urn:truss:problem:url-not-allowed",
  status: 422,
  title: "URL Not Allowed"
}, { detail, errors: Schema.Array(Fault) }) {}

/** 422: the `Idempotency-Key` stands for another request. Nothing was done. */
export class IdempotencyKeyReused extends HttpApiError.Problem<IdempotencyKeyReused>()("IdempotencyKeyReused", {
  type: "urn:truss:problem:idempotency-key-reused",
  status: 422,
  title: "Idempotency Key Reused"
}, { detail }) {}

/** 500: a fault of ours. It is in the service's log. */
export class InternalError extends HttpApiError.Problem<InternalError>()("InternalError", {
  type: "urn:truss:problem:internal",
  status: 500,
  title: "Internal Server Error"
}, { detail }) {}

/** 503: the database does not answer; see `Retry-After`. */
export class Unavailable extends HttpApiError.Problem<Unavailable>()("Unavailable", {
  type: "urn:truss:problem:unavailable",
  status: 503,
  title: "Service Unavailable"
}, { detail }) {}

/** 503: as many follow logs here as may. Another process may have room, and this one later; see `Retry-After`. */
export class TooManySubscribers extends HttpApiError.Problem<TooManySubscribers>()("TooManySubscribers", {
  type: "urn:truss:problem:too-many-subscribers",
  status: 503,
  title: "Too Many Subscribers"
}, { detail }) {}

/** What any endpoint that takes a body can answer about the body. */
export const bodyProblems = [BadRequest, ContentTooLarge, UnsupportedMediaType] as const
