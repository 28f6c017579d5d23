import {
  Cause,
  Context,
  Effect,
  Exit,
  Layer,
  type LogLevel,
  ManagedRuntime,
  Redacted,
  References,
  Scope,
  Stream
} from "effect"
import { HttpServer } from "effect/http"
import { SqlError } from "effect/sql"
import type { LogEntry } from "./domain/Attempt.ts"
import type { Change } from "./domain/Change.ts"
import { parseEgressAllow } from "./domain/EgressAllow.ts"
import type { Webhook } from "./domain/Webhook.ts"
import { type DeliveryOptions, layerDelivery, layerService } from "./Service.ts"
import { reasonOf } from "./services/Database.ts"
import { deliveryOutcomes } from "./services/DeliveryOutcomes.ts"
import { parseEncryptionKeys } from "./services/EncryptionKey.ts"
import { Handover } from "./services/Handover.ts"
import type { LogTails } from "./services/LogTails.ts"
import { ManualDelivery, type TestResult } from "./services/ManualDelivery.ts"
import { Registrar, type SubscriptionInput, type WebhookInput } from "./services/Registrar.ts"
import { defaultEgressAllow, isLoopback } from "./services/Settings.ts"
import type { Attempted, Subscribers } from "./services/Subscribers.ts"
import { subscribe } from "./services/Subscription.ts"
import { type VersionedWebhook, type WebhookPage, type WebhookQuery, Webhooks } from "./services/Webhooks.ts"

export interface TrussWebhooksOptions extends
  Pick<
    DeliveryOptions,
    "concurrency" | "retentionDays" | "maxPayload" | "listen" | "disableAfterMs" | "alertUrl"
  >
{
  /** `postgres://user:password@host:5432/database` */
  readonly databaseUrl: string
  /** A direct connection for LISTEN, where `databaseUrl` goes through a transaction pooler. */
  readonly databaseListenUrl?: string | undefined
  /** 32 bytes in base64, as `openssl rand -base64 32` makes them: encrypts secrets in the database. */
  readonly encryptionKey: string
  /** The REST API on a port of its own; none unless said. */
  readonly http?: {
    /** 0 takes any that is free: `url` says which. */
    readonly port: number
    /** `127.0.0.1` unless said. */
    readonly host?: string | undefined
    /** `open` unless said where `host` is loopback, else `required`. */
    readonly auth?: "open" | "required" | undefined
    /** `truss_sk_…`: a key that is accepted without being stored. */
    readonly apiKey?: string | undefined
  } | undefined
  /** CIDRs and host names that deliveries may reach although they are not public, with commas between. */
  readonly egressAllow?: string | undefined
  /** What goes to the console; `Warn` unless said. */
  readonly logLevel?: LogLevel.LogLevel | undefined
}

/** What went wrong: `code` for programs, such as `TableNotWatchable` or `NotStarted`, and `message` for people. */
export class TrussWebhooksError extends Error {
  override readonly name = "TrussWebhooksError"
  readonly code: string
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** A change that is handed over, and the attempt that it came by. */
export interface HandedOver<Payload = Change> extends Attempted {
  readonly change: Payload
}

/** Truss Webhooks inside a program, by promises. They reject with a `TrussWebhooksError`. */
export interface TrussWebhooks {
  /** Waits up to 60 s for the database, brings the schema up to date, and delivers, or stands by. */
  start(): Promise<void>
  /** Takes no more events, lets attempts in flight end for at most 10 s, writes their log. May be called at any time. */
  stop(): Promise<void>
  /** Where the REST API is, if it was asked for and has started. */
  readonly url: string | undefined
  /**
   * Makes the webhook of this name, or makes the one that is there what is said here; what is left out stays as it is.
   * Nothing is written when nothing differs, so every process may do this whenever it starts.
   */
  register(webhook: WebhookInput): Promise<Webhook>
  /**
   * A function in place of an endpoint, with the same guarantees: what it rejects or throws is a failed attempt, which is
   * tried again. The webhook is made or changed as by `register`; the function is there until `stop`. A change may come
   * twice: `id` tells. `signal` aborts when `timeout_ms` is over.
   */
  subscribe<Payload = Change>(
    subscription: SubscriptionInput,
    receive: (change: Payload, attempted: Attempted & { readonly signal: AbortSignal }) => Promise<void> | void
  ): Promise<Webhook>
  /**
   * The same as a loop: to ask for the next change says that the one before is dealt with. One whose loop was left, by
   * `break` or by an error, comes again to the next loop, and uses up no attempt. Ends by `stop`.
   */
  events<Payload = Change>(subscription: Omit<SubscriptionInput, "concurrency">): AsyncIterable<HandedOver<Payload>>
  list(query?: Partial<WebhookQuery>): Promise<WebhookPage>
  get(id: string): Promise<Webhook>
  /** The webhook and its log; the last webhook of a table takes the trigger with it. */
  remove(id: string): Promise<void>
  /** Sends a synthetic event and waits for the answer. */
  test(id: string): Promise<TestResult>
  /**
   * What becomes of a webhook's deliveries, as it is written, whichever process delivers: from now on, or from behind the
   * entry `after` without a gap. Ends with the webhook, and by `stop`.
   */
  outcomes(webhookId: string, options?: { readonly after?: string | undefined }): AsyncIterable<LogEntry>
}

type Services = Registrar | Subscribers | Webhooks | ManualDelivery | LogTails

const toError = (error: unknown): TrussWebhooksError => {
  if (error instanceof TrussWebhooksError) return error
  if (SqlError.isSqlError(error)) {
    return new TrussWebhooksError("DatabaseUnavailable", reasonOf(error), { cause: error })
  }
  const { _tag = "Defect", detail, id, message } = error as Readonly<Record<string, string | undefined>>
  return new TrussWebhooksError(_tag, detail || message || (id === undefined ? _tag : `${_tag}: ${id}`), {
    cause: error
  })
}

const valueOf = <A>(exit: Exit.Exit<A, unknown>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  throw toError(Cause.squash(exit.cause))
}

const parsed = <A>(name: string, value: A | undefined, what: string): A => {
  if (value === undefined) throw new TrussWebhooksError("InvalidOption", `${name} must be ${what}`)
  return value
}

const layerOf = (options: TrussWebhooksOptions): Layer.Layer<Services, unknown> => {
  const { databaseListenUrl, http } = options
  const database = {
    url: Redacted.make(options.databaseUrl),
    listenUrl: databaseListenUrl === undefined ? undefined : Redacted.make(databaseListenUrl)
  }
  const host = http?.host ?? "127.0.0.1"
  const allow = options.egressAllow === undefined
    ? http === undefined ? [] : defaultEgressAllow(host)
    : parsed("egressAllow", parseEgressAllow(options.egressAllow), "CIDRs and host names, with commas between")
  const delivery = {
    ...options,
    encryptionKeys: parsed("encryptionKey", parseEncryptionKeys(options.encryptionKey), "32 bytes in base64"),
    egress: { allow }
  }
  if (http === undefined) return layerDelivery({ ...delivery, database })
  return layerService({
    concurrency: 256,
    retentionDays: 7,
    maxPayload: 1_048_576,
    listen: "auto",
    ...Object.fromEntries(Object.entries(delivery).filter(([, value]) => value !== undefined)) as typeof delivery,
    database,
    http: {
      host,
      port: http.port,
      auth: http.auth ?? (isLoopback(host) ? "open" : "required"),
      apiKey: http.apiKey === undefined ? undefined : Redacted.make(http.apiKey)
    }
  })
}

const shown = ({ version: _, ...webhook }: VersionedWebhook): Webhook => webhook

/** Nothing happens before `start`. An option that does not fit throws at once. */
export const createTrussWebhooks = (options: TrussWebhooksOptions): TrussWebhooks => {
  const level = Layer.succeed(References.MinimumLogLevel, options.logLevel ?? "Warn")
  // What functions of the program fail with is logged in its context, too.
  const layer = Layer.provideMerge(layerOf(options), level)
  let runtime: ManagedRuntime.ManagedRuntime<Services, unknown> | undefined
  let subscriptions = Scope.makeUnsafe()
  let url: string | undefined

  const started = () => {
    if (runtime === undefined) throw new TrussWebhooksError("NotStarted", "call start() first, and stop() last")
    return runtime
  }
  const run = async <A>(effect: Effect.Effect<A, unknown, Services>): Promise<A> =>
    valueOf(await started().runPromiseExit(effect))

  const stop = async () => {
    const ending = runtime
    const functions = subscriptions
    runtime = undefined
    url = undefined
    subscriptions = Scope.makeUnsafe()
    await Effect.runPromise(Scope.close(functions, Exit.void))
    await ending?.dispose()
  }

  /** A scope for one function, which ends by `stop` at the latest. */
  const within = <A, E>(scope: Scope.Closeable, effect: Effect.Effect<A, E, Services | Scope.Scope>) =>
    run(
      Scope.provide(effect, scope).pipe(Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause))))
    )

  return {
    start: async () => {
      const starting = runtime ??= ManagedRuntime.make(layer)
      const exit = await starting.runPromiseExit(Effect.context<Services>())
      if (Exit.isFailure(exit)) await stop()
      const server = Context.getOption(valueOf(exit), HttpServer.HttpServer)
      if (server._tag === "Some") url = HttpServer.formatAddress(server.value.address)
    },
    stop,
    get url() {
      return url
    },
    register: (webhook) => run(Effect.flatMap(Registrar, (registrar) => registrar.register(webhook))).then(shown),
    subscribe: <Payload>(
      subscription: SubscriptionInput,
      receive: (change: Payload, attempted: Attempted & { readonly signal: AbortSignal }) => Promise<void> | void
    ) => {
      const call = (change: Change, attempted: Attempted) =>
        Effect.tryPromise({
          try: async (signal) => receive(change as Payload, { ...attempted, signal }),
          catch: (error) => error
        })
      return within(Scope.forkUnsafe(subscriptions), subscribe(subscription, call)).then(shown)
    },
    events: async function*<Payload>(subscription: Omit<SubscriptionInput, "concurrency">) {
      const handover = new Handover<HandedOver<Payload>>()
      const scope = Scope.forkUnsafe(subscriptions)
      const offered = Effect.andThen(
        Effect.addFinalizer(() => Effect.sync(() => handover.end())),
        subscribe(
          { ...subscription, concurrency: 1 },
          (change, attempted) => handover.offer({ ...attempted, change: change as Payload })
        )
      )
      await within(scope, offered)
      try {
        yield* handover.taken()
      } finally {
        await Effect.runPromise(Scope.close(scope, Exit.void))
      }
    },
    list: (query) => run(Effect.flatMap(Webhooks, (webhooks) => webhooks.list({ limit: 50, ...query }))),
    get: (id) => run(Effect.flatMap(Webhooks, (webhooks) => webhooks.get(id))).then(shown),
    remove: (id) => run(Effect.flatMap(Webhooks, (webhooks) => webhooks.remove(id))),
    test: (id) => run(Effect.flatMap(ManualDelivery, (manual) => manual.test(id))),
    outcomes: async function*(webhookId, from) {
      try {
        yield* Stream.toAsyncIterableWith(deliveryOutcomes(webhookId, from), await started().context())
      } catch (error) {
        throw toError(error)
      }
    }
  }
}
