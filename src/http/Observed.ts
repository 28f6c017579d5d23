import { Clock, Effect, Exit, Metric, Option, Tracer } from "effect"
import { HttpServerRequest, type HttpServerResponse, HttpTraceContext } from "effect/http"
import { pathOf } from "./Answers.ts"
import { routeOf } from "./KnownRoutes.ts"
import { RequestId } from "./RequestId.ts"

const requests = Metric.counter("truss_http_requests_total", {
  description: "Requests that were answered, by method, route and status",
  incremental: true
})

const requestSeconds = Metric.histogram("truss_http_request_duration_seconds", {
  description: "Time from a request's headers to its answer's; of a stream, only until it begins",
  boundaries: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
})

const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])

type Handler<E, R> = Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

/**
 * One span for a request to the API: child of whoever asks, by `traceparent`, and parent of the statements and attempts
 * that it leads to. Its attributes say the path and never the query, which may hold anything.
 */
const traced = <E, R>(
  handler: Handler<E, R>,
  request: HttpServerRequest.HttpServerRequest,
  route: string | undefined
): Handler<E, R> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const span = yield* Effect.makeSpan(route === undefined ? request.method : `${request.method} ${route}`, {
      kind: "server",
      parent: Option.getOrUndefined(HttpTraceContext.w3c(request.headers)),
      attributes: {
        "http.request.method": request.method,
        "url.path": pathOf(request),
        ...(route !== undefined && { "http.route": route }),
        "http.request.id": yield* RequestId
      }
    })
    return yield* handler.pipe(
      Effect.withParentSpan(span),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          const status = Exit.isSuccess(exit) ? exit.value.status : undefined
          if (status !== undefined) span.attribute("http.response.status_code", status)
          const failed = status !== undefined && status >= 500
          span.end(clock.currentTimeNanosUnsafe(), failed ? Exit.fail(`answered ${status}`) : exit)
        })
      )
    )
  })

/**
 * Counts each request, times it, traces those to the API if spans go anywhere, and logs a line at debug level: method,
 * path and status.
 */
export const observed = <E, R>(handler: Handler<E, R>) =>
  Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const route = routeOf(request.method, request.url)
    const isTraced = /^\/(api|v1)\//.test(request.url) && (yield* Tracer.Tracer) !== Tracer.nativeTracer
    const started = performance.now()
    const response = yield* isTraced ? traced(handler, request, route) : handler
    yield* Metric.update(requestSeconds, (performance.now() - started) / 1000)
    yield* Metric.update(
      Metric.withAttributes(requests, {
        method: methods.has(request.method) ? request.method : "other",
        route: route ?? "none",
        status: String(response.status)
      }),
      1
    )
    yield* Effect.logDebug("HTTP").pipe(
      Effect.annotateLogs({ method: request.method, path: pathOf(request), status: response.status })
    )
    return response
  }).pipe(Effect.withLogSpan("request"))
