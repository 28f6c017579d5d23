import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Statistics } from "../services/Statistics.ts"
import type { PrefixedApi } from "./api/Api.ts"
import { asProblems } from "./DomainProblems.ts"

/** Handlers of the statistics, whatever the prefix. */
export const statsHandlers = (api: PrefixedApi) =>
  HttpApiBuilder.group(
    api,
    "stats",
    Effect.fn(function*(handlers) {
      const statistics = yield* Statistics
      return handlers.handleAll({
        all: ({ query }) => asProblems(statistics.ofAll(query.window ?? "1h")),
        get: ({ params, query }) => asProblems(statistics.of(params.id, query.window ?? "1h"))
      })
    })
  )
