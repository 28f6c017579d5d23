import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { AuditRecord } from "../../domain/Audit.ts"
import { Limit, QueryText } from "./Parameters.ts"
import { BadRequest, Unavailable } from "./Problems.ts"

/** A page of the audit, newest first. */
export const AuditList = Schema.Struct({
  data: Schema.Array(AuditRecord),
  next_cursor: Schema.NullOr(Schema.String)
}).annotate({ identifier: "AuditList" })

const list = HttpApiEndpoint.get("list", "/audit", {
  query: { limit: Schema.optionalKey(Limit), cursor: Schema.optionalKey(QueryText) },
  success: AuditList,
  error: [BadRequest, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "List who changed what",
  description: "Newest first. Entries are never changed and outlive what they are about; they name what was changed, " +
    "never a secret or the value of a header."
}))

/** Who changed what, when. */
export class AuditGroup extends HttpApiGroup.make("audit")
  .add(list)
  .annotateMerge(OpenApi.annotations({ title: "Audit" }))
{}
