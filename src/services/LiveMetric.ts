import { type Context, Effect, Metric, type Scope } from "effect"

/** A series whose state is read when the metrics are, as long as the scope lasts: whatever it counts pays nothing. */
export const liveMetric = <State>(
  metric: Metric.Metric<never, State>,
  state: () => State
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.contextWith((context: Context.Context<never>) =>
      Effect.sync(() => Metric.registerUnsafe(metric, context, { get: state, update: () => {}, modify: () => {} }))
    ),
    (registration) => Effect.sync(() => registration.remove())
  )
