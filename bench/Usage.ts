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

/** Of the sender's processes, if there is one, and of all of PostgreSQL's. */
export const usageOf = Effect.fnUntraced(function*(
  { postgresPid, sql }: Stage,
  pid: number | ReadonlyArray<number> = []
) {
  let sender = 0
  for (const one of [pid].flat()) sender += (yield* cpuSeconds(one)) ?? Number.NaN
  const [row] = yield* sql<{ bytes: number }>`SELECT (pg_current_wal_insert_lsn() - '0/0')::float8 AS bytes`
  return {
    sender,
    postgres: (yield* cpuSeconds(postgresPid)) ?? Number.NaN,
    walBytes: row?.bytes ?? Number.NaN
  } satisfies Usage
})

export const usedBetween = (before: Usage, after: Usage): Usage => ({
  sender: after.sender - before.sender,
  postgres: after.postgres - before.postgres,
  walBytes: after.walBytes - before.walBytes
})
