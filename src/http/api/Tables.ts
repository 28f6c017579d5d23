import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { Table } from "../../domain/Table.ts"
import { Limit, QueryBoolean, QueryText } from "./Parameters.ts"
import { BadRequest, Unavailable } from "./Problems.ts"

/** A page of tables, by schema and name. */
export const TableList = Schema.Struct({
  data: Schema.Array(Table),
  next_cursor: Schema.NullOr(Schema.String)
}).annotate({ identifier: "TableList" })

const list = HttpApiEndpoint.get("list", "/tables", {
  query: {
    limit: Schema.optionalKey(Limit),
    cursor: Schema.optionalKey(QueryText),
    partitions: Schema.optionalKey(QueryBoolean)
  },
  success: TableList,
  error: [BadRequest, Unavailable]
}).annotateMerge(OpenApi.annotations({
  summary: "List the database's tables",
  description:
    "By schema and name, without those of the system and of the service itself. `watchable` says whether a " +
    "webhook can watch one, `reason` why not. `estimated_rows` is what the database believes, null when it has not " +
    "looked yet. Watching a partitioned table covers its partitions: they are listed only with `partitions=true`."
}))

/** What there is to watch. */
export class TablesGroup extends HttpApiGroup.make("tables")
  .add(list)
  .annotateMerge(OpenApi.annotations({ title: "Tables" }))
{}
