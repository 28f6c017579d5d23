import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { EventHistories } from "../services/EventHistories.ts"
import type { PrefixedApi } from "./api/Api.ts"
import { asProblems } from "./DomainProblems.ts"
import { jsonText } from "./JsonText.ts"

/** Handlers of the events, whatever the prefix. */
export const eventsHandlers = (api: PrefixedApi) =>
  HttpApiBuilder.group(
    api,
    "events",
    Effect.fn(function*(handlers) {
      const histories = yield* EventHistories
      return handlers.handleAll({
        get: ({ params }) => jsonText(asProblems(histories.get(params.eventId)))
      })
    })
  )
