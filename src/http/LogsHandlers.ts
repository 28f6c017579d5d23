import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { DeliveryLog } from "../services/DeliveryLog.ts"
import { ManualDelivery } from "../services/ManualDelivery.ts"
import type { PrefixedApi } from "./api/Api.ts"
import { defaultLimit } from "./api/Parameters.ts"
import { NoOptions } from "./api/Webhooks.ts"
import { asProblems } from "./DomainProblems.ts"
import { decodeBody } from "./RequestBody.ts"

const noBody = decodeBody(NoOptions, {})

/** The database's JSON goes out as it is: parsing it would lose digits of `bigint` and `numeric`. */
const jsonText = Effect.map((text: string) => HttpServerResponse.text(text, { contentType: "application/json" }))

/** Handlers of the delivery log, whatever the prefix. */
export const logsHandlers = (api: PrefixedApi) =>
  HttpApiBuilder.group(
    api,
    "logs",
    Effect.fn(function*(handlers) {
      const log = yield* DeliveryLog
      const manual = yield* ManualDelivery
      return handlers
        .handleAll({
          list: ({ params, query }) => jsonText(asProblems(log.list(params.id, { limit: defaultLimit, ...query }))),
          get: ({ params }) => jsonText(asProblems(log.get(params.id, params.logId)))
        })
        .handleRaw("replay", ({ params, request }) =>
          Effect.andThen(noBody(request), jsonText(asProblems(manual.replay(params.id, params.logId)))))
    })
  )
