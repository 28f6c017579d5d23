import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Audit } from "../services/Audit.ts"
import type { PrefixedApi } from "./api/Api.ts"
import { defaultLimit } from "./api/Parameters.ts"
import { asProblems } from "./DomainProblems.ts"

/** Handlers of the audit, whatever the prefix. */
export const auditHandlers = (api: PrefixedApi) =>
  HttpApiBuilder.group(
    api,
    "audit",
    Effect.fn(function*(handlers) {
      const audit = yield* Audit
      return handlers.handleAll({
        list: ({ query }) => asProblems(audit.list({ limit: defaultLimit, ...query }))
      })
    })
  )
