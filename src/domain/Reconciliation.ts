import { Schema } from "effect"
import { Time } from "./Time.ts"

/** The events that a webhook asked for in some time, each in exactly one of five states: they add up to `matched`. */
export const Reconciliation = Schema.Struct({
  matched: Schema.Int.annotate({ description: "Events kept of the types that the webhook asks for" }),
  delivered: Schema.Int.annotate({ description: "Some attempt succeeded" }),
  failed: Schema.Int.annotate({ description: "Given up" }),
  pending: Schema.Int.annotate({ description: "To be attempted, for the first time or again" }),
  filtered: Schema.Int.annotate({ description: "Never attempted, as `columns` or `filter` said" }),
  never_attempted: Schema.Int.annotate({
    description: "It was paused, or had not asked for it: `recover` sends these"
  }),
  complete_through: Time.annotate({ description: "No event committed before this time is pending" }),
  gap: Schema.NullOr(Schema.Struct({ from: Time, to: Time })).annotate({
    description: "The part of the time that is past retention, if any: of it nothing can be said"
  })
}).annotate({ identifier: "Reconciliation" })
export type Reconciliation = typeof Reconciliation.Type
