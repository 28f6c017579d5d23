import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { HttpApiSwagger, OpenApi } from "effect/http-api"
import { PrometheusMetrics } from "effect/observability"
import { Health } from "../services/Health.ts"
import { answerNoRoute } from "./Answers.ts"
import { DescribedApi } from "./OpenApiDocument.ts"

const ok = HttpServerResponse.jsonUnsafe({ status: "ok" })

const ready = Effect.fnUntraced(function*(health: Health["Service"]) {
  const state = yield* health.get
  const isReady = state.database === null && state.listener === null
  return HttpServerResponse.jsonUnsafe(
    { status: isReady ? "ready" : "unavailable", ...state },
    { status: isReady ? 200 : 503 }
  )
})

const layerHealth = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const health = yield* Health
  yield* router.add("GET", "/health/live", Effect.succeed(ok))
  yield* router.add("GET", "/health/ready", ready(health))
}))

const layerOpenApi = HttpRouter.add(
  "GET",
  "/openapi.json",
  Effect.sync(() => HttpServerResponse.jsonUnsafe(OpenApi.fromApi(DescribedApi)))
)

/** The page has everything in it; the policy keeps it from fetching anything from elsewhere. */
const docsPolicy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:; " +
  "font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const layerDocs = HttpApiSwagger.layer(DescribedApi, { path: "/docs" }).pipe(
  Layer.provide(
    HttpRouter.middleware((handler) =>
      Effect.map(handler, HttpServerResponse.setHeader("content-security-policy", docsPolicy))
    ).layer
  )
)

/** What no endpoint under `/api` and `/v1` takes. HEAD is left to the routes of GET. */
const layerNoRoute = HttpRouter.use((router) =>
  Effect.forEach(
    ["/api/*", "/v1/*"] as const,
    (path) =>
      Effect.forEach(
        ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"] as const,
        (method) => router.add(method, path, answerNoRoute),
        { discard: true }
      ),
    { discard: true }
  )
)

/** Health, metrics, the API's description and its page. */
export const layerSystem = Layer.mergeAll(
  layerHealth,
  layerOpenApi,
  layerDocs,
  layerNoRoute,
  PrometheusMetrics.layerHttp({ path: "/metrics" })
)
