import { Clock, Effect, Layer, Stream } from "effect"
import { HttpBody, HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "effect/http"
import type { unhandled } from "effect/Types"
import { Actor } from "../services/Audit.ts"
import { Access, Principal } from "./api/Access.ts"
import { Forbidden, Unauthorized, type Unavailable, type UnsupportedMediaType } from "./api/Problems.ts"
import { requireOwnPage } from "./OwnPage.ts"
import { isReadOnly } from "./ReadOnlyEndpoints.ts"
import { SignIn, type Visitor } from "./SignIn.ts"

type Request = HttpServerRequest.HttpServerRequest

/** How often it is asked again whether who follows a stream may. */
const recheckEveryMs = 10_000

interface Endpoint {
  readonly identifier: string
}

const isQuery = (request: Request) => request.method === "GET" || request.method === "HEAD"

type Refusal = Unauthorized | Forbidden | Unavailable | UnsupportedMediaType

/** Lets in who is known, to do what their scope allows. */
const admit = Effect.fnUntraced(function*(visitor: Visitor, request: Request, endpoint: Endpoint) {
  if (visitor._tag === "Stranger") return yield* new Unauthorized({ detail: visitor.detail })
  const { isAmbient, principal } = visitor
  if (isQuery(request)) return principal
  if (isAmbient) yield* requireOwnPage(request)
  if (principal.scope === "read" && !isReadOnly(endpoint)) {
    return yield* new Forbidden({ detail: "This API key may only read" })
  }
  return principal
})

/** An answer that goes on ends when its credentials do: seen by what it sends next, and it is never silent for long. */
const whileAdmitted = Effect.fnUntraced(function*(
  response: HttpServerResponse.HttpServerResponse,
  admitted: Effect.Effect<unknown, Refusal>
) {
  const { body } = response
  if (body._tag !== "Stream") return response
  let checkedAt = yield* Clock.currentTimeMillis
  const mayGoOn = Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    if (now - checkedAt < recheckEveryMs) return true
    checkedAt = now
    return yield* Effect.match(admitted, {
      onSuccess: () => true,
      onFailure: ({ _tag }) => _tag === "Unavailable"
    })
  })
  return HttpServerResponse.setBody(
    response,
    HttpBody.stream(Stream.takeWhileEffect(body.stream, () => mayGoOn), body.contentType, body.contentLength)
  )
})

/** Lets in whom `identify` knows. */
export const layerAccess = <R>(
  identify: (request: Request) => Effect.Effect<Visitor, Unauthorized | Forbidden | Unavailable, R>
) =>
  Layer.effect(
    Access,
    Effect.map(Effect.context<R>(), (context) => {
      const admitted = (request: Request, endpoint: Endpoint) =>
        Effect.flatMap(
          Effect.provideContext(identify(request), context),
          (visitor) => admit(visitor, request, endpoint)
        )
      return (
        handler: Effect.Effect<HttpServerResponse.HttpServerResponse, unhandled, Principal>,
        { endpoint }: { readonly endpoint: Endpoint }
      ) =>
        Effect.gen(function*() {
          const request = yield* HttpServerRequest.HttpServerRequest
          const principal = yield* admitted(request, endpoint)
          const response = yield* handler.pipe(
            Effect.provideService(Principal, principal),
            Effect.provideService(Actor, principal.actor)
          )
          return yield* whileAdmitted(response, admitted(request, endpoint))
        }).pipe(
          // Known to the routes that take a body; the others answer it to who sends one.
          Effect.catchTag("UnsupportedMediaType", HttpServerRespondable.toResponse)
        )
    })
  )

/** For `/v1`: an API key, always; cookies do not count. */
export const layerManagement = layerAccess((request) => Effect.flatMap(SignIn, (signIn) => signIn.byKey(request)))

/** For `/api`: an API key or a session, or nothing where it is open and the request comes from this machine. */
export const layerDashboard = layerAccess((request) => Effect.flatMap(SignIn, (signIn) => signIn.identify(request)))
