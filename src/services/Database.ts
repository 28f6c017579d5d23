import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, type Redacted, Schedule } from "effect"
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

/** The same, of what a moment may mend. */
export const isAwayForNow = (error: SqlError.SqlError): boolean =>
  isAway(error) && error.reason._tag !== "AuthenticationError" && !isRefusedByPooler(error)

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

/** Whether a pooler does not let a session have settings that it does not know. */
export const isRefusedByPooler = (error: SqlError.SqlError): boolean =>
  reasonOf(error).includes("unsupported startup parameter")

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

// A session of ours must read and write the same whatever the role's or the database's defaults are. Poolers know these.
const format = { timezone: "UTC", datestyle: "ISO, MDY", standard_conforming_strings: "on" }

// Plans are made while tables are small and live on when they have grown: only an index is right for both. A bitmap
// would read all that is left of a backlog for each page of it.
// Nor may what others put into `public` stand in for what we call: a function that fits the arguments better would.
const session = {
  ...format,
  search_path: "pg_catalog",
  enable_seqscan: "off",
  enable_bitmapscan: "off",
  jit: "off"
}

type StartupParameters = typeof format | typeof session

const clientOptions = (
  options: Omit<DatabaseOptions, "url">,
  server: Server,
  maxConnections: number,
  startupParameters: StartupParameters
) => ({
  ...server,
  applicationName: "truss-webhooks",
  maxConnections,
  prepare: options.prepare ?? true,
  keepAlive: "30 seconds" as const,
  connectTimeout: "10 seconds" as const,
  maxMessageSize: Math.max(32 * 1048576, 2 * (options.maxPayload ?? 1048576) + 16 * 1048576),
  startupParameters
})

/**
 * The settings that a session can have there. A pooler that refuses ours leaves those of the role, which do unless
 * everybody may create what stands in for PostgreSQL's own functions.
 */
const sessionAt = (options: Omit<DatabaseOptions, "url">, server: Server) => {
  const on = (startup: StartupParameters) =>
    Layer.fresh(PgClient.layer(clientOptions({ ...options, prepare: false }, server, 1, startup)))
  const ask = Effect.flatMap(PgClient.PgClient, (sql) =>
    sql<{ open: boolean }>`
      SELECT EXISTS (
        SELECT FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) n
        WHERE pg_catalog.has_schema_privilege('public', n, 'CREATE')
      ) AS open`)
  const withoutSettings = Effect.gen(function*() {
    const [found] = yield* Effect.provide(ask, on(format)).pipe(
      Effect.retry({ schedule: Schedule.spaced("1 second"), times: 60, while: isAwayForNow })
    )
    if (found?.open !== false) return session
    yield* Effect.logWarning(
      "the pooler before the database lets sessions have no settings: those of the role count (docs/operations/doctor.md)"
    )
    return format
  })
  return Effect.provide(ask, on(session)).pipe(
    Effect.timeout("2 seconds"),
    // Any other failure is told when the client is used.
    Effect.matchEffect({
      onFailure: (error): Effect.Effect<StartupParameters, SqlError.SqlError> =>
        SqlError.isSqlError(error) && isRefusedByPooler(error) ? withoutSettings : Effect.succeed(session),
      onSuccess: () => Effect.succeed(session)
    })
  )
}

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

const layerClient = (...settings: Parameters<typeof clientOptions>) =>
  Layer.tap(
    PgClient.layer(clientOptions(...settings)),
    (context) => Effect.sync(() => failWhenLost(Context.get(context, PgClient.PgClient)))
  )

/** The client that the doorbell listens with: one direct connection. */
export class ListenClient extends Context.Service<ListenClient, PgClient.PgClient>()("truss/services/ListenClient") {
  static readonly layer = (...settings: Parameters<typeof clientOptions>) =>
    Layer.effect(
      ListenClient,
      Effect.map(Layer.build(Layer.fresh(layerClient(...settings))), Context.get(PgClient.PgClient))
    )
}

const layerOn = (options: Omit<DatabaseOptions, "url">, server: Server) =>
  Layer.unwrap(Effect.gen(function*() {
    const startup = yield* sessionAt(options, server)
    const { listenUrl, maxConnections } = options
    const listening = listenUrl === undefined ? server : { url: listenUrl }
    return Layer.mergeAll(
      layerClient(options, server, maxConnections ?? 16, startup),
      ListenClient.layer(options, listening, 4, listening === server ? startup : yield* sessionAt(options, listening))
    )
  }))

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
