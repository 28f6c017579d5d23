import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { ApiKey, ApiKeyCreate, CreatedApiKey } from "../../domain/ApiKey.ts"
import { Limit, PathId, QueryText } from "./Parameters.ts"
import { BadRequest, bodyProblems, NotFound, Unavailable } from "./Problems.ts"

/** A page of API keys, oldest first. */
export const KeyList = Schema.Struct({
  data: Schema.Array(ApiKey),
  next_cursor: Schema.NullOr(Schema.String)
}).annotate({ identifier: "KeyList" })

const list = HttpApiEndpoint.get("list", "/keys", {
  query: { limit: Schema.optionalKey(Limit), cursor: Schema.optionalKey(QueryText) },
  success: KeyList,
  error: [BadRequest, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "List the API keys",
  description: "Oldest first. `prefix` is all that is kept of a key in a readable form. A key that is set in the " +
    "service's configuration is not among them."
}))

const create = HttpApiEndpoint.post("create", "/keys", {
  payload: ApiKeyCreate,
  success: CreatedApiKey.pipe(HttpApiSchema.status(201)),
  error: [...bodyProblems, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Make an API key",
  description:
    "`key` is shown this once: only its hash is stored. A `read` key may look at everything, a `write` key " +
    "change things too."
}))

const revoke = HttpApiEndpoint.delete("revoke", "/keys/:id", {
  params: { id: PathId },
  success: HttpApiSchema.NoContent,
  error: [NotFound, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Revoke an API key",
  description: "It is refused from then on, by every process."
}))

/** Who may ask. */
export class KeysGroup extends HttpApiGroup.make("keys")
  .add(list, create, revoke)
  .annotateMerge(OpenApi.annotations({ title: "API keys" }))
{}
