import { HttpApi, OpenApi } from "effect/http-api"
import { Access } from "./Access.ts"
import { AuditGroup } from "./Audit.ts"
import { ClusterGroup } from "./Cluster.ts"
import { EventsGroup } from "./Events.ts"
import { Idempotency } from "./Idempotency.ts"
import { KeysGroup } from "./Keys.ts"
import { LogsGroup } from "./Logs.ts"
import { RepairGroup } from "./Repair.ts"
import { StatsGroup } from "./Stats.ts"
import { TablesGroup } from "./Tables.ts"
import { WebhooksGroup } from "./Webhooks.ts"

/** Every route of the REST API, without its prefix. */
export class Api extends HttpApi.make("truss-webhooks")
  .add(WebhooksGroup, LogsGroup, RepairGroup, EventsGroup, TablesGroup, KeysGroup, AuditGroup, StatsGroup, ClusterGroup)
  .middleware(Idempotency)
  .middleware(Access)
  .annotate(HttpApi.ParseOptions, { errors: "all" })
  .annotateMerge(OpenApi.annotations({
    title: "Truss Webhooks",
    version: "0.1.0",
    description: "Signed, durable, visible webhooks for every change in PostgreSQL."
  }))
{}

const prefixed = (prefix: "/api" | "/v1") => Api.prefix(prefix)

/** The API under one of its prefixes; one type for both, so that they share handlers and clients. */
export type PrefixedApi = ReturnType<typeof prefixed>

/** Where the API stands. */
export type Prefix = `/${string}`

/** The API under a prefix of somebody else's choice. */
export const apiUnder = (prefix: Prefix): PrefixedApi => prefixed(prefix as "/api")

/** For the dashboard and for tools on this machine: open on loopback unless keys are required. */
export const DashboardApi: PrefixedApi = prefixed("/api")

/** The management API: an API key is always required. */
export const ManagementApi: PrefixedApi = prefixed("/v1")
