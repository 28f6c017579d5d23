import { Effect } from "effect"
import { HttpServerRequest, HttpServerRespondable, type HttpServerResponse } from "effect/http"
import type { IncomingMessage } from "node:http"
import { badRequest } from "./Faults.ts"

// Node takes the first of them, a proxy in front may take the last.
const hasSeveral = (request: HttpServerRequest.HttpServerRequest) =>
  (request.source as IncomingMessage).rawHeaders.filter((text, i) => i % 2 === 0 && text.toLowerCase() === "host")
    .length > 1

/** 400 for a request with several `Host` headers, as RFC 9112, section 3.2, asks. */
export const requireSoleHost = <E, R>(handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
    hasSeveral(request)
      ? HttpServerRespondable.toResponse(badRequest([{ path: "host", message: "must be there once" }]))
      : handler)
