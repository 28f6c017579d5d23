import { Cause, Effect } from "effect"
import { HttpServerError, HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "effect/http"
import { HttpApiError } from "effect/http-api"
import { InternalError, MethodNotAllowed, NotFound, UriTooLong } from "./api/Problems.ts"
import { badRequestOf } from "./Faults.ts"
import { allowedMethods } from "./KnownRoutes.ts"

/** The path that a request names, without the query. */
export const pathOf = (request: HttpServerRequest.HttpServerRequest) => request.url.split("?", 1)[0]!

const problem = (error: HttpServerRespondable.Respondable) => HttpServerRespondable.toResponse(error)

const noRoute = (url: string) => {
  const allowed = allowedMethods(url)
  return allowed.length === 0
    ? problem(new NotFound({ detail: "There is nothing at this path" }))
    : Effect.map(
      problem(new MethodNotAllowed({ detail: `This path answers to ${allowed.join(", ")}` })),
      HttpServerResponse.setHeader("allow", allowed.join(", "))
    )
}

const isRouteNotFound = (error: unknown) =>
  HttpServerError.isHttpServerError(error) && error.reason._tag === "RouteNotFound"

const answerTo = (request: HttpServerRequest.HttpServerRequest, cause: Cause.Cause<unknown>) => {
  const error = Cause.squash(cause)
  if (isRouteNotFound(error)) return noRoute(request.url)
  if (HttpApiError.HttpApiSchemaError.is(error)) {
    if (error.kind === "Params") return problem(new NotFound({ detail: "There is nothing with this id" }))
    if (error.kind === "Query") return problem(badRequestOf(error.cause))
  }
  return Effect.logError("A request failed for a reason of ours", cause).pipe(
    Effect.annotateLogs({ method: request.method, path: pathOf(request) }),
    Effect.andThen(
      problem(new InternalError({ detail: "Something went wrong here; the log of the service says what" }))
    )
  )
}

/** The longest path and query: a page's filters and cursor need a tenth of it. */
const maxUrlLength = 8192

const tooLong = Effect.suspend(() =>
  problem(new UriTooLong({ detail: `Path and query are over ${maxUrlLength} characters` }))
)

const headersFor = (response: HttpServerResponse.HttpServerResponse): Record<string, string> => ({
  "x-content-type-options": "nosniff",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": response.headers["cache-control"] ?? "no-store",
  ...(response.status === 401 && { "www-authenticate": "Bearer realm=\"truss-webhooks\"" }),
  ...((response.status === 503 || response.status === 409) && { "retry-after": "1" })
})

/** Makes a problem of every failure, a 500 without details of a defect (which is logged), and sets our headers. */
export const answer = <E, R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) => url.length > maxUrlLength ? tooLong : handler).pipe(
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.failCause(cause)
        : Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => answerTo(request, cause))
    ),
    Effect.map((response) => HttpServerResponse.setHeaders(response, headersFor(response)))
  )

/** A handler for what no route takes: 404, or 405 with `Allow`. */
export const answerNoRoute = Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) => noRoute(url))

/** The same for the API under a prefix of somebody else's choice. */
export const answerNoRouteUnder = (prefix: string) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) => noRoute(`/api${url.slice(prefix.length)}`))
