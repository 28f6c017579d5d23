import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { assertOneLine, run, serve, stop, temporary, withDatabase } from "../support/Program.ts"
import { schemaText } from "../support/SchemaText.ts"
import { startService } from "../support/ServiceProcess.ts"
import { systemBinaries, systemPostgres } from "../support/SystemPostgres.ts"

const theirs = [
  `CREATE TABLE orders (id int PRIMARY KEY, note text, total numeric(12, 2) DEFAULT 0 CHECK (total >= 0))`,
  `CREATE SCHEMA "Über ""shop""; --"`,
  `CREATE TABLE "Über ""shop""; --"."Order's ""lines""" (id int PRIMARY KEY, "Ordr" int REFERENCES orders ON DELETE CASCADE)`,
  `CREATE TABLE parted (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)`,
  `CREATE TABLE parted_2025 PARTITION OF parted FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')`,
  `CREATE TABLE parted_rest PARTITION OF parted DEFAULT`,
  `CREATE TABLE parent (id int PRIMARY KEY)`,
  `CREATE TABLE child (extra text) INHERITS (parent)`,
  `CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := coalesce(NEW.note, ''stamped''); RETURN NEW; END'`,
  `CREATE TRIGGER "00_truss_mine" BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION stamp()`,
  `CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
  `CREATE TRIGGER zz_after AFTER UPDATE ON parted FOR EACH ROW EXECUTE FUNCTION noted()`,
  `CREATE TRIGGER off AFTER DELETE ON orders FOR EACH STATEMENT EXECUTE FUNCTION noted()`,
  `ALTER TABLE orders DISABLE TRIGGER off`,
  `COMMENT ON TABLE orders IS 'what people bought'`,
  `CREATE VIEW open_orders AS SELECT * FROM orders WHERE note IS NULL`
]

const tables = [
  ["public", "orders"],
  [`Über "shop"; --`, `Order's "lines"`],
  ["public", "parted"],
  ["public", "parted_2025"],
  ["public", "parent"]
] as const

const withSql = <A, E, R>(url: string, use: (sql: PgClient.PgClient) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(PgClient.PgClient, use).pipe(
    Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 }))
  )

const exec = (url: string, ...statements: ReadonlyArray<string>) =>
  withSql(url, (sql) => Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }))

/** Watches all of them, changes them, and stops. */
const used = Effect.fnUntraced(function*(DATABASE_URL: string) {
  const service = yield* serve([], { DATABASE_URL })
  for (const [table_schema, table_name] of tables) {
    const response = yield* Effect.promise(() =>
      fetch(`${service.url}/api/webhooks`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          name: table_name,
          table_schema,
          table_name,
          events: ["INSERT", "UPDATE", "DELETE", "TRUNCATE"],
          url: "http://127.0.0.1:1/",
          filter: table_name === "orders" ? [{ column: "total", op: "gt", value: 1 }] : null
        })
      })
    )
    assert.strictEqual(response.status, 201, yield* Effect.promise(() => response.text()))
  }
  yield* exec(
    DATABASE_URL,
    "INSERT INTO orders VALUES (1, NULL, 5)",
    "INSERT INTO parted VALUES (1, '2025-02-03'), (2, '2024-01-01')",
    "INSERT INTO child VALUES (1, 'x')",
    "UPDATE parted SET id = 3 WHERE id = 1"
  )
  return service
})

describe("uninstall", () => {
  it.live("leaves the user's schema exactly as it was, by the catalog", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        yield* exec(DATABASE_URL, ...theirs)
        const before = yield* withSql(DATABASE_URL, schemaText)
        const service = yield* used(DATABASE_URL)
        assert.strictEqual((yield* stop(service, "SIGTERM")).code, 0)
        const between = yield* withSql(DATABASE_URL, schemaText)
        assert.notStrictEqual(between, before)

        const listed = yield* run(["uninstall"], { DATABASE_URL })
        assert.strictEqual(listed.code, 2)
        assert.match(listed.stderr, /^truss-webhooks: nothing was removed\. .* add --yes to remove them\n$/)
        assert.match(listed.stdout, /^trigger 00_truss_insert_1 on public\.orders$/m)
        assert.match(listed.stdout, /^table truss\.webhooks$/m)
        assert.notInclude(listed.stdout, "stamp")
        assert.strictEqual(yield* withSql(DATABASE_URL, schemaText), between)

        const removed = yield* run(["uninstall", "--yes"], { DATABASE_URL })
        assert.strictEqual(removed.code, 0, removed.stderr)
        assert.strictEqual(removed.stderr, "")
        assert.match(removed.stdout, /^Removed \d+ triggers, \d+ tables, .* and the schema truss\.\n$/)
        assert.strictEqual(yield* withSql(DATABASE_URL, schemaText), before)
        const [rows] = yield* withSql(DATABASE_URL, (sql) => sql`SELECT count(*)::int AS n FROM parted`)
        assert.deepStrictEqual(rows, { n: 2 })

        const again = yield* run(["uninstall", "--yes"], { DATABASE_URL })
        assert.strictEqual(again.code, 0, again.stderr)
        assert.match(again.stdout, /not installed in this database/)
        // And it can come back.
        const back = yield* run(["migrate"], { DATABASE_URL })
        assert.strictEqual(back.code, 0, back.stderr)
      })
    ))

  const binaries = systemBinaries((major) => major >= 14)
  it.live.skipIf(binaries === undefined)(
    "leaves the user's schema exactly as pg_dump -s showed it before (needs a PostgreSQL of the system, 14 or newer)",
    () =>
      Effect.gen(function*() {
        const server = yield* systemPostgres(binaries!)
        yield* exec(server.url, ...theirs)
        // Newer ones of pg_dump frame the dump with a key that is random.
        const dump = Effect.map(server.dump, (text) => text.replaceAll(/^\\(un)?restrict .*$/gm, ""))
        const before = yield* dump
        assert.include(before, "CREATE TRIGGER zz_after")
        const service = yield* used(server.url)
        assert.strictEqual((yield* stop(service, "SIGTERM")).code, 0)
        assert.include(yield* dump, "00_truss_insert_1")
        const removed = yield* run(["uninstall", "--yes"], { DATABASE_URL: server.url })
        assert.strictEqual(removed.code, 0, removed.stderr)
        assert.strictEqual(yield* dump, before)
      })
  )

  it.live("refuses while a service runs, a standby included, unless told", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        yield* exec(DATABASE_URL, "CREATE TABLE orders (id int PRIMARY KEY)")
        const before = yield* withSql(DATABASE_URL, schemaText)
        const first = yield* serve([], { DATABASE_URL })
        assertOneLine(yield* run(["uninstall", "--yes"], { DATABASE_URL }), 1, /runs on this database .*--force/)
        const second = yield* startService(DATABASE_URL)
        yield* second.ready("standby")
        yield* stop(first, "SIGTERM")
        yield* second.ready("notify")
        assertOneLine(yield* run(["uninstall", "--yes"], { DATABASE_URL }), 1, /runs on this database .*--force/)
        assert.strictEqual((yield* second.ask("GET", "/api/webhooks")).status, 200)
        yield* second.signal("SIGSTOP")
        const forced = yield* run(["uninstall", "--yes", "--force"], { DATABASE_URL })
        yield* second.signal("SIGCONT")
        assert.strictEqual(forced.code, 0, forced.stderr)
        assert.strictEqual(yield* withSql(DATABASE_URL, schemaText), before)
        yield* second.health(503)
        yield* second.stop
        assert.strictEqual(yield* withSql(DATABASE_URL, schemaText), before)
      })
    ))

  it.live("removes nothing where something of the user's depends on it, or stands in its schema", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        yield* run(["migrate"], { DATABASE_URL })
        const refusal = Effect.fnUntraced(function*(statement: string, undo: string, pattern: RegExp) {
          yield* exec(DATABASE_URL, statement)
          const before = yield* withSql(DATABASE_URL, schemaText)
          assertOneLine(yield* run(["uninstall", "--yes"], { DATABASE_URL }), 1, pattern)
          assert.strictEqual(yield* withSql(DATABASE_URL, schemaText), before)
          yield* exec(DATABASE_URL, undo)
        })
        yield* refusal(
          "CREATE VIEW public.attempts AS SELECT * FROM truss.attempts",
          "DROP VIEW public.attempts",
          /view public\.attempts depends on table truss\.attempts.*Nothing was removed/
        )
        yield* refusal(
          "CREATE TABLE truss.notes (id int)",
          "DROP TABLE truss.notes",
          /table truss\.notes depends on schema truss.*Nothing was removed/
        )
        assert.strictEqual((yield* run(["uninstall", "--yes"], { DATABASE_URL })).code, 0)
      })
    ))

  it.live("waits a little for locks, then says so and changes nothing", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        yield* exec(DATABASE_URL, ...theirs)
        yield* stop(yield* used(DATABASE_URL), "SIGTERM")
        const before = yield* withSql(DATABASE_URL, schemaText)
        yield* withSql(DATABASE_URL, (sql) =>
          sql.withTransaction(Effect.gen(function*() {
            yield* sql`INSERT INTO orders VALUES (7)`
            const ended = yield* run(["uninstall", "--yes"], { DATABASE_URL })
            assertOneLine(ended, 1, /locked by other transactions\. Nothing was changed: try again/)
          })))
        assert.strictEqual(yield* withSql(DATABASE_URL, schemaText), before)
        assert.strictEqual((yield* run(["uninstall", "--yes"], { DATABASE_URL })).code, 0)
      })
    ))

  it.live("makes no embedded PostgreSQL to look into", () =>
    Effect.gen(function*() {
      const TRUSS_DATA_DIR = yield* temporary
      assertOneLine(yield* run(["uninstall", "--yes"], { TRUSS_DATA_DIR }), 1, /DATABASE_URL is not set/)
    }))
})
