import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { Stats, StatsWindow } from "../../domain/Stats.ts"
import { PathId } from "./Parameters.ts"
import { BadRequest, NotFound, Unavailable } from "./Problems.ts"

const get = HttpApiEndpoint.get("get", "/webhooks/:id/stats", {
  params: { id: PathId },
  query: { window: Schema.optionalKey(StatsWindow) },
  success: Stats,
  error: [BadRequest, NotFound, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "See how a webhook does",
  description: "Attempts by outcome and the percentiles of their latency, in buckets of 1 minute (`window=1h`, which " +
    "is the default), 15 minutes (`24h`) or 2 hours (`7d`), oldest first; the last one is not over yet. Tests are not " +
    "counted. `oldest_pending_seconds` is the age of the oldest event that waits for its delivery, null when none does."
}))

const all = HttpApiEndpoint.get("all", "/stats", {
  query: { window: Schema.optionalKey(StatsWindow) },
  success: Stats,
  error: [BadRequest, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "See how all webhooks do together",
  description: "As of one webhook, of the newest million attempts: where those do not reach back to the window's " +
    "beginning, the buckets before them are left out. `backlog` is of the active webhooks, counted up to 50,000."
}))

/** How webhooks do. */
export class StatsGroup extends HttpApiGroup.make("stats")
  .add(get, all)
  .annotateMerge(OpenApi.annotations({ title: "Statistics" }))
{}
