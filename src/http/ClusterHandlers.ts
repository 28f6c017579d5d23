import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Runners } from "../services/Runners.ts"
import type { PrefixedApi } from "./api/Api.ts"
import { asProblems } from "./DomainProblems.ts"

/** Handlers of the cluster, whatever the prefix. */
export const clusterHandlers = (api: PrefixedApi) =>
  HttpApiBuilder.group(
    api,
    "cluster",
    Effect.fn(function*(handlers) {
      const runners = yield* Runners
      return handlers.handleAll({
        get: () => asProblems(runners.cluster)
      })
    })
  )
