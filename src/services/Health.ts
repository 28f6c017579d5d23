import { Context, Effect, Layer, Ref } from "effect"

/** What `/health/ready` tells: each part with `null` when it is well, or what is wrong with it. */
export interface Readiness {
  readonly database: string | null
  readonly listener: string | null
  /** How changes are noticed: by notification, or by polling where notifications do not come through. */
  readonly mode: "notify" | "poll" | "starting" | "standby"
}

/** The state that the parts of the service report, for `/health/ready`. */
export class Health extends Context.Service<Health, {
  readonly get: Effect.Effect<Readiness>
  set(change: Partial<Readiness>): Effect.Effect<void>
}>()("truss/services/Health") {
  static readonly layer = Layer.effect(
    Health,
    Effect.gen(function*() {
      const state = yield* Ref.make<Readiness>({ database: "starting", listener: "starting", mode: "starting" })
      return Health.of({
        get: Ref.get(state),
        set: (change) => Ref.update(state, (now) => ({ ...now, ...change }))
      })
    })
  )
}
