import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Layer, Redacted } from "effect"
import { SqlError } from "effect/sql"
import { isAway, isRefusedByPooler, layerDatabase } from "../../src/services/Database.ts"
import { TestDatabase } from "../support/Database.ts"
import { hasPgBouncer, pgBouncer } from "../support/PgBouncer.ts"

const database = Layer.unwrap(
  Effect.map(TestDatabase, ({ url }) => layerDatabase({ url: Redacted.make(url) }))
).pipe(Layer.provideMerge(TestDatabase.layerUrl))

describe("layerDatabase", () => {
  it.live("fails a transaction whose connection is lost, as any other statement", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const cause = yield* sql.withTransaction(Effect.gen(function*() {
        const [row] = yield* sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`
        yield* sql`SELECT pg_terminate_backend(${row!.pid})`
        yield* sql`SELECT 1`
      })).pipe(Effect.sandbox, Effect.flip)
      const error = Cause.squash(cause)
      assert.isTrue(Cause.hasFails(cause), Cause.pretty(cause))
      assert.isTrue(SqlError.isSqlError(error) && isAway(error), Cause.pretty(cause))
      assert.strictEqual((yield* sql`SELECT 1`).length, 1)
    }).pipe(Effect.provide(Layer.fresh(database))))

  it.live.skipIf(!hasPgBouncer)(
    "goes through a pooler that refuses session settings, unless anybody could stand in for PostgreSQL's functions (needs pgbouncer)",
    () =>
      Effect.gen(function*() {
        const { url } = yield* TestDatabase
        const admin = yield* PgClient.PgClient
        const pooled = Redacted.make(yield* pgBouncer(url))
        const ask = Effect.flatMap(PgClient.PgClient, (sql) => sql`SELECT current_setting('TimeZone') AS zone`).pipe(
          Effect.provide(Layer.fresh(layerDatabase({ url: pooled, prepare: false })))
        )
        assert.deepStrictEqual(yield* ask, [{ zone: "UTC" }])
        yield* admin`GRANT CREATE ON SCHEMA public TO PUBLIC`
        assert.isTrue(isRefusedByPooler(yield* Effect.flip(ask)))
      }).pipe(Effect.scoped, Effect.provide(Layer.fresh(TestDatabase.layer)))
  )
})
