import { Context, Layer, Redacted } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import { apiUnder, type Prefix, type PrefixedApi } from "./api/Api.ts"

export interface ClientOptions {
  /** The service's address, such as `http://localhost:8787`. */
  readonly url: string
  /** Needed by every service but an open one on this machine. */
  readonly apiKey?: Redacted.Redacted | undefined
  /** Where the API stands; `/api` unless said. */
  readonly prefix?: Prefix | undefined
}

/**
 * A typed client of a running service: `client.webhooks.create({ payload: { ...defaults, … } })`, with the `defaults` of
 * a webhook, `client.logs.list({ params, query })`. It fails with the problems of `api/Problems.ts`. Payloads of log
 * entries are parsed, so numbers beyond 2^53 lose digits here.
 */
export class TrussClient extends Context.Service<TrussClient, HttpApiClient.ForApi<PrefixedApi>>()(
  "truss/http/TrussClient"
) {
  static readonly layerNoDeps = (options: ClientOptions): Layer.Layer<TrussClient, never, HttpClient.HttpClient> => {
    const { apiKey } = options
    return Layer.effect(
      TrussClient,
      HttpApiClient.make(apiUnder(options.prefix ?? "/api"), {
        baseUrl: options.url,
        transformClient: (client) =>
          apiKey === undefined
            ? client
            : HttpClient.mapRequest(client, HttpClientRequest.setHeader("x-api-key", Redacted.value(apiKey)))
      })
    )
  }

  static readonly layer = (options: ClientOptions): Layer.Layer<TrussClient> =>
    Layer.provide(TrussClient.layerNoDeps(options), FetchHttpClient.layer)
}
