import { PgClient } from "@effect/sql-pg"
import { Clock, Context, Effect, Layer, Metric, PubSub, Redacted, Schedule } from "effect"
import { MessageStorage, RunnerHealth, Runners, RunnerStorage, Sharding, ShardingConfig } from "effect/cluster"
import type { SqlError } from "effect/sql"
import type { EventType } from "../domain/EventType.ts"
import { formatHostPort } from "../domain/HostPort.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import { partsToTell } from "../services/ActorWebhook.ts"
import { Alerts } from "../services/Alerts.ts"
import { Capture } from "../services/Capture.ts"
import { Health } from "../services/Health.ts"
import { countParts } from "../services/Layouts.ts"
import { ListenSinks } from "../services/ListenSinks.ts"
import { settleOrigin } from "../services/Origin.ts"
import { Partitions, partitionsPastRetention } from "../services/Partitions.ts"
import { Secrets } from "../services/Secrets.ts"
import { WebhookChanges } from "../services/WebhookChanges.ts"
import { type ClusterOptions, runRunner } from "./Cluster.ts"
import { attend } from "./Doorbell.ts"
import { type Leadership, leadership } from "./Leadership.ts"
import { type Messenger, toParts } from "./Messenger.ts"
import { runnerLease } from "./RunnerLease.ts"
import { WebhookActors, WebhookEntity } from "./WebhookActor.ts"

export interface DispatcherOptions {
  /** `off` never uses NOTIFY. */
  readonly listen: "auto" | "off"
  /** Whole days that events and the log are kept. */
  readonly retentionDays: number
  /** Makes this process a runner of a cluster; `apiAddress` is where its API answers. */
  readonly cluster?: (ClusterOptions & { readonly apiAddress: string }) | undefined
}

/**
 * Effect Cluster for one process: `SingleRunner` without its SQL storage, since no message of ours is to be kept.
 */
const OneRunner = Sharding.layer.pipe(
  Layer.provideMerge(Runners.layerNoop),
  Layer.provideMerge(MessageStorage.layerNoop),
  Layer.provide([RunnerStorage.layerMemory, RunnerHealth.layerNoop]),
  Layer.provide(ShardingConfig.layer({
    shardsPerGroup: 16,
    entityMailboxCapacity: "unbounded",
    entityTerminationTimeout: "20 seconds",
    sendRetryInterval: "50 millis",
    refreshAssignmentsInterval: "1 second"
  }))
)

/** Every webhook is looked after this often, whatever was rung: its position is kept fresh. */
const sweepEvery = "1 minute"
const reconcileEvery = "30 seconds"

/** Which webhook asks for what: what the listener needs to know to wake the right ones. */
interface Route {
  readonly id: WebhookId
  readonly tableId: number
  readonly events: ReadonlyArray<EventType>
  readonly parts: number
}

/** To actors in this process. */
const localMessenger = Effect.map(WebhookEntity.client, (actor): Messenger => ({
  wake: (id) => Effect.ignore(actor(id).Wake(undefined, { discard: true }), { log: "Warn" }),
  reload: (id) => Effect.ignore(actor(id).Reload(undefined, { discard: true }), { log: "Warn" })
}))

const dispatch = Effect.fnUntraced(function*(options: DispatcherOptions, { wake, reload: tell }: Messenger) {
  const sql = yield* PgClient.PgClient
  const capture = yield* Capture
  const partitions = yield* Partitions
  const changes = yield* PubSub.subscribe(yield* WebhookChanges)
  let routes = new Map<number, ReadonlyArray<Route>>()

  const readRoutes: Effect.Effect<void, SqlError.SqlError> = Effect.map(
    sql.unsafe<{ id: WebhookId; table_id: number; events: ReadonlyArray<EventType>; parts: number }>(
      `SELECT w.id::text AS id, w.table_id, w.events::text[] AS events, ${partsToTell} AS parts
      FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id WHERE w.active`
    ),
    (rows) => {
      routes = Map.groupBy(
        rows.map((row) => ({ id: row.id, tableId: row.table_id, events: row.events, parts: row.parts })),
        (route) => route.tableId
      )
    }
  )

  const changed = Effect.fnUntraced(function*(tableId: number, types: ReadonlyArray<EventType> | undefined) {
    for (const route of routes.get(tableId) ?? []) {
      if (types === undefined || types.some((type) => route.events.includes(type))) {
        yield* toParts(wake, route.id, route.parts)
      }
    }
  })

  const known = (id: WebhookId) => [...routes.values()].flat().find((route) => route.id === id)?.parts ?? 1

  const reload = Effect.fnUntraced(function*(id: WebhookId) {
    const before = known(id)
    yield* Effect.ignore(readRoutes, { log: "Warn" })
    // A paused one has no route.
    const now = yield* Effect.orElseSucceed(countParts(sql, id), () => known(id))
    yield* toParts(tell, id, Math.max(before, now))
  })

  const sweep = Effect.gen(function*() {
    yield* readRoutes
    for (const route of [...routes.values()].flat()) yield* toParts(wake, route.id, route.parts)
  })

  const again = { schedule: Schedule.spaced("1 second") }
  // In a cluster others deliver meanwhile, and wait to be woken.
  if (options.cluster === undefined) yield* Effect.retry(Effect.asVoid(capture.reconcile), again)
  yield* partitions.rotate(options.retentionDays).pipe(
    Effect.catchCause((cause) => Effect.logWarning("cannot look after the partitions yet", cause)),
    Effect.repeat(Schedule.spaced("10 minutes")),
    Effect.forkScoped
  )
  yield* capture.reconcile.pipe(
    Effect.flatMap((mended) => mended ? readRoutes : Effect.void),
    Effect.ignore({ log: "Warn" }),
    Effect.repeat(Schedule.spaced(reconcileEvery)),
    Effect.forkScoped
  )
  yield* Effect.retry(sweep, again)
  yield* sweep.pipe(
    Effect.ignore({ log: "Warn" }),
    Effect.delay(sweepEvery),
    Effect.forever,
    Effect.forkScoped
  )
  yield* Effect.forkScoped((yield* Alerts).run)
  yield* (yield* ListenSinks).sweep
  if (options.cluster !== undefined) {
    // Where notifications do not come through, nobody tells of webhooks that were made at another runner.
    const health = yield* Health
    const discover = Effect.gen(function*() {
      if ((yield* health.get).mode !== "poll") return
      const old = new Set([...routes.values()].flat().map(({ id }) => id))
      yield* readRoutes
      for (const { id, parts } of [...routes.values()].flat()) if (!old.has(id)) yield* toParts(wake, id, parts)
    })
    yield* discover.pipe(Effect.ignore, Effect.repeat(Schedule.spaced("500 millis")), Effect.forkScoped)
  }
  yield* PubSub.take(changes).pipe(Effect.flatMap(reload), Effect.forever, Effect.forkScoped)
  return yield* attend(
    { changed, webhook: reload, tables: Effect.sync(() => [...routes.keys()]) },
    { listen: options.listen }
  )
})

/**
 * Delivers, as long as this process holds the place: the listener, the webhooks' actors, the reconciler. Without the
 * place it stands by. In a cluster each process delivers for its part of the webhooks.
 */
export class Dispatcher extends Context.Service<Dispatcher, { readonly running: boolean }>()(
  "truss/listener/Dispatcher"
) {
  static readonly layer = (options: DispatcherOptions) =>
    Layer.effect(
      Dispatcher,
      Effect.gen(function*() {
        const health = yield* Health
        const secrets = yield* Secrets
        const standBy = Effect.andThen(
          health.set({ listener: null, mode: "standby" }),
          Metric.update(partitionsPastRetention, 0)
        )
        const prepare = Effect.gen(function*() {
          yield* health.set({ listener: "starting", mode: "starting" })
          yield* Effect.retry(settleOrigin(), Schedule.spaced("1 second"))
          yield* Effect.retry(secrets.claim, Schedule.spaced("1 second"))
        })
        const termOf = (place: Leadership) =>
          Effect.scoped(Effect.gen(function*() {
            yield* place.held
            yield* prepare
            const cluster = yield* Layer.build(Layer.fresh(Layer.provideMerge(WebhookActors, OneRunner)))
            yield* Effect.raceFirst(
              Effect.provide(
                Effect.scoped(Effect.flatMap(localMessenger, (local) => dispatch(options, local))),
                cluster
              ),
              place.lost
            )
            yield* Effect.logWarning("another process delivers now: standing by")
            yield* standBy
          }))
        const runnerTerm = ({ apiAddress, ...cluster }: NonNullable<DispatcherOptions["cluster"]>, startedAt: Date) =>
          Effect.scoped(Effect.gen(function*() {
            yield* standBy
            const address = formatHostPort(cluster.address)
            const lease = yield* runnerLease({ address, apiAddress, startedAt })
            yield* prepare
            const token = cluster.token === undefined ? "" : Redacted.value(cluster.token)
            const listen = (messenger: Messenger) => dispatch(options, messenger)
            yield* Effect.raceFirst(runRunner(cluster, token, lease.id, listen), lease.lost)
            yield* Effect.logWarning("other runners have taken over what this one held: it starts anew")
          }))
        const term = options.cluster === undefined
          ? termOf(yield* leadership)
          : runnerTerm(options.cluster, new Date(yield* Clock.currentTimeMillis))
        yield* standBy
        yield* term.pipe(
          Effect.tapCause((cause) => Effect.logError("the dispatcher failed and starts again", cause)),
          Effect.catchCause(() => Effect.sleep("1 second")),
          Effect.forever,
          Effect.forkScoped
        )
        return { running: true }
      })
    )
}
