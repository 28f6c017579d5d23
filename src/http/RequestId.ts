import { Context, Effect } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { randomUUID } from "node:crypto"

/** The id of the request that is being answered: `x-request-id` of its answer, `request_id` in every line of the log. */
export const RequestId = Context.Reference<string | undefined>("truss/http/RequestId", {
  defaultValue: () => undefined
})

/** What is taken over from whoever asks: what other services make ids of, and nothing that could break out of a line. */
const acceptable = /^[\w.:=/+-]{1,128}$/

const idOf = ({ headers }: HttpServerRequest.HttpServerRequest): string => {
  const given = headers["x-request-id"]
  return given !== undefined && acceptable.test(given) ? given : randomUUID()
}

const decoder = new TextDecoder()

/** The problem with the id in its `detail`, for whoever has only that to show. */
const withIdInDetail = (response: HttpServerResponse.HttpServerResponse, id: string) => {
  if (response.status < 500 || response.body._tag !== "Uint8Array") return response
  if (!response.body.contentType.startsWith("application/problem+json")) return response
  const problem = JSON.parse(decoder.decode(response.body.body))
  return HttpServerResponse.setBody(
    response,
    HttpServerResponse.jsonUnsafe({ ...problem, detail: `${problem.detail} (request ${id})` }, {
      contentType: response.body.contentType
    }).body
  )
}

/** Gives the request its id, unless it has one already. */
export const identified = <E, R>(
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(RequestId, (existing) => {
    if (existing !== undefined) return handler
    return Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      const id = idOf(request)
      return handler.pipe(
        Effect.map((response) => HttpServerResponse.setHeader(withIdInDetail(response, id), "x-request-id", id)),
        Effect.annotateLogs("request_id", id),
        Effect.provideService(RequestId, id)
      )
    })
  })
