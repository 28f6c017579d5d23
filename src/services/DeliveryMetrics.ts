import { type Context, Metric } from "effect"
import { Outcome } from "../domain/Attempt.ts"
import type { AttemptRecord } from "./AttemptRecord.ts"

const outcomes = Outcome.literals

const deliveries = Metric.counter("truss_deliveries_total", {
  description: "Delivery attempts that ended and are in the log, tests and replays included, by outcome",
  incremental: true
})

const byOutcome = Object.fromEntries(
  outcomes.map((outcome) => [outcome, Metric.withAttributes(deliveries, { outcome })])
) as Record<Outcome, typeof deliveries>

const deliverySeconds = Metric.histogram("truss_delivery_duration_seconds", {
  description: "Duration of delivery attempts, from before the request is sent to the end of the answer that is kept",
  boundaries: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
})

const commitToRequestSeconds = Metric.histogram("truss_commit_to_request_seconds", {
  description:
    "Time from a change to the start of its first request, for changes read as new. It begins when the trigger " +
    "ran, by the database's clock: the rest of a transaction counts, and so does a difference between the clocks",
  boundaries: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600]
})

/** Actors that ended by a defect and were started again. */
export const actorRestarts = Metric.counter("truss_actor_restarts_total", {
  description: "Webhook actors that failed and were started again",
  incremental: true
})

/** Actors that run in this process. */
export const actors = Metric.gauge("truss_actors", { description: "Webhook actors that run in this process" })

/** Makes every series exist with 0, so that the first increase is seen as one. */
export const register = (context: Context.Context<never>) => {
  for (const outcome of outcomes) byOutcome[outcome].updateUnsafe(0, context)
  for (const metric of [deliverySeconds, commitToRequestSeconds, actorRestarts, actors]) metric.valueUnsafe(context)
}

/**
 * Attempts that were written, and which of them were the first of an event that was read as new. A batch at a time and
 * straight into the metrics: an effect for each would cost more than its signature.
 */
export const observe = (
  records: ReadonlyArray<AttemptRecord>,
  firsts: ReadonlyArray<AttemptRecord>,
  context: Context.Context<never>
) => {
  const counts = { success: 0, retrying: 0, failed: 0 }
  for (const { latencyMs, outcome } of records) {
    counts[outcome]++
    deliverySeconds.updateUnsafe(latencyMs / 1000, context)
  }
  for (const { createdAt, ref } of firsts) {
    commitToRequestSeconds.updateUnsafe(Math.max(0, createdAt - ref.at / 1000) / 1000, context)
  }
  for (const outcome of outcomes) byOutcome[outcome].updateUnsafe(counts[outcome], context)
}
