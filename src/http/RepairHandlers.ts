import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Jobs } from "../services/Jobs.ts"
import { Reconciler } from "../services/Reconciler.ts"
import type { PrefixedApi } from "./api/Api.ts"
import { defaultLimit } from "./api/Parameters.ts"
import { RecoverRequest, ReplayRequest } from "./api/Repair.ts"
import { asProblems } from "./DomainProblems.ts"
import { decodeBody } from "./RequestBody.ts"

const replayBody = decodeBody(ReplayRequest, {})
const recoverBody = decodeBody(RecoverRequest)

/** Handlers of reconciliation, bulk replays and recoveries, whatever the prefix. */
export const repairHandlers = (api: PrefixedApi) =>
  HttpApiBuilder.group(
    api,
    "repair",
    Effect.fn(function*(handlers) {
      const jobs = yield* Jobs
      const reconciler = yield* Reconciler
      return handlers
        .handleAll({
          reconcile: ({ params, query }) => asProblems(reconciler.reconcile(params.id, query)),
          jobs: ({ params, query }) => asProblems(jobs.list(params.id, { limit: defaultLimit, ...query })),
          cancel: ({ params }) => asProblems(jobs.cancel(params.id, params.jobId))
        })
        .handleRaw("replay", ({ params, request }) =>
          Effect.flatMap(replayBody(request), (criteria) =>
            asProblems(jobs.replay(params.id, criteria))))
        .handleRaw("recover", ({ params, request }) =>
          Effect.flatMap(recoverBody(request), ({ since }) =>
            asProblems(jobs.recover(params.id, since))))
    })
  )
