import { Context, Effect, Layer, Metric, Ref } from "effect"
import { liveMetric } from "./LiveMetric.ts"

/** What `/health/ready` tells: each part with `null` when it is well, or what is wrong with it. */
export interface Readiness {
  readonly database: string | null
  readonly listener: string | null
  /**
   * How changes are noticed: by notification, or by polling where notifications do not come through. `runner`: another
   * process of the cluster notices them and tells this one.
   */
  readonly mode: (typeof modes)[number]
}

const modes = ["notify", "poll", "runner", "starting", "standby"] as const

const listenerMode = Metric.gauge("truss_listener_mode", {
  description:
    "1 for what this process does: it hears of changes by notification or by polling or from another runner, starts, or stands by"
})

const ready = Metric.gauge("truss_ready", { description: "1 if /health/ready answers 200, else 0" })

const databaseUp = Metric.gauge("truss_database_up", { description: "1 if the database answers this process, else 0" })

/** Whether all of it is well. */
export const isReady = ({ database, listener }: Readiness): boolean => database === null && listener === null

/** The state that the parts of the service report, for `/health/ready`. */
export class Health extends Context.Service<Health, {
  readonly get: Effect.Effect<Readiness>
  set(change: Partial<Readiness>): Effect.Effect<void>
}>()("truss/services/Health") {
  static readonly layer = Layer.effect(
    Health,
    Effect.gen(function*() {
      const state = yield* Ref.make<Readiness>({ database: "starting", listener: "starting", mode: "starting" })
      const now = () => Ref.getUnsafe(state)
      const when = (holds: () => boolean) => () => ({ value: holds() ? 1 : 0 })
      yield* liveMetric(ready, when(() => isReady(now())))
      yield* liveMetric(databaseUp, when(() => now().database === null))
      for (const mode of modes) {
        yield* liveMetric(Metric.withAttributes(listenerMode, { mode }), when(() => now().mode === mode))
      }
      return Health.of({
        get: Ref.get(state),
        set: (change) => Ref.update(state, (now) => ({ ...now, ...change }))
      })
    })
  )
}
