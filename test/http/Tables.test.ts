import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { randomBytes } from "node:crypto"
import type { Table } from "../../src/domain/Table.ts"
import { Tables } from "../../src/services/Tables.ts"
import { connect, run, RunningService } from "../support/RunningService.ts"

interface TableList {
  readonly data: ReadonlyArray<Table>
  readonly next_cursor: string | null
}

const tables = Effect.fnUntraced(function*(query: Readonly<Record<string, string>> = {}) {
  const service = yield* RunningService
  const answer = yield* service.ask("GET", `/tables?${new URLSearchParams(query)}`)
  assert.strictEqual(answer.status, 200, answer.text)
  return JSON.parse(answer.text) as TableList
})

const named = Effect.fnUntraced(function*(name: string, query?: Readonly<Record<string, string>>) {
  const { data } = yield* tables({ limit: "500", ...query })
  return data.filter(({ table_name }) => table_name === name)
})

const one = (name: string) =>
  Effect.map(named(name), (found) => {
    assert.strictEqual(found.length, 1, name)
    return found[0]!
  })

it.layer(RunningService.layer(), { excludeTestServices: true })("the list of tables", (it) => {
  it.effect("has a table's columns with their types, its key in order and an estimate of its rows", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE DOMAIN amount AS numeric(12, 2) NOT NULL",
        `CREATE TABLE lines (a varchar(20), "Order" int, gone int, price amount, tags text[], PRIMARY KEY ("Order", a))`,
        "ALTER TABLE lines DROP COLUMN gone"
      )
      const lines: Table = {
        table_schema: "public",
        table_name: "lines",
        kind: "table",
        columns: [
          { name: "a", type: "character varying(20)", nullable: false },
          { name: "Order", type: "integer", nullable: false },
          { name: "price", type: "amount", nullable: false },
          { name: "tags", type: "text[]", nullable: true }
        ],
        primary_key: ["Order", "a"],
        estimated_rows: null,
        watchable: true,
        reason: null
      }
      assert.deepStrictEqual(yield* one("lines"), lines)
      yield* run("INSERT INTO lines SELECT 'x', g, 1, NULL FROM generate_series(1, 30) g", "ANALYZE lines")
      assert.deepStrictEqual(yield* one("lines"), { ...lines, estimated_rows: 30 })
      yield* run("CREATE TABLE bare ()")
      assert.deepInclude(yield* one("bare"), { columns: [], primary_key: [], watchable: true })
    }))

  it.effect("says in words why something cannot be watched", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE VIEW seen AS SELECT 1 AS n",
        "CREATE MATERIALIZED VIEW kept AS SELECT 1 AS n",
        "CREATE FOREIGN DATA WRAPPER nothing",
        "CREATE SERVER far FOREIGN DATA WRAPPER nothing",
        "CREATE FOREIGN TABLE remote (n int) SERVER far",
        "CREATE TABLE parts (n int) PARTITION BY LIST (n)",
        "CREATE FOREIGN TABLE parts_far PARTITION OF parts FOR VALUES IN (1) SERVER far",
        "CREATE TEMPORARY TABLE passing (n int)"
      )
      const about = Effect.fnUntraced(function*(name: string) {
        const { kind, reason, watchable } = yield* one(name)
        assert.isFalse(watchable)
        return [kind, reason]
      })
      assert.deepStrictEqual(yield* about("seen"), ["view", "public.seen is a view; only tables can be watched"])
      assert.deepStrictEqual(yield* about("kept"), [
        "materialized_view",
        "public.kept is a materialized view; only tables can be watched"
      ])
      assert.deepStrictEqual(yield* about("remote"), [
        "foreign_table",
        "public.remote is a foreign table; only tables can be watched"
      ])
      const [kind, reason] = yield* about("parts")
      assert.strictEqual(kind, "partitioned_table")
      assert.match(reason!, /its partition public.parts_far is a foreign table/)
      assert.deepStrictEqual(yield* named("passing"), [])
    }))

  it.effect("agrees with what creating a webhook answers", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* run("CREATE TABLE fine (id int)")
      const { data } = yield* tables({ limit: "500", partitions: "true" })
      assert.isAbove(data.length, 1)
      for (const { reason, table_name, table_schema, watchable } of data) {
        const input = { name: "x", table_schema, table_name, events: ["INSERT"], url: "http://127.0.0.1:1/" }
        const answer = yield* service.ask("POST", "/webhooks", { ...input, active: false })
        assert.strictEqual(answer.status, watchable ? 201 : 422, `${table_name}: ${answer.text}`)
        if (!watchable) assert.strictEqual(JSON.parse(answer.text).detail, reason)
      }
    }))

  it.effect("leaves out partitions unless they are asked for, and counts their rows for their table", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE logs (at int) PARTITION BY RANGE (at)",
        "CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM (10) TO (20) PARTITION BY LIST (at)",
        "CREATE TABLE logs_2_10 PARTITION OF logs_2 FOR VALUES IN (10)",
        "INSERT INTO logs SELECT generate_series(1, 10)",
        "ANALYZE logs_1",
        "ANALYZE logs_2_10"
      )
      assert.deepInclude(yield* one("logs"), { kind: "partitioned_table", estimated_rows: 10, watchable: true })
      assert.deepStrictEqual(yield* named("logs_1"), [])
      const [part] = yield* named("logs_1", { partitions: "true" })
      assert.deepInclude(part, { kind: "table", estimated_rows: 9, watchable: true })
      const [branch] = yield* named("logs_2", { partitions: "true" })
      assert.deepInclude(branch, { kind: "partitioned_table", estimated_rows: 1 })
    }))

  it.effect("names the role that a table belongs to when that is not ours", () =>
    Effect.gen(function*() {
      const role = `limited_${randomBytes(4).toString("hex")}`
      const sql = yield* connect()
      yield* Effect.acquireRelease(
        sql.unsafe(`CREATE ROLE ${role}`),
        () => Effect.orDie(Effect.andThen(sql`RESET ROLE`, run(`DROP OWNED BY ${role}`, `DROP ROLE ${role}`)))
      )
      yield* run("CREATE TABLE foreign_one (id int)", "CREATE TABLE own_one (id int)")
      yield* run(`ALTER TABLE own_one OWNER TO ${role}`)
      yield* sql.unsafe(`SET ROLE ${role}`)
      const context = yield* Layer.build(Layer.provide(Tables.layer, Layer.succeed(PgClient.PgClient, sql)))
      const { data } = yield* Context.get(context, Tables).list({ limit: 500 })
      const reasonOf = (name: string) => data.find(({ table_name }) => table_name === name)!.reason
      assert.isNull(reasonOf("own_one"))
      assert.match(reasonOf("foreign_one")!, /^foreign_one belongs to the role .+: adding and dropping triggers needs/)
    }))

  it.effect("comes in pages by schema and name, without the system's tables and the service's own", () =>
    Effect.gen(function*() {
      yield* run(
        `CREATE SCHEMA "Über"`,
        `CREATE TABLE "Über"."ключ" (n int)`,
        "CREATE SCHEMA many",
        "DO $$ BEGIN FOR i IN 1..1200 LOOP EXECUTE format('CREATE TABLE many.t%s (n int)', i); END LOOP; END $$"
      )
      const names: Array<readonly [string, string]> = []
      let cursor: string | null = null
      do {
        const page: TableList = yield* tables({ limit: "500", ...(cursor === null ? {} : { cursor }) })
        for (const { table_name, table_schema } of page.data) names.push([table_schema, table_name])
        cursor = page.next_cursor
      } while (cursor !== null)
      assert.strictEqual(new Set(names.map(String)).size, names.length)
      assert.strictEqual(names.filter(([schema]) => schema === "many").length, 1200)
      assert.deepStrictEqual(names.at(-1), ["Über", "ключ"])
      const schemas = new Set(names.map(([schema]) => schema))
      assert.deepStrictEqual([...schemas], ["many", "public", "Über"])
      assert.strictEqual((yield* tables()).data.length, 50)
    }))

  it.effect("is refused for parameters that do not fit", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      for (const query of ["limit=0", "limit=x", "cursor=nonsense", "cursor=", "partitions=2"]) {
        const answer = yield* service.ask("GET", `/tables?${query}`)
        assert.strictEqual(answer.status, 400, query)
        assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
        assert.strictEqual(JSON.parse(answer.text).errors[0].path, query.split("=")[0])
      }
    }))
})
