import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import { FetchHttpClient, HttpClient, HttpClientError } from "effect/http"
import { Otlp } from "effect/observability"
import type { SettingsShape } from "../services/Settings.ts"
import { version } from "../services/Version.ts"

/** How long the collector may take to answer one request. */
const patience = "5 seconds"

/** Requests to the collector that wait for their answer at most; with more, the exporter drops what it has and rests. */
const maxInFlight = 8

/**
 * What the exporters send with. A collector that hangs costs a bounded number of requests, and the log says once that
 * nothing arrives, until something does.
 */
const layerClient = Layer.effect(
  HttpClient.HttpClient,
  Effect.gen(function*() {
    const client = yield* HttpClient.HttpClient
    let inFlight = 0
    let failing = false
    const failed = (reason: string) =>
      Effect.suspend(() => {
        if (failing) return Effect.void
        failing = true
        return Effect.logWarning("telemetry does not reach OTEL_EXPORTER_OTLP_ENDPOINT", { reason })
      })
    return HttpClient.transform(client, (send, request) =>
      Effect.suspend(() => {
        if (inFlight >= maxInFlight) {
          const description = `${maxInFlight} requests wait for their answer already`
          return new HttpClientError.HttpClientError({
            reason: new HttpClientError.EncodeError({ request, description })
          })
        }
        inFlight++
        return send.pipe(
          Effect.timeoutOrElse({
            duration: patience,
            orElse: () =>
              new HttpClientError.HttpClientError({
                reason: new HttpClientError.TransportError({ request, description: `no answer within ${patience}` })
              })
          }),
          Effect.ensuring(Effect.sync(() => inFlight--))
        )
      }).pipe(
        Effect.tap(({ status }) =>
          status >= 400 ? failed(`it answers ${status}`) : Effect.sync(() => (failing = false))
        ),
        Effect.tapError((error) => failed(error.message))
      ))
  })
).pipe(Layer.provide(FetchHttpClient.layer))

/** Traces, metrics and logs to an OpenTelemetry collector. */
export const layerTelemetry = (settings: SettingsShape, baseUrl: string) =>
  Otlp.layerJson({
    baseUrl,
    headers: settings.otlpHeaders && Redacted.value(settings.otlpHeaders),
    resource: {
      serviceName: settings.otelServiceName ?? settings.otelResource["service.name"] ?? "truss-webhooks",
      serviceVersion: settings.otelResource["service.version"] ?? version,
      attributes: settings.otelResource
    },
    shutdownTimeout: "2 seconds"
  }).pipe(
    Layer.provide(layerClient),
    // What the environment says has been read, checked and explained.
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({})))
  )
