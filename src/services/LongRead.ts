import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { SqlError } from "effect/sql"
import { TookTooLong } from "../domain/Errors.ts"
import { sqlState } from "./Database.ts"

/** How long one statement may take that reads whatever is kept, in seconds. */
const patience = 30

/** A function for `columns` and `filter` may go, and a webhook change, while a statement is on its way. */
export const isOvertaken = (error: unknown): boolean =>
  SqlError.isSqlError(error) && (sqlState(error) === "42883" || error.reason._tag === "SerializationError")

/**
 * Runs statements that may read a million events: on one snapshot, 30 seconds each, and without nested loops, which the
 * planner takes for cheap wherever it believes a table to be small.
 */
export const longRead = <A, E, R>(
  sql: PgClient.PgClient,
  statements: Effect.Effect<A, E | SqlError.SqlError, R>
): Effect.Effect<A, E | SqlError.SqlError | TookTooLong, R> =>
  sql.withTransaction(
    sql`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`.pipe(
      Effect.andThen(sql.unsafe(`SET LOCAL statement_timeout = '${patience}s'`)),
      Effect.andThen(sql`SET LOCAL enable_nestloop = off`),
      Effect.andThen(statements)
    )
  ).pipe(
    Effect.retry({ times: 2, while: isOvertaken }),
    Effect.catchIf(
      (error): error is Extract<E | SqlError.SqlError, SqlError.SqlError> =>
        SqlError.isSqlError(error) && error.reason._tag === "StatementTimeoutError",
      () => Effect.fail(new TookTooLong({ detail: `This took over ${patience} s: ask for a shorter time` }))
    )
  ) as Effect.Effect<A, E | SqlError.SqlError | TookTooLong, R>
