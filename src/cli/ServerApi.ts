import { Context, Effect, Layer, Redacted, Schema, Stream } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest, type HttpClientResponse } from "effect/http"
import type { SettingsShape } from "../services/Settings.ts"
import { type StreamEvent, streamEvents } from "./EventStream.ts"
import { CommandFailed } from "./Failure.ts"

/** The server cannot be reached, or is not up just now: the same request may work later. */
export class ServerAway extends Schema.TaggedError<ServerAway>()("ServerAway", { detail: Schema.String }) {}

/** The server said no. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  status: Schema.Int,
  detail: Schema.String
}) {}

/** Silence for longer means that nobody is there any more: the server sends something every 15 s. */
const silence = "45 seconds"

const problem = (status: number, text: string): string => {
  try {
    const { detail, errors, title } = JSON.parse(text)
    if (Array.isArray(errors)) {
      return errors.map(({ message, path }) => path === "" ? message : `${path} ${message}`).join("; ")
    }
    return detail ?? title ?? `it answered ${status}`
  } catch {
    return `it answered ${status}`
  }
}

/** The REST API of a running service, as text: nothing is decoded, so nothing is lost. */
export class ServerApi extends Context.Service<ServerApi, {
  readonly url: string
  /** The body of a 2xx answer; `path` is behind `/api` or `/v1`. */
  request(
    method: "GET" | "POST" | "PATCH" | "DELETE",
    path: string,
    body?: unknown
  ): Effect.Effect<string, ServerAway | Refused>
  /** Server-sent events, from behind an id. Ends when the server ends it, or when nothing comes any more. */
  events(path: string, lastId: string | undefined): Stream.Stream<StreamEvent, ServerAway | Refused>
}>()("truss/cli/ServerApi") {
  static readonly layer = ({ apiKey, serverUrl }: Pick<SettingsShape, "apiKey" | "serverUrl">) =>
    Layer.effect(
      ServerApi,
      Effect.gen(function*() {
        const client = yield* HttpClient.HttpClient
        const url = serverUrl.replace(/\/+$/, "")
        const away = () =>
          new ServerAway({ detail: `TRUSS_URL: no Truss Webhooks answers at ${url}: is it running there?` })

        const execute = Effect.fnUntraced(function*(request: HttpClientRequest.HttpClientRequest) {
          const keyed = apiKey === undefined
            ? HttpClientRequest.prependUrl(request, `${url}/api`)
            : HttpClientRequest.prependUrl(request, `${url}/v1`).pipe(
              HttpClientRequest.setHeader("apikey", Redacted.value(apiKey))
            )
          const response = yield* Effect.mapError(client.execute(keyed), away)
          if (response.status >= 200 && response.status < 300) return response
          const detail = problem(response.status, yield* Effect.mapError(response.text, away))
          if (response.status >= 500) {
            return yield* new ServerAway({ detail: `TRUSS_URL: the server at ${url}: ${detail}` })
          }
          return yield* new Refused({ status: response.status, detail })
        })

        const request = Effect.fnUntraced(
          function*(method: "GET" | "POST" | "PATCH" | "DELETE", path: string, body?: unknown) {
            const bare = HttpClientRequest.make(method)(path)
            const response: HttpClientResponse.HttpClientResponse = yield* execute(
              body === undefined ? bare : HttpClientRequest.bodyText(bare, JSON.stringify(body), "application/json")
            )
            return yield* Effect.mapError(response.text, away)
          },
          Effect.timeoutOrElse({ duration: "60 seconds", orElse: () => Effect.fail(away()) })
        )

        const events = (path: string, lastId: string | undefined) =>
          Stream.unwrap(Effect.map(
            execute(
              HttpClientRequest.get(path).pipe(
                lastId === undefined ? (request) => request : HttpClientRequest.setHeader("last-event-id", lastId)
              )
            ),
            (response) =>
              response.stream.pipe(
                Stream.mapError(away),
                Stream.timeout(silence),
                Stream.decodeText,
                Stream.splitLines,
                streamEvents
              )
          ))

        return ServerApi.of({ url, request, events })
      })
    ).pipe(Layer.provide(FetchHttpClient.layer))
}

/** The words for what a server said, or for its silence. */
export const toCommandFailed = (error: ServerAway | Refused): CommandFailed =>
  new CommandFailed({
    lines: [
      error._tag === "ServerAway"
        ? error.detail
        : error.status === 401
        ? "the server wants an API key: give --api-key or TRUSS_API_KEY (truss-webhooks keys create makes one there)"
        : error.detail
    ]
  })
