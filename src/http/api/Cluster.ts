import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { Cluster } from "../../domain/Runner.ts"
import { Unavailable } from "./Problems.ts"

const get = HttpApiEndpoint.get("get", "/cluster", {
  success: Cluster,
  error: [Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "List the processes",
  description: "The process that delivers, and those that stand by. One that was killed is listed for at most 10 s. " +
    "`webhooks` and `lag_seconds` (the age of the oldest event that an active webhook waits for) are 0 on a standby. `handovers` are the newest 100 webhooks, or parts of them, that a runner took over from another one."
}))

/** Who delivers. */
export class ClusterGroup extends HttpApiGroup.make("cluster")
  .add(get)
  .annotateMerge(OpenApi.annotations({ title: "Cluster" }))
{}
