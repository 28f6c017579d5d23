import { Cause, Duration, Effect, Exit, Latch, Metric, Schedule, Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { partOf } from "../domain/Layout.ts"
import * as DeliveryMetrics from "../services/DeliveryMetrics.ts"
import { Permits } from "./Permits.ts"
import { runSession } from "./WebhookSession.ts"

/** There may be something to deliver. */
const Wake = Rpc.make("Wake")

/** The webhook was changed or deleted. */
const Reload = Rpc.make("Reload")

/** A webhook, or a part of one, as an entity of Effect Cluster: it runs on one runner at a time. Its messages carry nothing to keep. */
export const WebhookEntity = Entity.make("Webhook", [Wake, Reload])

const backoff = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("30 seconds")]).pipe(
  Schedule.jittered
)

class Restart extends Schema.TaggedError<Restart>()("Restart", {}) {}

/**
 * Each webhook's tree of fibers: sessions, one after the other. A defect ends a session, is logged and counted, and the
 * next one starts after a pause from what the tables say; no other webhook notices.
 */
export const WebhookActors = WebhookEntity.toLayer(
  Effect.gen(function*() {
    const address = yield* Entity.CurrentAddress
    const { id, part } = partOf(address.entityId)
    const permits = yield* Permits
    const wake = yield* Latch.make(false)
    const reload = yield* Latch.make(false)
    const gone = yield* Latch.make(false)

    const session = Effect.gen(function*() {
      while (true) {
        // To take a webhook over is to fence whoever has it: a process that may not send must not.
        yield* permits.whenMayStart
        reload.closeUnsafe()
        const end = yield* runSession(id, part, { wake, reload, shard: String(address.shardId) })
        if (end === "reload") continue
        if (end === "fenced") yield* Effect.logInfo("another process has taken the webhook over")
        // Until somebody asks for the webhook again there is nothing to do here.
        gone.openUnsafe()
        // A part that a webhook is to have waits until it is split.
        const woken = end === "no_part" ? Effect.andThen(Effect.sleep("1 second"), wake.await) : wake.await
        yield* Effect.raceFirst(woken, reload.await)
        gone.closeUnsafe()
      }
    }).pipe(
      Effect.onExit((exit) =>
        Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)
          ? Effect.andThen(
            Effect.logError("a webhook's actor failed and starts again", exit.cause),
            Metric.update(DeliveryMetrics.actorRestarts, 1)
          )
          : Effect.void
      ),
      Effect.catchCause((cause) => Cause.hasInterruptsOnly(cause) ? Effect.failCause(cause) : new Restart({})),
      Effect.retry({ schedule: backoff, while: (error) => error instanceof Restart }),
      Effect.annotateLogs(part === 0 ? { webhook: id } : { webhook: id, part })
    )

    yield* Metric.modify(DeliveryMetrics.actors, 1)
    yield* Effect.addFinalizer(() => Metric.modify(DeliveryMetrics.actors, -1))
    yield* Effect.forkScoped(session)

    return WebhookEntity.of({
      Wake: () => Effect.sync(() => void wake.openUnsafe()),
      Reload: () => Effect.sync(() => void reload.openUnsafe())
    })
  }),
  { maxIdleTime: Duration.infinity, concurrency: "unbounded" }
)
