import { Effect } from "effect"
import { cpuSeconds } from "./CpuTime.ts"
import type { Stage } from "./Stage.ts"

/** What a sender and PostgreSQL have used so far. */
export interface Usage {
  /** CPU seconds; NaN where there is no `/proc`. */
  readonly sender: number
  readonly postgres: number
  readonly walBytes: number
}

/** Of the process `pid`, if there is a sender, and of all of PostgreSQL's. */
export const usageOf = Effect.fnUntraced(function*({ postgresPid, sql }: Stage, pid?: number) {
  const [row] = yield* sql<{ bytes: number }>`SELECT (pg_current_wal_insert_lsn() - '0/0')::float8 AS bytes`
  return {
    sender: pid === undefined ? 0 : (yield* cpuSeconds(pid)) ?? Number.NaN,
    postgres: (yield* cpuSeconds(postgresPid)) ?? Number.NaN,
    walBytes: row?.bytes ?? Number.NaN
  } satisfies Usage
})

export const usedBetween = (before: Usage, after: Usage): Usage => ({
  sender: after.sender - before.sender,
  postgres: after.postgres - before.postgres,
  walBytes: after.walBytes - before.walBytes
})
