import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { randomBytes } from "node:crypto"
import { inject } from "vitest"

const admin = <A, E>(serverUrl: string, use: Effect.Effect<A, E, PgClient.PgClient>) =>
  Effect.provide(use, PgClient.layer({ url: Redacted.make(serverUrl), maxConnections: 1 }))

const create = Effect.fnUntraced(function*(serverUrl: string) {
  const name = `test_${randomBytes(6).toString("hex")}`
  yield* admin(serverUrl, Effect.flatMap(PgClient.PgClient, (sql) => sql`CREATE DATABASE ${sql(name)}`))
  return name
})

const drop = (serverUrl: string, name: string) =>
  admin(serverUrl, Effect.flatMap(PgClient.PgClient, (sql) => sql`DROP DATABASE IF EXISTS ${sql(name)} WITH (FORCE)`))

/**
 * A fresh database on the test run's server, dropped at the end: `it.layer(TestDatabase.layer)("…", (it) => …)` gives
 * the tests of a file one, `Effect.provide(Layer.fresh(TestDatabase.layer))` gives a single test its own.
 */
export class TestDatabase extends Context.Service<TestDatabase, { readonly url: string }>()(
  "truss/test/TestDatabase"
) {
  /** Only the database, for code that connects by itself. */
  static readonly layerUrl: Layer.Layer<TestDatabase, SqlError.SqlError> = Layer.effect(
    TestDatabase,
    Effect.gen(function*() {
      const serverUrl = inject("postgresUrl")
      const name = yield* Effect.acquireRelease(create(serverUrl), (name) => Effect.orDie(drop(serverUrl, name)))
      const url = new URL(serverUrl)
      url.pathname = `/${name}`
      return { url: url.href }
    })
  )

  /** The database and a `PgClient` (and `SqlClient`) connected to it, with `options` for the client. */
  static readonly layerWith = (
    options?: Omit<Parameters<typeof PgClient.layer>[0], "url">
  ): Layer.Layer<TestDatabase | PgClient.PgClient | SqlClient.SqlClient, SqlError.SqlError> =>
    Layer.unwrap(
      Effect.map(TestDatabase, ({ url }) => PgClient.layer({ ...options, url: Redacted.make(url) }))
    ).pipe(Layer.provideMerge(TestDatabase.layerUrl))

  static readonly layer = TestDatabase.layerWith()
}
