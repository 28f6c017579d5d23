import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { KeyScope } from "../../domain/ApiKey.ts"
import { bodyProblems, Forbidden, Unauthorized, Unavailable, UnsupportedMediaType } from "./Problems.ts"

/** The body of `POST /session`. */
export const SessionCreate = Schema.Struct({
  api_key: Schema.String.check(Schema.isMaxLength(4096))
}).annotate({ identifier: "SessionCreate" })

/** How to get in, and who is in. */
export const SessionState = Schema.Struct({
  mode: Schema.Literals(["open", "kratos", "api_key"]).annotate({
    description: "`open`: nothing is asked for; `kratos`: sign in at `login_url`; `api_key`: trade an API key here"
  }),
  principal: Schema.NullOr(Schema.Struct({ name: Schema.String, scope: KeyScope })).annotate({
    description: "Whose credentials the request has; null for nobody's"
  }),
  login_url: Schema.NullOr(Schema.String).annotate({
    description: "Where a browser signs in with Ory Kratos; `return_to` may be added to its query"
  })
}).annotate({ identifier: "SessionState" })

const get = HttpApiEndpoint.get("get", "/session", {
  success: SessionState,
  error: [Forbidden, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Who am I, and how do I sign in",
  description: "Needs no credentials, and tells nothing else."
}))

const create = HttpApiEndpoint.post("create", "/session", {
  payload: SessionCreate,
  success: HttpApiSchema.NoContent,
  error: [...bodyProblems, Unauthorized, Forbidden, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "Trade an API key for a session",
  description:
    "Sets the cookie `truss_session` (`HttpOnly`, `SameSite=Strict`) for 12 hours. The session may do what the " +
    "key may, and ends with it."
}))

const end = HttpApiEndpoint.delete("end", "/session", {
  success: HttpApiSchema.NoContent,
  error: [Forbidden, UnsupportedMediaType, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "End the session",
  description: "The session that an API key was traded for; one of Ory Kratos ends at Kratos. 204 without one, too."
}))

/** What a browser needs before it is let in. */
export class SessionGroup extends HttpApiGroup.make("session")
  .add(get, create, end)
  .annotateMerge(OpenApi.annotations({ title: "Session" }))
{}

/** Only under `/api`: cookies do not count under `/v1`. */
export class SessionApi extends HttpApi.make("truss-webhooks-session")
  .add(SessionGroup)
  .prefix("/api")
{}
