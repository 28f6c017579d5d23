import { Effect, Layer } from "effect"
import { HttpRouter, type HttpServerRequest } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { layerAccess } from "./AccessControl.ts"
import { answer, answerNoRouteUnder } from "./Answers.ts"
import type { Principal } from "./api/Access.ts"
import { apiUnder, type Prefix } from "./api/Api.ts"
import type { Forbidden, Unauthorized, Unavailable } from "./api/Problems.ts"
import { identified } from "./RequestId.ts"
import { layerHandlers } from "./Server.ts"

export interface MountedApiOptions<R = never> {
  /** Where the routes stand, such as `/admin/hooks` for `/admin/hooks/webhooks`; nothing else is touched. */
  readonly prefix: Prefix
  /**
   * Who makes a request, by the program's own means; its failures are the answer. Called for every request, and every 10
   * seconds for those who follow a stream. Changes by pages of other origins are refused whoever makes them, so that a
   * session's cookie can be used here.
   */
  readonly authenticate: (
    request: HttpServerRequest.HttpServerRequest
  ) => Effect.Effect<Principal["Service"], Unauthorized | Forbidden | Unavailable, R>
}

/** The REST API for the program's own `HttpRouter`, under its prefix and behind its authentication. */
export const layerMountedApi = <R = never>(options: MountedApiOptions<R>) => {
  const { authenticate, prefix } = options
  const api = apiUnder(prefix)
  const noRoute = HttpRouter.use((router) =>
    Effect.forEach(
      ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"] as const,
      (method) => router.add(method, `${prefix}/*`, answerNoRouteUnder(prefix)),
      { discard: true }
    )
  )
  const access = layerAccess((request) =>
    Effect.map(authenticate(request), (principal) => ({ _tag: "Known", principal, isAmbient: true } as const))
  )
  return Layer.mergeAll(
    HttpApiBuilder.layer(api).pipe(Layer.provide(layerHandlers(api)), Layer.provide(access)),
    noRoute
  )
    .pipe(Layer.provide(HttpRouter.middleware((handler) => identified(answer(handler))).layer))
}
