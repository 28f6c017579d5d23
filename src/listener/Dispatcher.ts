import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Metric, PubSub, Schedule } from "effect"
import { MessageStorage, RunnerHealth, Runners, RunnerStorage, Sharding, ShardingConfig } from "effect/cluster"
import type { SqlError } from "effect/sql"
import type { EventType } from "../domain/EventType.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import { Alerts } from "../services/Alerts.ts"
import { Capture } from "../services/Capture.ts"
import { Health } from "../services/Health.ts"
import { ListenSinks } from "../services/ListenSinks.ts"
import { settleOrigin } from "../services/Origin.ts"
import { Partitions, partitionsPastRetention } from "../services/Partitions.ts"
import { Secrets } from "../services/Secrets.ts"
import { WebhookChanges } from "../services/WebhookChanges.ts"
import { attend } from "./Doorbell.ts"
import { leadership } from "./Leadership.ts"
import { WebhookActors, WebhookEntity } from "./WebhookActor.ts"

export interface DispatcherOptions {
  /** `off` never uses NOTIFY. */
  readonly listen: "auto" | "off"
  /** Whole days that events and the log are kept. */
  readonly retentionDays: number
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
}

const dispatch = Effect.fnUntraced(function*(options: DispatcherOptions) {
  const sql = yield* PgClient.PgClient
  const capture = yield* Capture
  const partitions = yield* Partitions
  const changes = yield* PubSub.subscribe(yield* WebhookChanges)
  const actor = yield* WebhookEntity.client
  let routes = new Map<number, ReadonlyArray<Route>>()

  const readRoutes: Effect.Effect<void, SqlError.SqlError> = Effect.map(
    sql<{ id: WebhookId; table_id: number; events: ReadonlyArray<EventType> }>`
      SELECT id::text, table_id, events::text[] FROM truss.webhooks WHERE active`,
    (rows) => {
      routes = Map.groupBy(
        rows.map((row) => ({ id: row.id, tableId: row.table_id, events: row.events })),
        (route) => route.tableId
      )
    }
  )

  const wake = (id: WebhookId) => Effect.ignore(actor(id).Wake(undefined, { discard: true }), { log: "Warn" })

  const changed = Effect.fnUntraced(function*(tableId: number, types: ReadonlyArray<EventType> | undefined) {
    for (const route of routes.get(tableId) ?? []) {
      if (types === undefined || types.some((type) => route.events.includes(type))) yield* wake(route.id)
    }
  })

  const reload = Effect.fnUntraced(function*(id: WebhookId) {
    yield* Effect.ignore(readRoutes, { log: "Warn" })
    yield* Effect.ignore(actor(id).Reload(undefined, { discard: true }), { log: "Warn" })
  })

  const sweep = Effect.gen(function*() {
    yield* readRoutes
    for (const route of [...routes.values()].flat()) yield* wake(route.id)
  })

  const again = { schedule: Schedule.spaced("1 second") }
  yield* Effect.retry(Effect.asVoid(capture.reconcile), again)
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
  yield* PubSub.take(changes).pipe(Effect.flatMap(reload), Effect.forever, Effect.forkScoped)
  return yield* attend(
    { changed, webhook: reload, tables: Effect.sync(() => [...routes.keys()]) },
    { listen: options.listen }
  )
})

/**
 * Delivers, as long as this process holds the place: the listener, the webhooks' actors, the reconciler. Without the
 * place it stands by.
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
        const place = yield* leadership
        const standBy = Effect.andThen(
          health.set({ listener: null, mode: "standby" }),
          Metric.update(partitionsPastRetention, 0)
        )
        const term = Effect.scoped(Effect.gen(function*() {
          yield* place.held
          yield* health.set({ listener: "starting", mode: "starting" })
          yield* Effect.retry(settleOrigin(), Schedule.spaced("1 second"))
          yield* Effect.retry(secrets.claim, Schedule.spaced("1 second"))
          const cluster = yield* Layer.build(Layer.fresh(Layer.provideMerge(WebhookActors, OneRunner)))
          yield* Effect.raceFirst(Effect.provide(Effect.scoped(dispatch(options)), cluster), place.lost)
          yield* Effect.logWarning("another process delivers now: standing by")
          yield* standBy
        }))
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
