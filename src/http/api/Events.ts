import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { EventHistory } from "../../domain/EventFate.ts"
import { PathId } from "./Parameters.ts"
import { NotFound, Unavailable } from "./Problems.ts"

const get = HttpApiEndpoint.get("get", "/events/:eventId", {
  params: { eventId: PathId },
  success: EventHistory,
  error: [NotFound, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Get one change and what became of it",
  description: "For each webhook of its table: the attempts, oldest first, and the next one, or why there is none. " +
    "The newest 100 attempts of a webhook are shown. Payloads are digit for digit what the database wrote."
}))

/** Changes, and what became of them. */
export class EventsGroup extends HttpApiGroup.make("events")
  .add(get)
  .annotateMerge(OpenApi.annotations({ title: "Events" }))
{}
