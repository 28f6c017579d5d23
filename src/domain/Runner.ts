import { Schema } from "effect"
import { Time } from "./Time.ts"

/** One process of the service. */
export const Runner = Schema.Struct({
  id: Schema.String,
  /** Host and port of its API. */
  address: Schema.String,
  role: Schema.Literals(["active", "standby"]),
  started_at: Time,
  /** How many active webhooks it delivers. */
  webhooks: Schema.Int,
  /** How long ago the oldest event was made that waits for its delivery by this process; 0 when none does. */
  lag_seconds: Schema.Finite
}).annotate({ identifier: "Runner" })
export type Runner = typeof Runner.Type
