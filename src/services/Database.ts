import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, type Redacted } from "effect"
import { SqlError } from "effect/sql"
import { DatabaseUnavailable } from "../domain/Errors.ts"

/** How to reach PostgreSQL. */
export interface DatabaseOptions {
  readonly url: Redacted.Redacted
  /** A direct connection for LISTEN, where `url` goes through a transaction pooler. */
  readonly listenUrl?: Redacted.Redacted | undefined
  /** `false` for poolers that cannot keep prepared statements. */
  readonly prepare?: boolean | undefined
  readonly maxConnections?: number | undefined
  /** The largest body that is stored, in bytes: a message that carries one must fit. */
  readonly maxPayload?: number | undefined
}

const away = new Set(["ConnectionError", "AuthenticationError"])

/**
 * Turns SQL failures into what a caller can act on: the database is away, or a defect of ours. For services whose
 * statements cannot be refused for what a client sent.
 */
export const orUnavailable = <A, E, R>(
  effect: Effect.Effect<A, E | SqlError.SqlError, R>
): Effect.Effect<A, Exclude<E, SqlError.SqlError> | DatabaseUnavailable, R> =>
  Effect.catchIf(
    effect,
    (error): error is Extract<E | SqlError.SqlError, SqlError.SqlError> => SqlError.isSqlError(error),
    (error) =>
      isAway(error)
        ? Effect.fail(new DatabaseUnavailable({ detail: error.reason.message }))
        : Effect.die(error)
  ) as never

/** Whether a table that the statement names is not there. */
export const isMissingTable = (error: SqlError.SqlError): boolean => sqlState(error) === "42P01"

/** Whether the failure says nothing about the statement, only that the server could not be asked. */
export const isAway = (error: SqlError.SqlError): boolean => {
  // 3F000, 42P01: our schema is not there yet, or not any more.
  if (error.reason._tag === "SqlSyntaxError") return ["3F000", "42P01"].includes(sqlState(error) ?? "")
  if (error.reason._tag !== "UnknownError") return away.has(error.reason._tag)
  const code = sqlState(error)
  // 57P01–57P03: shut down, crashed, starting up; 08: connection exceptions; 53: out of a resource.
  return code === undefined || code.startsWith("57P0") || code.startsWith("08") || code.startsWith("53") ||
    code === "25006"
}

/** What the server, or the way to it, said. */
export const reasonOf = (error: SqlError.SqlError): string => {
  const { cause, message } = error.reason as { readonly cause?: unknown; readonly message: string }
  return cause instanceof Error || typeof cause === "object" && cause !== null && "message" in cause
    ? String(cause.message)
    : message
}

/** The SQLSTATE that the server gave, if it did. */
export const sqlState = (error: SqlError.SqlError): string | undefined => {
  const cause = (error.reason as { readonly cause?: unknown }).cause
  if (typeof cause !== "object" || cause === null || !("code" in cause)) return undefined
  return typeof cause.code === "string" ? cause.code : undefined
}

/** What of a client's settings says where the server is, and who asks. */
type Server = Pick<
  PgClient.PgClientConfig,
  "url" | "host" | "port" | "path" | "ssl" | "database" | "username" | "password" | "stream" | "startupOptions"
>

const clientOptions = (options: Omit<DatabaseOptions, "url">, server: Server, maxConnections: number) => ({
  ...server,
  applicationName: "truss-webhooks",
  maxConnections,
  prepare: options.prepare ?? true,
  keepAlive: "30 seconds" as const,
  connectTimeout: "10 seconds" as const,
  maxMessageSize: Math.max(32 * 1048576, 2 * (options.maxPayload ?? 1048576) + 16 * 1048576),
  // A session of ours must read and write the same whatever the role's or the database's defaults are.
  // Plans are made while tables are small and live on when they have grown: only an index is right for both. A bitmap
  // would read all that is left of a backlog for each page of it.
  // Nor may what others put into `public` stand in for what we call: a function that fits the arguments better would.
  startupParameters: {
    search_path: "pg_catalog",
    timezone: "UTC",
    datestyle: "ISO, MDY",
    standard_conforming_strings: "on",
    enable_seqscan: "off",
    enable_bitmapscan: "off",
    jit: "off"
  }
})

// A connection that is lost inside a transaction is a defect of `withTransaction`, since its ROLLBACK fails, too.
const failWhenLost = (sql: PgClient.PgClient): PgClient.PgClient => {
  const { withTransaction } = sql
  return Object.assign(sql, {
    withTransaction: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.catchDefect(
        withTransaction(effect),
        (defect): Effect.Effect<never, SqlError.SqlError> =>
          SqlError.isSqlError(defect) ? Effect.fail(defect) : Effect.die(defect)
      )
  })
}

const layerClient = (options: Omit<DatabaseOptions, "url">, server: Server, maxConnections: number) =>
  Layer.tap(
    PgClient.layer(clientOptions(options, server, maxConnections)),
    (context) => Effect.sync(() => failWhenLost(Context.get(context, PgClient.PgClient)))
  )

/** The client that the doorbell listens with: one direct connection. */
export class ListenClient extends Context.Service<ListenClient, PgClient.PgClient>()("truss/services/ListenClient") {
  static readonly layer = (options: Omit<DatabaseOptions, "url">, server: Server) =>
    Layer.effect(
      ListenClient,
      Effect.gen(function*() {
        const { listenUrl } = options
        const context = yield* Layer.build(
          Layer.fresh(layerClient(options, listenUrl === undefined ? server : { url: listenUrl }, 4))
        )
        return Context.get(context, PgClient.PgClient)
      })
    )
}

const layerOn = (options: Omit<DatabaseOptions, "url">, server: Server) =>
  Layer.mergeAll(
    layerClient(options, server, options.maxConnections ?? 16),
    ListenClient.layer(options, server)
  )

/** `PgClient`, `SqlClient` and `ListenClient` on one database. */
export const layerDatabase = (options: DatabaseOptions) => layerOn(options, { url: options.url })

/**
 * The same, on the database that somebody else's `PgClient` is on, and as its role. The connections are of our own: what
 * we read and write must not depend on another's transforms, session settings or plans, nor take its connections.
 */
export const layerDatabaseBeside = (options: Omit<DatabaseOptions, "url">) =>
  Layer.unwrap(Effect.map(PgClient.PgClient, ({ config }) =>
    layerOn(options, {
      url: config.url,
      host: config.host,
      port: config.port,
      path: config.path,
      ssl: config.ssl,
      database: config.database,
      username: config.username,
      password: config.password,
      stream: config.stream,
      startupOptions: config.startupOptions
    })))
