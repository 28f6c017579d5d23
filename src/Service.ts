import { PgClient } from "@effect/sql-pg"
import { Context, Duration, Effect, Layer, Metric, type Redacted, Schedule, Schema, Tracer } from "effect"
import { HttpServer } from "effect/http"
import { SqlClient } from "effect/sql"
import { hostname } from "node:os"
import * as Http from "./http/Server.ts"
import type { ClusterOptions } from "./listener/Cluster.ts"
import { Dispatcher } from "./listener/Dispatcher.ts"
import { Permits } from "./listener/Permits.ts"
import { Alerts } from "./services/Alerts.ts"
import { ApiKeys } from "./services/ApiKeys.ts"
import { Audit } from "./services/Audit.ts"
import { Capture } from "./services/Capture.ts"
import { ChangeFeed } from "./services/ChangeFeed.ts"
import { Cursors } from "./services/Cursors.ts"
import {
  type DatabaseOptions,
  isAwayForNow,
  layerDatabase,
  layerDatabaseBeside,
  ListenClient,
  reasonOf
} from "./services/Database.ts"
import { DeliveryLog } from "./services/DeliveryLog.ts"
import * as DeliveryMetrics from "./services/DeliveryMetrics.ts"
import { TraceDeliveries } from "./services/DeliveryTrace.ts"
import { Disabling } from "./services/Disabling.ts"
import { Egress, type EgressOptions } from "./services/Egress.ts"
import type { EncryptionKeys } from "./services/EncryptionKey.ts"
import { EventHistories } from "./services/EventHistories.ts"
import { Health } from "./services/Health.ts"
import { IdempotencyKeys } from "./services/IdempotencyKeys.ts"
import { Jobs } from "./services/Jobs.ts"
import { Layouts } from "./services/Layouts.ts"
import { ListenSinks } from "./services/ListenSinks.ts"
import { LogTails } from "./services/LogTails.ts"
import { ManualDelivery } from "./services/ManualDelivery.ts"
import { migrate } from "./services/Migrations.ts"
import { Partitions } from "./services/Partitions.ts"
import { Preview } from "./services/Preview.ts"
import { layerProcessMetrics } from "./services/ProcessMetrics.ts"
import { Reconciler } from "./services/Reconciler.ts"
import { Registrar } from "./services/Registrar.ts"
import { RowQueue } from "./services/RowQueue.ts"
import { Runners } from "./services/Runners.ts"
import { SecretRotator } from "./services/SecretRotator.ts"
import { Secrets } from "./services/Secrets.ts"
import { Sender } from "./services/Sender.ts"
import { Sessions } from "./services/Sessions.ts"
import { defaultEgressAllow, isLoopback } from "./services/Settings.ts"
import { Standing } from "./services/Standing.ts"
import { Statistics } from "./services/Statistics.ts"
import { Subscribers } from "./services/Subscribers.ts"
import { Tables } from "./services/Tables.ts"
import { WebhookChanges } from "./services/WebhookChanges.ts"
import { Webhooks } from "./services/Webhooks.ts"

/** Everything that the whole service can be told. */
export interface ServiceOptions {
  readonly database: DatabaseOptions
  readonly http: {
    readonly host: string
    readonly port: number
    readonly auth: "open" | "required"
    /** A write-scoped key that is accepted without being stored. */
    readonly apiKey?: Redacted.Redacted | undefined
    /** The public URL of an Ory Kratos whose sessions are let in. */
    readonly kratosUrl?: string | undefined
  }
  /** Encrypt signing secrets and header values at rest; every process on the database needs the same. */
  readonly encryptionKeys: EncryptionKeys
  /** Attempts in flight, whole process. */
  readonly concurrency: number
  /** Whole days that events and the log are kept. */
  readonly retentionDays: number
  /** Bytes; a larger body is reduced to the primary key. */
  readonly maxPayload: number
  /** `off` never uses NOTIFY. */
  readonly listen: "auto" | "off"
  /** A webhook that failed on every attempt for so long is disabled; 5 days unless said. */
  readonly disableAfterMs?: number | undefined
  /** Gets a signed POST when a webhook is disabled by the service, or its circuit stays open. */
  readonly alertUrl?: string | undefined
  /** Where deliveries may go. `allow` unless said: loopback and private ranges if only this machine can reach the API. */
  readonly egress?: EgressOptions | undefined
  /** How long a circuit is open before that is an alert; 5 minutes unless said. */
  readonly circuitAlertAfterMs?: number | undefined
  /** A span for every attempt, told to its endpoint in `traceparent`. */
  readonly traceDeliveries?: boolean | undefined
  /** How long the temporary webhook of a `listen` that is gone stays; 10 minutes unless said. */
  readonly forgetListenAfterMs?: number | undefined
  /** Makes this process one of many that share the webhooks of the database; without it, one delivers. */
  readonly cluster?: ClusterOptions | undefined
}

/** The API requires a key and nobody could have one. */
export class NoApiKey extends Schema.TaggedError<NoApiKey>()("NoApiKey", {
  detail: Schema.String
}) {}

/** The API would be open to whoever can reach the address. */
export class Unprotected extends Schema.TaggedError<Unprotected>()("Unprotected", {
  detail: Schema.String
}) {}

/** How long a start waits for a database that does not answer. */
const patience = "60 seconds"

const waitForDatabase = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* sql`SELECT 1`.pipe(
    Effect.tapError((error) =>
      isAwayForNow(error)
        ? Effect.logWarning("waiting for the database", reasonOf(error))
        : Effect.void
    ),
    Effect.retry({
      schedule: Schedule.spaced("1 second").pipe(Schedule.upTo({ duration: patience })),
      while: isAwayForNow
    })
  )
})

const requireKey = Effect.fnUntraced(function*(options: ServiceOptions) {
  const { apiKey, auth, kratosUrl } = options.http
  if (auth === "open" || apiKey !== undefined || kratosUrl !== undefined) return
  const keys = yield* ApiKeys
  if (yield* keys.any) return
  return yield* new NoApiKey({
    detail: "TRUSS_AUTH: the API requires a key and there is none; make one with " +
      "`truss-webhooks keys create --name first --scope write`, or set TRUSS_API_KEY or KRATOS_PUBLIC_URL"
  })
})

const requireProtection = Effect.fnUntraced(function*({ http: { auth, host, kratosUrl } }: ServiceOptions) {
  if (auth === "required") return
  if (!isLoopback(host)) {
    return yield* new Unprotected({
      detail: `TRUSS_AUTH: open lets in whoever reaches ${host}; set TRUSS_AUTH=required, or HOST to a loopback address`
    })
  }
  if (kratosUrl !== undefined) {
    yield* Effect.logWarning("KRATOS_PUBLIC_URL does nothing while /api is open: set TRUSS_AUTH=required")
  }
})

const requireClusterToken = Effect.fnUntraced(function*({ cluster }: ServiceOptions) {
  if (cluster === undefined || cluster.token !== undefined) return
  const open = [cluster.listen ?? cluster.address, cluster.address].find(({ host }) => !isLoopback(host))
  if (open === undefined) return
  return yield* new Unprotected({
    detail: `TRUSS_CLUSTER: whoever reaches ${open.host} could speak to this runner; set TRUSS_CLUSTER_TOKEN to the ` +
      "same secret at all of them (openssl rand -base64 32 makes one)"
  })
})

const roundTripSeconds = Metric.histogram("truss_database_round_trip_seconds", {
  description:
    "Time of the statement SELECT 1, once a second: the wait for a connection of the pool, the way, the answer",
  boundaries: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 3]
})

/** Keeps `/health/ready` true: asks the database every second. */
const watchDatabase = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const health = yield* Health
  yield* Metric.value(roundTripSeconds)
  yield* sql`SELECT 1`.pipe(
    Effect.trackDuration(roundTripSeconds, Duration.toSeconds),
    Effect.timeout("3 seconds"),
    Effect.matchEffect({
      onFailure: (error) =>
        health.set({ database: error._tag === "SqlError" ? error.reason.message : "does not answer within 3 s" }),
      onSuccess: () => health.set({ database: null })
    }),
    Effect.repeat(Schedule.spaced("1 second")),
    Effect.forkScoped
  )
})

/** Statements that nobody asked for, some of them every second, would be traces of their own. */
const untraced = Effect.withTracerEnabled(false)

/** Who exports metrics reads them as they stand: where somebody does, what the database tells is kept fresh. */
const standingForExporters = Effect.gen(function*() {
  if ((yield* Tracer.Tracer) === Tracer.nativeTracer) return
  yield* (yield* Standing).refresh.pipe(Effect.repeat(Schedule.spaced("10 seconds")), Effect.forkScoped)
})

const addressOf = ({ address }: HttpServer.HttpServer["Service"]): string =>
  HttpServer.formatAddress(address).replace(/^http:\/\//, "")

/** The parts that need no HTTP and no listening: what commands and embedders use. */
export const layerServices = (
  options:
    & Pick<
      ServiceOptions,
      | "encryptionKeys"
      | "maxPayload"
      | "disableAfterMs"
      | "alertUrl"
      | "circuitAlertAfterMs"
      | "egress"
      | "forgetListenAfterMs"
    >
    & {
      readonly apiKey?: Redacted.Redacted | undefined
    }
) => {
  const base = Layer.mergeAll(
    Partitions.layer,
    Capture.layer({ maxPayload: options.maxPayload }),
    WebhookChanges.layer,
    Cursors.layer,
    ChangeFeed.layer,
    DeliveryLog.layer,
    LogTails.layer,
    Sender.layer,
    Health.layer,
    ApiKeys.layer({ apiKey: options.apiKey }),
    Audit.layer,
    IdempotencyKeys.layer({ keys: options.encryptionKeys }),
    Standing.layer
  )
  const alerts = Alerts.layer({ url: options.alertUrl, circuitAlertAfterMs: options.circuitAlertAfterMs })
  return Layer.mergeAll(
    Layer.mergeAll(ListenSinks.layer({ forgetAfterMs: options.forgetListenAfterMs }), Registrar.layer).pipe(
      Layer.provideMerge(Webhooks.layer)
    ),
    SecretRotator.layer,
    ManualDelivery.layer,
    Preview.layer,
    EventHistories.layer,
    Reconciler.layer,
    Tables.layer,
    Runners.layer,
    Statistics.layer,
    Jobs.layer,
    RowQueue.layer,
    Layouts.layer,
    Sessions.layer({ apiKey: options.apiKey }),
    Disabling.layer({ afterMs: options.disableAfterMs })
  ).pipe(
    Layer.provideMerge(Webhooks.layer),
    Layer.provideMerge(alerts),
    Layer.provideMerge(base),
    Layer.provideMerge(
      Layer.mergeAll(Egress.layer(options.egress), Secrets.layer({ keys: options.encryptionKeys }), Subscribers.layer)
    )
  )
}

/** What is given away: the embedding program's own clients must not be hidden by ours. */
const ours = Context.omit(PgClient.PgClient, SqlClient.SqlClient, ListenClient)

/** Waits for the database, and brings the schema up to date. */
const prepare = Effect.gen(function*() {
  yield* watchDatabase
  yield* waitForDatabase
  yield* migrate()
  yield* (yield* Secrets).admit
})

/** Delivers, or stands by, and says so to the others. */
const deliver = Effect.fnUntraced(function*(
  options: Pick<ServiceOptions, "listen" | "retentionDays" | "cluster">,
  address: string
) {
  const dispatcher = yield* Layer.build(
    Dispatcher.layer({
      listen: options.listen,
      retentionDays: options.retentionDays,
      cluster: options.cluster && { ...options.cluster, apiAddress: address }
    })
  )
  yield* standingForExporters
  yield* (yield* Runners).join(address, options.cluster !== undefined)
  return dispatcher
})

/**
 * The whole service. The API answers at once, with 503 for what needs the database until that is there; then the schema
 * is brought up to date, and deliveries begin. It ends in the opposite order.
 */
export const layerService = (options: ServiceOptions) =>
  Layer.effectContext(Effect.gen(function*() {
    yield* requireProtection(options)
    yield* requireClusterToken(options)
    yield* Layer.build(layerProcessMetrics)
    DeliveryMetrics.register(yield* Effect.context<never>())
    const services = yield* untraced(Layer.build(
      layerServices({
        ...options,
        apiKey: options.http.apiKey,
        egress: { ...options.egress, allow: options.egress?.allow ?? defaultEgressAllow(options.http.host) }
      }).pipe(
        Layer.provideMerge(Layer.mergeAll(
          layerDatabase({ ...options.database, maxPayload: options.maxPayload }),
          Permits.layer(options.concurrency)
        ))
      )
    ))
    const http = yield* Layer.build(Http.layer(options.http)).pipe(Effect.provideContext(services))
    const start = Effect.andThen(
      prepare,
      Effect.andThen(requireKey(options), deliver(options, addressOf(Context.get(http, HttpServer.HttpServer))))
    )
    const running = yield* untraced(Effect.provideContext(start, services))
    // Who follows a log is let go at once, not when the attempts in flight have ended.
    yield* Effect.addFinalizer(() => Context.get(services, LogTails).end)
    return Context.mergeAll(ours(services), http, running)
  })).pipe(Layer.provide(Layer.succeed(TraceDeliveries, options.traceDeliveries ?? false)))

/** What capture and delivery can be told. What is not said is as `serve` has it, but nothing private may be reached. */
export interface DeliveryOptions
  extends Pick<ServiceOptions, "encryptionKeys">, Partial<Omit<ServiceOptions, "database" | "http" | "encryptionKeys">>
{
  /** A write-scoped key that the API accepts without it being stored, where one is mounted. */
  readonly apiKey?: Redacted.Redacted | undefined
}

const layerDeliveryOn = <E, R>(
  options: DeliveryOptions,
  database: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient | ListenClient, E, R>
) =>
  Layer.effectContext(Effect.gen(function*() {
    const { maxPayload = 1_048_576, listen = "auto", retentionDays = 7 } = options
    DeliveryMetrics.register(yield* Effect.context<never>())
    const services = yield* untraced(Layer.build(
      layerServices({ ...options, maxPayload }).pipe(
        Layer.provideMerge(Layer.mergeAll(Layer.fresh(database), Permits.layer(options.concurrency ?? 256)))
      )
    ))
    const start = Effect.andThen(prepare, deliver({ listen, retentionDays }, hostname()))
    const running = yield* untraced(Effect.provideContext(start, services))
    yield* Effect.addFinalizer(() => Context.get(services, LogTails).end)
    return Context.merge(ours(services), running)
  })).pipe(Layer.provide(Layer.succeed(TraceDeliveries, options.traceDeliveries ?? false)))

/**
 * Capture and delivery without HTTP, with every service that the API is made of. It is built once the schema is up to
 * date and this process delivers or stands by; its scope's end lets attempts in flight end.
 */
export const layerDelivery = (options: DeliveryOptions & { readonly database: DatabaseOptions }) =>
  layerDeliveryOn(options, layerDatabase({ ...options.database, maxPayload: options.maxPayload }))

/** `layerDelivery` on the database of the program's own `PgClient`: as its role, by connections of our own. */
export const layerDeliveryBeside = (
  options: DeliveryOptions & { readonly database?: Omit<DatabaseOptions, "url"> | undefined }
) => layerDeliveryOn(options, layerDatabaseBeside({ ...options.database, maxPayload: options.maxPayload }))
