import { Effect, Layer, Metric, Scope } from "effect"
import { memoize } from "effect/Function"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { HttpApiSwagger, OpenApi } from "effect/http-api"
import { PrometheusMetrics } from "effect/observability"
import { createHash } from "node:crypto"
import { Health, isReady } from "../services/Health.ts"
import { Standing } from "../services/Standing.ts"
import { answerNoRoute } from "./Answers.ts"
import { DescribedApi } from "./OpenApiDocument.ts"

const ok = HttpServerResponse.jsonUnsafe({ status: "ok" })

const ready = Effect.fnUntraced(function*(health: Health["Service"]) {
  const state = yield* health.get
  const well = isReady(state)
  return HttpServerResponse.jsonUnsafe({ status: well ? "ready" : "unavailable", ...state }, {
    status: well ? 200 : 503
  })
})

const layerHealth = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const health = yield* Health
  yield* router.add("GET", "/health/live", Effect.succeed(ok))
  yield* router.add("GET", "/health/ready", ready(health))
}))

/** Ours and the embedding program's: what Effect's own modules count has neither help nor units. */
const format = Effect.gen(function*() {
  const registry = yield* Metric.MetricRegistry
  const shown = [...registry].filter(([, { id }]) => !id.startsWith("effect_"))
  return yield* Effect.provideService(PrometheusMetrics.format(), Metric.MetricRegistry, new Map(shown))
})

const layerMetrics = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const standing = yield* Standing
  const metrics = standing.refresh.pipe(
    Effect.andThen(format),
    Effect.map((text) => HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" }))
  )
  yield* router.add("GET", "/metrics", metrics)
}))

const layerOpenApi = HttpRouter.add(
  "GET",
  "/openapi.json",
  Effect.sync(() => HttpServerResponse.jsonUnsafe(OpenApi.fromApi(DescribedApi)))
)

const hashesOf = (html: string) =>
  [...html.matchAll(/<script>([^]*?)<\/script>/g)].map(([, script]) =>
    `'sha256-${createHash("sha256").update(script!).digest("base64")}'`
  )

/**
 * The page has everything in it: its own scripts run, none that got into it otherwise, and nothing is fetched from
 * elsewhere. Swagger UI sets styles of elements, so those cannot be named.
 */
const policyOf = memoize((html: Uint8Array) =>
  `default-src 'none'; script-src ${hashesOf(new TextDecoder().decode(html)).join(" ")}; ` +
  "style-src 'unsafe-inline'; img-src 'self' data:; font-src data:; connect-src 'self'; base-uri 'none'; " +
  "form-action 'none'; frame-ancestors 'none'"
)

const withPolicy = (response: HttpServerResponse.HttpServerResponse) =>
  response.body._tag === "Uint8Array"
    ? HttpServerResponse.setHeader(response, "content-security-policy", policyOf(response.body.body))
    : response

/** Its scripts are megabytes of memory: they are loaded when somebody asks for the page. */
const layerDocs = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const scope = yield* Effect.scope
  const page = yield* Effect.cached(
    Scope.provide(HttpRouter.toHttpEffect(HttpApiSwagger.layer(DescribedApi, { path: "/docs" })), scope)
  )
  yield* router.add("GET", "/docs", Effect.map(Effect.orDie(Effect.flatten(page)), withPolicy))
}))

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
  layerMetrics
)
