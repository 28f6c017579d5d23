import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { SqlError } from "effect/sql"
import { DatabaseUnavailable } from "../domain/Errors.ts"
import { orUnavailable } from "./Database.ts"

/** How long one statement may take, in seconds. */
const patience = 10

/** For the rest of the transaction: `orUnavailableInTime` says so when it is over. */
export const limitStatements = (sql: PgClient.PgClient) => sql.unsafe(`SET LOCAL statement_timeout = '${patience}s'`)

export const orUnavailableInTime = <A, E, R>(
  effect: Effect.Effect<A, E | SqlError.SqlError, R>
): Effect.Effect<A, Exclude<E, SqlError.SqlError> | DatabaseUnavailable, R> =>
  orUnavailable(
    Effect.mapError(effect, (error) =>
      SqlError.isSqlError(error) && error.reason._tag === "StatementTimeoutError"
        ? new DatabaseUnavailable({ detail: "a statement timed out", timeoutSeconds: patience })
        : error)
  ) as never

/**
 * Runs what reads a page or an entry for a client, in a transaction: no client's question holds a connection that
 * deliveries need for longer than 10 seconds a statement, whatever it meets, a table that somebody locked included.
 */
export const pageRead = (sql: PgClient.PgClient) => <A, E, R>(statements: Effect.Effect<A, E | SqlError.SqlError, R>) =>
  orUnavailableInTime(sql.withTransaction(Effect.andThen(limitStatements(sql), statements)))
