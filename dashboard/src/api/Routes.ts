import type { HttpApi, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import type { Api } from "../../../src/http/api/Api.ts"

type Groups = typeof Api extends HttpApi.HttpApi<infer _Id, infer G> ? G : never

export type GroupName = HttpApiGroup.Identifier<Groups>

/** The endpoints of a group of the API's definition. */
type Endpoints<G extends GroupName> = HttpApiGroup.Endpoints<HttpApiGroup.WithIdentifier<Groups, G>>

export type EndpointName<G extends GroupName> = HttpApiEndpoint.Identifier<Endpoints<G>>

export type Endpoint<G extends GroupName, E extends EndpointName<G>> = HttpApiEndpoint.WithIdentifier<Endpoints<G>, E>

type RouteOf<E> = E extends { readonly method: infer M extends string; readonly path: infer P extends string }
  ? `${M} ${P}`
  : never

/**
 * Every route of the REST API. Only the definition's types are used here, so that browsers need not load Effect: a
 * route that differs from the definition, or is missing, does not compile.
 */
export const routes = {
  webhooks: {
    create: "POST /webhooks",
    list: "GET /webhooks",
    get: "GET /webhooks/:id",
    patch: "PATCH /webhooks/:id",
    delete: "DELETE /webhooks/:id",
    test: "POST /webhooks/:id/test",
    rotate: "POST /webhooks/:id/secret/rotate",
    preview: "POST /webhooks/preview"
  },
  logs: {
    list: "GET /webhooks/:id/logs",
    stream: "GET /webhooks/:id/logs/stream",
    get: "GET /webhooks/:id/logs/:logId",
    replay: "POST /webhooks/:id/replay/:logId",
    skip: "POST /webhooks/:id/skip/:eventId"
  },
  repair: {
    reconcile: "GET /webhooks/:id/reconcile",
    replay: "POST /webhooks/:id/replay",
    recover: "POST /webhooks/:id/recover",
    jobs: "GET /webhooks/:id/jobs",
    cancel: "DELETE /webhooks/:id/jobs/:jobId"
  },
  events: { get: "GET /events/:eventId" },
  tables: { list: "GET /tables" },
  keys: { list: "GET /keys", create: "POST /keys", revoke: "DELETE /keys/:id" },
  audit: { list: "GET /audit" },
  stats: { get: "GET /webhooks/:id/stats", all: "GET /stats" },
  cluster: { get: "GET /cluster" }
} as const satisfies { readonly [G in GroupName]: { readonly [E in EndpointName<G>]: RouteOf<Endpoint<G, E>> } }
