import { type Context, Metric } from "effect"
import type { AttemptRecord } from "../services/AttemptRecord.ts"

/** Attempts that ended, by outcome. */
export const attempts = Metric.counter("truss_attempts_total", {
  description: "Delivery attempts that ended, by outcome",
  incremental: true
})

/** From the start of an attempt to the end of its answer. */
export const attemptSeconds = Metric.histogram("truss_attempt_duration_seconds", {
  description: "Duration of delivery attempts in seconds",
  boundaries: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
})

/** From the change to the end of its first attempt. */
export const deliverySeconds = Metric.histogram("truss_delivery_latency_seconds", {
  description: "Seconds from the change of a row to the end of its first delivery attempt",
  boundaries: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600]
})

/** Actors that ended by a defect and were started again. */
export const actorRestarts = Metric.counter("truss_actor_restarts_total", {
  description: "Webhook actors that failed and were started again",
  incremental: true
})

/** Actors that run in this process. */
export const actors = Metric.gauge("truss_actors", { description: "Webhook actors that run in this process" })

/** Attempts that were written. Straight into the metrics: an effect for each would cost more than its signature. */
export const observe = (records: ReadonlyArray<AttemptRecord>, context: Context.Context<never>) => {
  const counts = new Map<string, number>()
  for (const record of records) {
    counts.set(record.outcome, (counts.get(record.outcome) ?? 0) + 1)
    attemptSeconds.updateUnsafe(record.latencyMs / 1000, context)
    if (record.attempt === 1 && record.replayOf === null) {
      const seconds = (record.createdAt + record.latencyMs - record.ref.at / 1000) / 1000
      deliverySeconds.updateUnsafe(Math.max(0, seconds), context)
    }
  }
  for (const [outcome, count] of counts) {
    Metric.withAttributes(attempts, { outcome }).updateUnsafe(count, context)
  }
}
