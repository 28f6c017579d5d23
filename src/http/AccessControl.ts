import { Effect, Layer, Redacted } from "effect"
import { HttpServerRequest, type HttpServerResponse } from "effect/http"
import type { unhandled } from "effect/Types"
import { ApiKeys } from "../services/ApiKeys.ts"
import { Actor } from "../services/Audit.ts"
import { Access, Principal } from "./api/Access.ts"
import { Forbidden, Unauthorized, Unavailable } from "./api/Problems.ts"

type Request = HttpServerRequest.HttpServerRequest

const loopback = /^(?:(?:[a-z0-9-]+\.)*localhost\.?|127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}|\[::1\])(?::\d{1,5})?$/i

const changes = (request: Request) => request.method !== "GET" && request.method !== "HEAD"

const credentialOf = ({ headers }: Request): string | undefined =>
  headers["apikey"] || headers["x-api-key"] || /^bearer +(\S.*)$/i.exec(headers["authorization"] ?? "")?.[1]

/** Lets in who shows a valid API key, with the scope that the request needs. */
const byKey = Effect.fnUntraced(function*(keys: ApiKeys["Service"], request: Request) {
  const credential = credentialOf(request)
  if (credential === undefined) {
    return yield* new Unauthorized({ detail: "Send an API key as apikey, x-api-key or Authorization: Bearer" })
  }
  const owner = yield* Effect.catchTag(
    keys.verify(Redacted.make(credential)),
    "DatabaseUnavailable",
    () => Effect.fail(new Unavailable({ detail: "The database does not answer" }))
  )
  if (owner === undefined) return yield* new Unauthorized({ detail: "The API key is not valid" })
  if (owner.scope === "read" && changes(request)) {
    return yield* new Forbidden({ detail: "This API key may only read" })
  }
  return { name: owner.name, keyId: owner.id, scope: owner.scope }
})

/** Whether a browser says that a page of another origin made the request. */
const isForeign = ({ headers }: Request): boolean => {
  const site = headers["sec-fetch-site"]
  if (site === "cross-site" || site === "same-site") return true
  const origin = headers["origin"]
  if (origin === undefined) return false
  const from = URL.parse(origin)
  return from === null || from.host !== URL.parse(`http://${headers["host"]}`)?.host
}

/** Lets in who reaches the service by a loopback name (a rebound DNS name does not) and is no other site's page. */
const byLoopback = Effect.fnUntraced(function*(request: Request) {
  if (!loopback.test(request.headers["host"] ?? "")) {
    return yield* new Forbidden({
      detail: "Without authentication the API answers only to localhost: set TRUSS_AUTH=required to use another name"
    })
  }
  if (changes(request) && isForeign(request)) {
    return yield* new Forbidden({ detail: "Another site's page may not change anything here" })
  }
  return { name: "local", keyId: null, scope: "write" as const }
})

const layer = (
  admit: (
    keys: ApiKeys["Service"],
    request: Request
  ) => Effect.Effect<Principal["Service"], Unauthorized | Forbidden | Unavailable>
) =>
  Layer.effect(
    Access,
    Effect.map(
      ApiKeys,
      (keys) => (handler: Effect.Effect<HttpServerResponse.HttpServerResponse, unhandled, Principal>) =>
        HttpServerRequest.HttpServerRequest.pipe(
          Effect.flatMap((request) => admit(keys, request)),
          Effect.flatMap((principal) =>
            handler.pipe(Effect.provideService(Principal, principal), Effect.provideService(Actor, principal.name))
          )
        )
    )
  )

/** For `/v1`: an API key, always. */
export const layerManagement = layer(byKey)

/** For `/api`: an API key, or nothing where `auth` is `open` and the request comes from this machine. */
export const layerDashboard = (auth: "open" | "required") =>
  auth === "required" ? layerManagement : layer((_, request) => byLoopback(request))
