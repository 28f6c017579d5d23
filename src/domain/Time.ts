import { Schema } from "effect"

/** A time as the API shows it: ISO 8601, in UTC. */
export const Time = Schema.String.annotate({ format: "date-time" })
