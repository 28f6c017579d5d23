import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Tables } from "../services/Tables.ts"
import type { PrefixedApi } from "./api/Api.ts"
import { defaultLimit } from "./api/Parameters.ts"
import { asProblems } from "./DomainProblems.ts"

/** Handlers of the tables, whatever the prefix. */
export const tablesHandlers = (api: PrefixedApi) =>
  HttpApiBuilder.group(
    api,
    "tables",
    Effect.fn(function*(handlers) {
      const tables = yield* Tables
      return handlers.handleAll({
        list: ({ query }) => asProblems(tables.list({ limit: defaultLimit, ...query }))
      })
    })
  )
