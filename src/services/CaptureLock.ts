import type { PgClient } from "@effect/sql-pg"

/**
 * Until the end of the transaction, nobody else makes triggers, functions or partitions. An advisory lock would do, too,
 * but any role of the database could take that one and keep it.
 */
export const captureLock = (sql: PgClient.PgClient) => sql`LOCK TABLE truss.tables IN SHARE UPDATE EXCLUSIVE MODE`
