import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import type { DatabaseUnavailable, InvalidFilter, TableMismatch, TableNotWatchable } from "../domain/Errors.ts"
import type { PreviewRequest } from "../domain/PreviewRequest.ts"
import { pageRead } from "./PageRead.ts"
import { plain } from "./PgArray.ts"
import { checkSelection, withSelection } from "./Selection.ts"
import { lookUpTable } from "./WatchedTable.ts"

/** How many of a table's newest events are looked at, and how many bodies are shown at most. */
const considered = 1000
const samples = 5

const query = (select: string) => `
  WITH kept AS MATERIALIZED (
    SELECT e.seq, e.event_type, e.body FROM truss.events e JOIN truss.tables t ON t.id = e.table_id
    WHERE t.table_schema = $1 AND t.table_name = $2 AND e.event_type <> 'TEST' ORDER BY e.seq DESC LIMIT ${considered}
  ), firing AS MATERIALIZED (
    SELECT seq, body FROM kept
    WHERE event_type = ANY ($3::text::truss.event_type[]) AND ${select}(event_type, body) IS NULL
  )
  SELECT (SELECT count(*) FROM kept)::float8 AS considered, (SELECT count(*) FROM firing)::float8 AS would_fire,
    ARRAY(SELECT body FROM firing ORDER BY seq DESC LIMIT ${samples}) AS samples`

interface Row {
  readonly considered: number
  readonly would_fire: number
  readonly samples: ReadonlyArray<string>
}

/** Tries out what a webhook would select, on what the table's webhooks have kept. */
export class Preview extends Context.Service<Preview, {
  /** The answer as JSON text: its samples are digit for digit what was captured. */
  of(
    request: PreviewRequest
  ): Effect.Effect<string, TableNotWatchable | InvalidFilter | TableMismatch | DatabaseUnavailable>
}>()("truss/services/Preview") {
  static readonly layer = Layer.effect(
    Preview,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const inTime = pageRead(sql)
      const of = Effect.fn("Preview.of")(function*(request: PreviewRequest) {
        const table = yield* Effect.provideService(
          lookUpTable(request.table_schema, request.table_name),
          PgClient.PgClient,
          sql
        )
        yield* checkSelection(sql, table, request)
        const [row] = yield* withSelection(
          sql,
          table,
          request,
          (select) => sql.unsafe<Row>(query(select), [request.table_schema, request.table_name, plain(request.events)])
        )
        return `{"considered":${row!.considered},"would_fire":${row!.would_fire},` +
          `"samples":[${row!.samples.join(",")}]}`
      }, inTime)
      return Preview.of({ of })
    })
  )
}
