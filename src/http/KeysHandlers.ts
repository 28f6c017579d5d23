import { Effect, Redacted } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { ApiKeyCreate } from "../domain/ApiKey.ts"
import { ApiKeys } from "../services/ApiKeys.ts"
import type { PrefixedApi } from "./api/Api.ts"
import { defaultLimit } from "./api/Parameters.ts"
import { asProblems } from "./DomainProblems.ts"
import { decodeBody } from "./RequestBody.ts"

const createBody = decodeBody(ApiKeyCreate)

/** Handlers of the API keys, whatever the prefix. */
export const keysHandlers = (api: PrefixedApi) =>
  HttpApiBuilder.group(
    api,
    "keys",
    Effect.fn(function*(handlers) {
      const keys = yield* ApiKeys
      return handlers
        .handleAll({
          list: ({ query }) => asProblems(keys.page({ limit: defaultLimit, ...query })),
          revoke: ({ params }) => asProblems(keys.revoke(params.id))
        })
        .handleRaw("create", ({ request }) =>
          Effect.flatMap(createBody(request), ({ name, scope }) =>
            Effect.map(
              asProblems(keys.create(name, scope)),
              ({ key, ...shown }) => ({ ...shown, key: Redacted.value(key) })
            )))
    })
  )
