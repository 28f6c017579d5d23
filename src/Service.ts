import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, type Redacted, Schedule, Schema } from "effect"
import { HttpServer } from "effect/http"
import type { SqlError } from "effect/sql"
import * as Http from "./http/Server.ts"
import { Dispatcher } from "./listener/Dispatcher.ts"
import { Permits } from "./listener/Permits.ts"
import { Alerts } from "./services/Alerts.ts"
import { ApiKeys } from "./services/ApiKeys.ts"
import { Audit } from "./services/Audit.ts"
import { Capture } from "./services/Capture.ts"
import { ChangeFeed } from "./services/ChangeFeed.ts"
import { Cursors } from "./services/Cursors.ts"
import { type DatabaseOptions, isAway, layerDatabase, reasonOf } from "./services/Database.ts"
import { DeliveryLog } from "./services/DeliveryLog.ts"
import { Disabling } from "./services/Disabling.ts"
import { Egress, type EgressOptions } from "./services/Egress.ts"
import type { EncryptionKeys } from "./services/EncryptionKey.ts"
import { EventHistories } from "./services/EventHistories.ts"
import { Health } from "./services/Health.ts"
import { IdempotencyKeys } from "./services/IdempotencyKeys.ts"
import { Jobs } from "./services/Jobs.ts"
import { LogTails } from "./services/LogTails.ts"
import { ManualDelivery } from "./services/ManualDelivery.ts"
import { migrate } from "./services/Migrations.ts"
import { Partitions } from "./services/Partitions.ts"
import { Preview } from "./services/Preview.ts"
import { Reconciler } from "./services/Reconciler.ts"
import { RowQueue } from "./services/RowQueue.ts"
import { Runners } from "./services/Runners.ts"
import { SecretRotator } from "./services/SecretRotator.ts"
import { Secrets } from "./services/Secrets.ts"
import { Sender } from "./services/Sender.ts"
import { Sessions } from "./services/Sessions.ts"
import { defaultEgressAllow, isLoopback } from "./services/Settings.ts"
import { Statistics } from "./services/Statistics.ts"
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
      isWorthWaiting(error)
        ? Effect.logWarning("waiting for the database", reasonOf(error))
        : Effect.void
    ),
    Effect.retry({
      schedule: Schedule.spaced("1 second").pipe(Schedule.upTo({ duration: patience })),
      while: isWorthWaiting
    })
  )
})

const isWorthWaiting = (error: SqlError.SqlError) => isAway(error) && error.reason._tag !== "AuthenticationError"

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

/** Keeps `/health/ready` true: asks the database every second. */
const watchDatabase = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const health = yield* Health
  yield* sql`SELECT 1`.pipe(
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

const addressOf = ({ address }: HttpServer.HttpServer["Service"]): string =>
  HttpServer.formatAddress(address).replace(/^http:\/\//, "")

/** The parts that need no HTTP and no listening: what commands and embedders use. */
export const layerServices = (
  options:
    & Pick<
      ServiceOptions,
      "encryptionKeys" | "maxPayload" | "disableAfterMs" | "alertUrl" | "circuitAlertAfterMs" | "egress"
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
    IdempotencyKeys.layer({ keys: options.encryptionKeys })
  )
  const alerts = Alerts.layer({ url: options.alertUrl, circuitAlertAfterMs: options.circuitAlertAfterMs })
  return Layer.mergeAll(
    Webhooks.layer,
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
    Sessions.layer({ apiKey: options.apiKey }),
    Disabling.layer({ afterMs: options.disableAfterMs })
  ).pipe(
    Layer.provideMerge(alerts),
    Layer.provideMerge(base),
    Layer.provideMerge(Layer.mergeAll(Egress.layer(options.egress), Secrets.layer({ keys: options.encryptionKeys })))
  )
}

/**
 * The whole service. The API answers at once, with 503 for what needs the database until that is there; then the schema
 * is brought up to date, and deliveries begin. It ends in the opposite order.
 */
export const layerService = (options: ServiceOptions) =>
  Layer.effectContext(Effect.gen(function*() {
    yield* requireProtection(options)
    const services = yield* Layer.build(
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
    )
    const http = yield* Layer.build(Http.layer(options.http)).pipe(Effect.provideContext(services))
    const start = Effect.gen(function*() {
      yield* watchDatabase
      yield* waitForDatabase
      yield* migrate()
      yield* (yield* Secrets).admit
      yield* requireKey(options)
      const dispatcher = yield* Layer.build(
        Dispatcher.layer({ listen: options.listen, retentionDays: options.retentionDays })
      )
      yield* (yield* Runners).join(addressOf(Context.get(http, HttpServer.HttpServer)))
      return dispatcher
    })
    const running = yield* Effect.provideContext(start, services)
    // Who follows a log is let go at once, not when the attempts in flight have ended.
    yield* Effect.addFinalizer(() => Context.get(services, LogTails).end)
    return Context.mergeAll(services, http, running)
  }))
