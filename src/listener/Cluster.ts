import { PgClient } from "@effect/sql-pg"
import { Effect, Exit, Latch, Layer, Metric, Option, PubSub, type Redacted, Schedule, Scope } from "effect"
import {
  MessageStorage,
  RunnerAddress,
  RunnerHealth,
  Runners,
  RunnerServer,
  Sharding,
  ShardingConfig
} from "effect/cluster"
import { RpcSerialization, RpcServer } from "effect/rpc"
import type { HostPort } from "../domain/HostPort.ts"
import { entityOf } from "../domain/Layout.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import { partsToTell } from "../services/ActorWebhook.ts"
import { Health } from "../services/Health.ts"
import { countParts } from "../services/Layouts.ts"
import { partitionsPastRetention } from "../services/Partitions.ts"
import { layerShards } from "../services/Shards.ts"
import { WebhookChanges } from "../services/WebhookChanges.ts"
import { clusterMessenger, type Messenger, toParts } from "./Messenger.ts"
import { layerRunnerClients, layerRunnerServer } from "./RunnerSockets.ts"
import { WebhookActors } from "./WebhookActor.ts"

/** How this process is a runner among others. */
export interface ClusterOptions {
  /** Where other runners reach this one. */
  readonly address: HostPort
  /** Where it listens for them; at `address` unless said. */
  readonly listen?: HostPort | undefined
  /** What the runners of a cluster share; needed unless all of it is on one machine. */
  readonly token?: Redacted.Redacted | undefined
}

/** Every runner of every version must have the same number: it decides which shard a webhook is in. */
const shards = 256

/** How long what is in flight may take to end when a shard is handed over: longer than a session waits for it. */
const handOver = "16 seconds"

const sharding = ({ address, listen }: ClusterOptions) =>
  ShardingConfig.layer({
    runnerAddress: Option.some(RunnerAddress.make(address.host, address.port)),
    runnerListenAddress: Option.fromUndefinedOr(listen).pipe(Option.map((at) => RunnerAddress.make(at.host, at.port))),
    shardsPerGroup: shards,
    // Nothing expires by these: what a runner holds is its own as long as it lives. They bound the hand-over.
    shardLockRefreshInterval: handOver,
    shardLockExpiration: "48 seconds",
    entityMailboxCapacity: "unbounded",
    maxResidentEntities: "unbounded",
    entityTerminationTimeout: "20 seconds",
    entityMessagePollInterval: "1 second",
    sendRetryInterval: "50 millis",
    refreshAssignmentsInterval: "250 millis",
    runnerHealthCheckInterval: "1 second",
    simulateRemoteSerialization: false
  })

/** Whether runners can speak to each other; that a runner lives, only its lease tells. */
const layerPing = Layer.effect(
  RunnerHealth.RunnerHealth,
  Effect.gen(function*() {
    const runners = yield* Runners.Runners
    return RunnerHealth.RunnerHealth.of({
      isAlive: (address) =>
        runners.ping(address).pipe(Effect.timeout("1 second"), Effect.retry({ times: 2 }), Effect.isSuccess)
    })
  })
).pipe(Layer.provide(Runners.layerRpc))

const layerSharding = (options: ClusterOptions, token: string, storage: ReturnType<typeof layerShards>) =>
  RunnerServer.layerWithClients.pipe(
    Layer.provide(RpcServer.layerProtocolSocketServer),
    Layer.provide(layerRunnerServer(options.listen ?? options.address, token)),
    Layer.provide(layerPing),
    Layer.provide(layerRunnerClients(token)),
    Layer.provideMerge(MessageStorage.layerNoop),
    Layer.provide(storage),
    Layer.provide(sharding(options)),
    Layer.provide(RpcSerialization.layerSchemaBinary({ maxFrameSize: 1_048_576 }))
  )

/** Every webhook of a runner is looked after this often, whatever was sent to it. */
const sweepEvery = "1 minute"

/**
 * A runner at work: runs the actors of the webhooks whose shards it holds, and, if that falls to it, `listen` for all
 * runners. When the scope ends, each shard is handed over as soon as its webhooks have ended.
 */
export const runRunner = Effect.fnUntraced(function*<R>(
  options: ClusterOptions,
  token: string,
  id: string,
  listen: (messenger: Messenger) => Effect.Effect<never, unknown, R>
) {
  const sql = yield* PgClient.PgClient
  const health = yield* Health
  const changes = yield* PubSub.subscribe(yield* WebhookChanges)
  const held = { shards: new Set<string>(), added: yield* Latch.make(false) }

  const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
  const cluster = yield* Layer.buildWithScope(Layer.fresh(layerSharding(options, token, layerShards(id, held))), scope)

  return yield* Effect.gen(function*() {
    const runner = yield* Sharding.Sharding
    yield* Layer.build(Layer.fresh(WebhookActors))
    const messenger = yield* clusterMessenger

    const asRunner = Effect.andThen(
      health.set({ listener: null, mode: "runner" }),
      Metric.update(partitionsPastRetention, 0)
    )
    yield* asRunner
    yield* runner.registerSingleton(
      "truss/Listener",
      Effect.scoped(listen(messenger)).pipe(
        Effect.tapCause((cause) => Effect.logError("the listener failed and starts again", cause)),
        Effect.catchCause(() => Effect.sleep("1 second")),
        Effect.forever,
        Effect.ensuring(asRunner)
      )
    )
    // Before what it hands over is closed.
    yield* Effect.addFinalizer((exit) => Scope.close(scope, exit))

    /** Starts the actors of what this runner holds; one that runs looks for new events. */
    const sweep = Effect.gen(function*() {
      held.added.closeUnsafe()
      const active = yield* sql.unsafe<{ id: WebhookId; parts: number }>(
        `SELECT w.id::text AS id, ${partsToTell} AS parts
        FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id WHERE w.active`
      )
      for (const { id, parts } of active) {
        for (let part = 0; part < parts; part++) {
          const entity = entityOf(id, part)
          if (held.shards.has(String(runner.getShardId(entity as never, "default")))) yield* messenger.wake(entity)
        }
      }
    })
    const reload = Effect.fnUntraced(function*(id: WebhookId) {
      const parts = yield* Effect.orElseSucceed(countParts(sql, id), () => 1)
      yield* toParts(messenger.reload, id, parts)
    })
    yield* PubSub.take(changes).pipe(Effect.flatMap(reload), Effect.forever, Effect.forkScoped)
    yield* Effect.logInfo("runs as a part of the cluster", { runner: id, ...options.address })
    return yield* sweep.pipe(
      Effect.retry({ schedule: Schedule.spaced("1 second") }),
      Effect.andThen(Effect.timeoutOption(held.added.await, sweepEvery)),
      Effect.forever
    )
  }).pipe(Effect.provideContext(cluster))
})
