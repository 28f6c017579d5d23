import { Effect } from "effect"
import { fixed, integer, type Table } from "./Report.ts"
import type { Stage } from "./Stage.ts"

/** Forgets what was counted before the measurement. */
export const resetStatements = ({ options, sql }: Stage) =>
  options.statements ? Effect.asVoid(sql`SELECT pg_stat_statements_reset()`) : Effect.void

/** What PostgreSQL spent its time on, by `pg_stat_statements`, with what triggers ran as statements of their own. */
export const expensiveStatements = Effect.fnUntraced(function*({ options, sql }: Stage) {
  if (!options.statements) return []
  const rows = yield* sql<{ query: string; calls: number; total: number; mean: number; rows: number; wal: number }>`
    SELECT regexp_replace(query, '\\s+', ' ', 'g') AS query, calls::float8 AS calls, total_exec_time AS total,
      mean_exec_time AS mean, rows::float8 AS rows, wal_bytes::float8 AS wal
    FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 12`
  const table: Table = {
    title: "PostgreSQL's most expensive statements (with what they call)",
    header: ["statement", "calls", "total ms", "mean ms", "rows", "WAL MB"],
    rows: rows.map(({ calls, mean, query, rows, total, wal }) => [
      query.trim().slice(0, 90),
      integer(calls),
      integer(total),
      fixed(2)(mean),
      integer(rows),
      fixed(1)(wal / 1024 ** 2)
    ])
  }
  return [table]
})
