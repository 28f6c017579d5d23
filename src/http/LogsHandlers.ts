import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { DeliveryLog } from "../services/DeliveryLog.ts"
import { LogTails } from "../services/LogTails.ts"
import { ManualDelivery } from "../services/ManualDelivery.ts"
import { RowQueue } from "../services/RowQueue.ts"
import type { PrefixedApi } from "./api/Api.ts"
import { defaultLimit } from "./api/Parameters.ts"
import { NoOptions } from "./api/Webhooks.ts"
import { asProblems } from "./DomainProblems.ts"
import { jsonText } from "./JsonText.ts"
import { logStream } from "./LogStream.ts"
import { decodeBody } from "./RequestBody.ts"

const noBody = decodeBody(NoOptions, {})

/** Handlers of the delivery log, whatever the prefix. */
export const logsHandlers = (api: PrefixedApi) =>
  HttpApiBuilder.group(
    api,
    "logs",
    Effect.fn(function*(handlers) {
      const log = yield* DeliveryLog
      const manual = yield* ManualDelivery
      const queue = yield* RowQueue
      const tails = yield* LogTails
      return handlers
        .handleAll({
          list: ({ params, query }) => jsonText(asProblems(log.list(params.id, { limit: defaultLimit, ...query }))),
          get: ({ params }) => jsonText(asProblems(log.get(params.id, params.logId)))
        })
        .handleRaw("stream", ({ headers, params, query }) =>
          Effect.map(
            // The header is what a client that reconnects by itself sends: newer than the query.
            asProblems(tails.open(params.id, headers["last-event-id"] || query.last_event_id)),
            logStream
          ))
        .handleRaw("replay", ({ params, request }) =>
          Effect.andThen(noBody(request), jsonText(asProblems(manual.replay(params.id, params.logId)))))
        .handleRaw("skip", ({ params, request }) =>
          Effect.andThen(noBody(request), jsonText(asProblems(queue.skip(params.id, params.eventId)))))
    })
  )
