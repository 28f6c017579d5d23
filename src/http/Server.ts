import { NodeHttpServer } from "@effect/platform-node"
import { Duration, Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServer, type HttpServerError } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { LogTails } from "../services/LogTails.ts"
import { layerDashboard, layerManagement } from "./AccessControl.ts"
import { answer, logged } from "./Answers.ts"
import { DashboardApi, ManagementApi, type PrefixedApi } from "./api/Api.ts"
import { SessionApi } from "./api/Session.ts"
import { auditHandlers } from "./AuditHandlers.ts"
import { clusterHandlers } from "./ClusterHandlers.ts"
import { eventsHandlers } from "./EventsHandlers.ts"
import { layerIdempotency } from "./IdempotencyControl.ts"
import { keysHandlers } from "./KeysHandlers.ts"
import { logsHandlers } from "./LogsHandlers.ts"
import { repairHandlers } from "./RepairHandlers.ts"
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

const routesOf = (api: PrefixedApi) =>
  HttpApiBuilder.layer(api).pipe(
    Layer.provide([
      webhooksHandlers(api),
      logsHandlers(api),
      repairHandlers(api),
      eventsHandlers(api),
      tablesHandlers(api),
      keysHandlers(api),
      auditHandlers(api),
      statsHandlers(api),
      clusterHandlers(api)
    ]),
    Layer.provide(layerIdempotency)
  )

/**
 * All routes on an `HttpRouter`: `/api`, `/v1`, `/openapi.json`, `/docs`, `/health/live`, `/health/ready`, `/metrics`
 * and `/`. Paths elsewhere are left to the router's owner.
 */
export const layerRoutes = (options: SignInOptions) =>
  Layer.mergeAll(
    routesOf(DashboardApi).pipe(Layer.provide(layerDashboard)),
    routesOf(ManagementApi).pipe(Layer.provide(layerManagement)),
    HttpApiBuilder.layer(SessionApi).pipe(Layer.provide(sessionHandlers)),
    layerSystem
  ).pipe(Layer.provide(SignIn.layer(options)), Layer.provide(HttpRouter.middleware(answer).layer))

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
    const server = dropWhenClosing(createServer({
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      keepAliveTimeout: 65_000,
      connectionsCheckingInterval: 5_000
    }))
    const listening = NodeHttpServer.layerServer(() => server, {
      host: options.host,
      port: options.port,
      gracefulShutdownTimeout: options.shutdownTimeout ?? Duration.seconds(10)
    }).pipe(Layer.catchTag("ServeError", (error) => Layer.effect(HttpServer.HttpServer, listenError(options)(error))))
    const served = HttpRouter.serve(
      Layer.mergeAll(
        layerRoutes(options),
        HttpRouter.middleware((handler) => logged(answer(requireSoleHost(handler))), { global: true })
      ),
      { disableLogger: true, disableListenLog: true }
    )
    return layerLetGo.pipe(
      Layer.provideMerge(served),
      Layer.provideMerge(layerCut(server)),
      Layer.provide(listening),
      Layer.provide(NodeHttpServer.layerHttpServices)
    )
  }))
