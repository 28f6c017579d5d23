import { Schema } from "effect"
import { Time } from "./Time.ts"
import { WebhookId } from "./Webhook.ts"

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

/** A webhook, or a part of one, that a runner of a cluster has taken over from another runner. */
export const HandOver = Schema.Struct({
  at: Time,
  webhook_id: WebhookId,
  /** 0 where the webhook has no partitions. */
  part: Schema.Int,
  /** Ids of runners; whoever handed it over may be gone, and has no entry among them then. */
  from: Schema.String,
  to: Schema.String
}).annotate({ identifier: "HandOver" })
export type HandOver = typeof HandOver.Type

/** Every process on the database, and the newest hand-overs, one of each webhook or part at most. */
export const Cluster = Schema.Struct({
  runners: Schema.Array(Runner),
  handovers: Schema.Array(HandOver)
}).annotate({ identifier: "Cluster" })
export type Cluster = typeof Cluster.Type
