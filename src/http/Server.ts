import { NodeHttpServer } from "@effect/platform-node"
import { Duration, Effect, Layer, Schema } from "effect"
import { HttpMiddleware, HttpRouter, HttpServer, type HttpServerError } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import type { IncomingMessage, RequestListener, Server, ServerResponse } from "node:http"
import { LogTails } from "../services/LogTails.ts"
import { layerDashboard, layerManagement } from "./AccessControl.ts"
import { answer } from "./Answers.ts"
import { DashboardApi, ManagementApi, type PrefixedApi } from "./api/Api.ts"
import { SessionApi } from "./api/Session.ts"
import { auditHandlers } from "./AuditHandlers.ts"
import { boundedServer, type ConnectionLimits, defaultLimits } from "./BoundedServer.ts"
import { clusterHandlers } from "./ClusterHandlers.ts"
import { layerDashboardRoutes, layerElsewhere } from "./DashboardRoutes.ts"
import { eventsHandlers } from "./EventsHandlers.ts"
import { layerIdempotency } from "./IdempotencyControl.ts"
import { keysHandlers } from "./KeysHandlers.ts"
import { logsHandlers } from "./LogsHandlers.ts"
import { observed } from "./Observed.ts"
import { repairHandlers } from "./RepairHandlers.ts"
import { identified } from "./RequestId.ts"
import { sessionHandlers } from "./SessionHandlers.ts"
import { SignIn, type SignInOptions } from "./SignIn.ts"
import { requireSoleHost } from "./SoleHost.ts"
import { statsHandlers } from "./StatsHandlers.ts"
import { layerSystem } from "./SystemRoutes.ts"
import { tablesHandlers } from "./TablesHandlers.ts"
import { webhooksHandlers } from "./WebhooksHandlers.ts"

export interface ServerOptions extends SignInOptions {
  readonly host: string
  /** 0 takes any free port: `HttpServer.HttpServer` has the address. */
  readonly port: number
  /** How long requests may take to end when the service stops; 10 seconds unless said. */
  readonly shutdownTimeout?: Duration.Input | undefined
  /** What clients may take; `defaultLimits` where nothing is said. */
  readonly limits?: Partial<ConnectionLimits> | undefined
}

/** The server cannot listen: `detail` says why in one line, with host and port. */
export class ListenError extends Schema.TaggedError<ListenError>()("ListenError", {
  reason: Schema.Literals(["port_in_use", "not_permitted", "no_such_address", "other"]),
  host: Schema.String,
  port: Schema.Int,
  detail: Schema.String
}) {
  override get message() {
    return this.detail
  }
}

/** What answers the routes of the API, whatever their prefix. */
export const layerHandlers = (api: PrefixedApi) =>
  Layer.mergeAll(
    webhooksHandlers(api),
    logsHandlers(api),
    repairHandlers(api),
    eventsHandlers(api),
    tablesHandlers(api),
    keysHandlers(api),
    auditHandlers(api),
    statsHandlers(api),
    clusterHandlers(api)
  ).pipe(Layer.provideMerge(layerIdempotency))

const routesOf = (api: PrefixedApi) => Layer.provide(HttpApiBuilder.layer(api), layerHandlers(api))

/**
 * All routes on an `HttpRouter`: `/api`, `/v1`, `/openapi.json`, `/docs`, `/health/live`, `/health/ready`, `/metrics`
 * and the dashboard at `/`, `/webhooks`, `/events` and `/settings`. Paths elsewhere are left to the router's owner.
 */
export const layerRoutes = (options: SignInOptions) =>
  Layer.mergeAll(
    routesOf(DashboardApi).pipe(Layer.provide(layerDashboard)),
    routesOf(ManagementApi).pipe(Layer.provide(layerManagement)),
    HttpApiBuilder.layer(SessionApi).pipe(Layer.provide(sessionHandlers)),
    layerSystem,
    layerDashboardRoutes
  ).pipe(
    Layer.provide(SignIn.layer(options)),
    Layer.provide(HttpRouter.middleware((handler) => identified(answer(handler))).layer)
  )

const reasons: Record<string, readonly [ListenError["reason"], string]> = {
  EADDRINUSE: ["port_in_use", "is in use by another program"],
  EACCES: ["not_permitted", "may not be used by this user"],
  EADDRNOTAVAIL: ["no_such_address", "is not an address of this machine"],
  ENOTFOUND: ["no_such_address", "is not a name that resolves"]
}

const listenError = ({ host, port }: ServerOptions) => ({ cause }: HttpServerError.ServeError) => {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown"
  const [reason, why] = reasons[code] ?? ["other", `cannot be listened on (${code})`]
  return new ListenError({ reason, host, port, detail: `${host}:${port} ${why}: set HOST or PORT` })
}

/** A connection that is kept alive must not outlast the last answer on it once the server is closing. */
const dropWhenClosing = (server: Server) => {
  const watch = (_: IncomingMessage, response: ServerResponse) =>
    void response.once("finish", () =>
      setImmediate(() => {
        if (!server.listening) server.closeIdleConnections()
      }))
  return server.prependListener("request", watch).prependListener("checkContinue", watch)
}

/** Requests that come between listening and having routes wait for these: nobody else would ever answer them. */
const holdUntilServed = (server: Server) => {
  const early: Array<[IncomingMessage, ServerResponse]> = []
  const hold = (request: IncomingMessage, response: ServerResponse) => void early.push([request, response])
  const onListener = (event: string | symbol, serve: RequestListener) => {
    if (event !== "request") return
    server.off("newListener", onListener).off("request", hold)
    setImmediate(() => early.forEach(([request, response]) => serve(request, response)))
  }
  return server.on("request", hold).on("newListener", onListener)
}

/** Cuts what is still open when the time for a graceful end has passed, so that nothing keeps the process up. */
const layerCut = (server: Server) =>
  Layer.effect(
    HttpServer.HttpServer,
    Effect.gen(function*() {
      const http = yield* HttpServer.HttpServer
      yield* Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections()))
      return http
    })
  )

/** Streams never end by themselves: they are ended before the server waits for its requests to end. */
const layerLetGo = Layer.effectDiscard(Effect.flatMap(LogTails, (tails) => Effect.addFinalizer(() => tails.end)))

/** The whole HTTP side on a server of its own. Gives `HttpServer`, whose address has the port. */
export const layer = (options: ServerOptions) =>
  Layer.unwrap(Effect.sync(() => {
    const server = holdUntilServed(dropWhenClosing(boundedServer({ ...defaultLimits, ...options.limits })))
    const listening = NodeHttpServer.layerServer(() => server, {
      host: options.host,
      port: options.port,
      gracefulShutdownTimeout: options.shutdownTimeout ?? Duration.seconds(10)
    }).pipe(Layer.catchTag("ServeError", (error) => Layer.effect(HttpServer.HttpServer, listenError(options)(error))))
    const served = HttpRouter.serve(
      Layer.mergeAll(
        layerRoutes(options),
        layerElsewhere,
        HttpRouter.middleware((handler) => identified(observed(answer(requireSoleHost(handler)))), { global: true })
      ),
      { disableLogger: true, disableListenLog: true }
    )
    return layerLetGo.pipe(
      Layer.provideMerge(served),
      Layer.provideMerge(layerCut(server)),
      Layer.provide(listening),
      Layer.provide(NodeHttpServer.layerHttpServices),
      // `observed` makes the span of a request: with its route for a name, and without its query.
      Layer.provide(Layer.succeed(HttpMiddleware.TracerDisabledWhen, () => true))
    )
  }))
