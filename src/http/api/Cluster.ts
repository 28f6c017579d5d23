import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { Runner } from "../../domain/Runner.ts"
import { Unavailable } from "./Problems.ts"

/** Every process on the database. */
export const Cluster = Schema.Struct({ runners: Schema.Array(Runner) }).annotate({ identifier: "Cluster" })

const get = HttpApiEndpoint.get("get", "/cluster", {
  success: Cluster,
  error: [Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "List the processes",
  description: "The process that delivers, and those that stand by. One that was killed is listed for at most 10 s. " +
    "`webhooks` and `lag_seconds` (the age of the oldest event that an active webhook waits for) are 0 on a standby."
}))

/** Who delivers. */
export class ClusterGroup extends HttpApiGroup.make("cluster")
  .add(get)
  .annotateMerge(OpenApi.annotations({ title: "Cluster" }))
{}
