import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Result } from "effect"
import type { TableNotWatchable } from "../../src/domain/Errors.ts"
import { defaults, type WebhookCreate } from "../../src/domain/Webhook.ts"
import { Capture } from "../../src/services/Capture.ts"
import { Partitions } from "../../src/services/Partitions.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { TestDatabase } from "../support/Database.ts"
import type { DeliveryBody } from "../support/Receiver.ts"
import { Application, connect, layerInstalled, run, until } from "../support/RunningService.ts"

const input = (table: string, more?: Partial<WebhookCreate>): WebhookCreate => ({
  ...defaults,
  name: table,
  table_name: table,
  events: ["INSERT", "UPDATE", "DELETE", "TRUNCATE"],
  url: "http://127.0.0.1:1/",
  concurrency: 1,
  timeout_ms: 1000,
  max_attempts: 1,
  ...more
})

/** Runs statements in one transaction of the application. */
const inTransaction = Effect.fnUntraced(function*(...statements: ReadonlyArray<string>) {
  const sql = yield* Application
  yield* sql.withTransaction(Effect.forEach(statements, (statement) => sql.unsafe(statement)))
})

const watch = (table: string, more?: Partial<WebhookCreate>) =>
  Effect.flatMap(Webhooks, (webhooks) => webhooks.create(input(table, more)))

/** The bodies that were captured for a table, in order, as they will be sent. */
const texts = Effect.fnUntraced(function*(table: string, schema = "public") {
  const sql = yield* PgClient.PgClient
  const rows = yield* sql<{ body: string; event_type: string }>`
    SELECT e.body, e.event_type::text FROM truss.events e JOIN truss.tables t ON t.id = e.table_id
    WHERE t.table_schema = ${schema} AND t.table_name = ${table} ORDER BY e.seq`
  for (const row of rows) assert.strictEqual(row.event_type, JSON.parse(row.body).event)
  return rows.map((row) => row.body)
})

const bodies = (table: string, schema?: string) =>
  Effect.map(texts(table, schema), (all) => all.map((text): DeliveryBody => JSON.parse(text)))

/** `INSERT 1`, `UPDATE 1>2`, `DELETE 2`, by one column. */
const brief = (table: string, column = "id") =>
  Effect.map(bodies(table), (all) =>
    all.map(({ event, old_row, row }) => {
      const values = [old_row, row].flatMap((of) => of === null ? [] : [String(of[column])])
      return [event, values.join(">")].filter((part) => part !== "").join(" ")
    }))

/** The triggers of ours that stand on a table, or on all whose names begin so. */
const triggers = Effect.fnUntraced(function*(table: string, match: "is" | "begins" = "is") {
  const sql = yield* PgClient.PgClient
  const rows = yield* sql<{ name: string; relation: string; version: string; row: boolean }>`
    SELECT g.tgname::text AS name, g.tgrelid::regclass::text AS relation, g.oid || ' ' || g.xmin AS version,
      (g.tgtype & 1) = 1 AS row
    FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
    WHERE starts_with(g.tgname::text, '00_truss_')
      AND (c.relname = ${table} OR ${match === "begins"} AND starts_with(c.relname::text, ${table})) ORDER BY 2, 1`
  return rows
})

/** The function that captures INSERT of a table. */
const functionOf = Effect.fnUntraced(function*(table: string) {
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql<{ name: string }>`SELECT tgfoid::regproc::text AS name FROM pg_trigger
    WHERE tgrelid = ${`public.${table}`}::regclass AND starts_with(tgname::text, '00_truss_insert_')`
  return row!.name
})

const reconcile = Effect.flatMap(Capture, (capture) => capture.reconcile)

const serverVersion = Effect.map(
  Effect.flatMap(
    PgClient.PgClient,
    (sql) => sql<{ version: number }>`SELECT current_setting('server_version_num')::int AS version`
  ),
  (rows) => rows[0]!.version
)

const refusal = (table: string, schema?: string) =>
  Effect.map(
    Effect.flip(watch(table, schema === undefined ? {} : { table_schema: schema })),
    (error) => (error as TableNotWatchable).reason
  )

it.layer(layerInstalled(), { excludeTestServices: true })("capture", (it) => {
  it.effect("writes INSERT, UPDATE with both rows, DELETE and TRUNCATE in the contract's order of keys", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE basic (id int PRIMARY KEY, note text)")
      yield* watch("basic")
      yield* run(
        "INSERT INTO basic VALUES (1, 'a \"quote\" \\ and ünï🎉')",
        "UPDATE basic SET note = NULL",
        "DELETE FROM basic",
        "TRUNCATE basic"
      )
      const time = /"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"}$/
      const all = yield* texts("basic")
      for (const text of all) {
        assert.match(text, time)
        assert.isBelow(Math.abs(Date.parse(JSON.parse(text).timestamp) - Date.now()), 60_000)
      }
      assert.deepStrictEqual(all.map((text) => text.replace(time, "}")), [
        `{"event":"INSERT","schema":"public","table":"basic","row":{"id":1,"note":"a \\"quote\\" \\\\ and ünï🎉"},"old_row":null,}`,
        `{"event":"UPDATE","schema":"public","table":"basic","row":{"id":1,"note":null},"old_row":{"id":1,"note":"a \\"quote\\" \\\\ and ünï🎉"},}`,
        `{"event":"DELETE","schema":"public","table":"basic","row":null,"old_row":{"id":1,"note":null},}`,
        `{"event":"TRUNCATE","schema":"public","table":"basic","row":null,"old_row":null,}`
      ])
    }))

  it.effect("makes an event of each row of a statement, in its order", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE many (id int)")
      yield* watch("many")
      yield* run(
        "INSERT INTO many SELECT generate_series(1, 300)",
        "UPDATE many SET id = id + 1000 WHERE id <= 3",
        "DELETE FROM many WHERE id > 1000"
      )
      assert.deepStrictEqual(yield* brief("many"), [
        ...Array.from({ length: 300 }, (_, i) => `INSERT ${i + 1}`),
        "UPDATE 1>1001",
        "UPDATE 2>1002",
        "UPDATE 3>1003",
        "DELETE 1001",
        "DELETE 1002",
        "DELETE 1003"
      ])
    }))

  it.effect("sees COPY, ON CONFLICT and MERGE", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE upserted (id int PRIMARY KEY, n int)")
      yield* watch("upserted")
      yield* run(
        "COPY upserted FROM PROGRAM 'printf \"1\\\\t10\\\\n2\\\\t20\\\\n\"'",
        "INSERT INTO upserted VALUES (2, 21), (3, 30) ON CONFLICT (id) DO UPDATE SET n = excluded.n",
        "INSERT INTO upserted VALUES (2, 22), (4, 40) ON CONFLICT (id) DO NOTHING",
        "INSERT INTO upserted VALUES (2, 22) ON CONFLICT (id) DO UPDATE SET n = 0 WHERE false"
      )
      const changes = (yield* bodies("upserted")).map(({ event, old_row, row }) => [event, old_row?.["n"], row?.["n"]])
      assert.sameDeepMembers(changes, [
        ["INSERT", undefined, 10],
        ["INSERT", undefined, 20],
        ["INSERT", undefined, 30],
        ["UPDATE", 20, 21],
        ["INSERT", undefined, 40]
      ])
      if ((yield* serverVersion) < 150000) return
      yield* run(
        `MERGE INTO upserted u USING (VALUES (1, 11), (2, 0), (5, 50)) v (id, n) ON u.id = v.id
        WHEN MATCHED AND v.n = 0 THEN DELETE
        WHEN MATCHED THEN UPDATE SET n = v.n
        WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.n)`
      )
      assert.sameDeepMembers(
        (yield* bodies("upserted")).slice(changes.length).map(({ event, old_row, row }) => [
          event,
          old_row?.["n"],
          row?.["n"]
        ]),
        [["UPDATE", 10, 11], ["DELETE", 21, undefined], ["INSERT", undefined, 50]]
      )
    }))

  it.effect("asks only for the kinds of change that some webhook of the table wants", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE wanted (id int)")
      yield* watch("wanted", { events: ["DELETE"] })
      yield* run("INSERT INTO wanted VALUES (1)", "UPDATE wanted SET id = 2", "DELETE FROM wanted", "TRUNCATE wanted")
      assert.deepStrictEqual(yield* brief("wanted"), ["DELETE 2"])
      assert.lengthOf(yield* triggers("wanted"), 1)
    }))

  it.effect("captures nothing of what was rolled back, to a savepoint or whole", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE undone (id int)")
      yield* watch("undone")
      yield* inTransaction(
        "INSERT INTO undone VALUES (1)",
        "SAVEPOINT a",
        "INSERT INTO undone VALUES (2)",
        "ROLLBACK TO SAVEPOINT a",
        "INSERT INTO undone VALUES (3)"
      )
      yield* Effect.flip(inTransaction("INSERT INTO undone VALUES (4)", "SELECT 1 / 0"))
      assert.deepStrictEqual(yield* brief("undone"), ["INSERT 1", "INSERT 3"])
    }))

  it.effect("makes no event of a statement that changes nothing", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE still (id int)", "INSERT INTO still VALUES (1)")
      yield* watch("still")
      yield* run(
        "UPDATE still SET id = 2 WHERE false",
        "DELETE FROM still WHERE id = 5",
        "INSERT INTO still SELECT 1 WHERE false"
      )
      assert.deepStrictEqual(yield* brief("still"), [])
    }))

  it.effect("sees TRUNCATE of several tables and by CASCADE", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE emptied (id int PRIMARY KEY)",
        "CREATE TABLE emptied_too (id int REFERENCES emptied)",
        "CREATE TABLE emptied_three (id int)"
      )
      yield* watch("emptied_too", { events: ["TRUNCATE"] })
      yield* run("TRUNCATE emptied CASCADE", "TRUNCATE emptied_three, emptied_too")
      assert.deepStrictEqual(yield* brief("emptied_too"), ["TRUNCATE", "TRUNCATE"])
    }))
})

it.layer(layerInstalled(), { excludeTestServices: true })("capture of table families", (it) => {
  it.effect("sees a partitioned table's writes through the root and straight to a partition, and moves as UPDATE", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE parted (id int, part int) PARTITION BY LIST (part)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1)",
        "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2) PARTITION BY LIST (id)",
        "CREATE TABLE parted_2_rest PARTITION OF parted_2 DEFAULT"
      )
      yield* watch("parted")
      yield* run(
        "INSERT INTO parted VALUES (1, 1), (2, 2)",
        "INSERT INTO parted_1 VALUES (3, 1)",
        "INSERT INTO parted_2 VALUES (4, 2)",
        "INSERT INTO parted_2_rest VALUES (5, 2)",
        "UPDATE parted SET part = 2 WHERE id = 1",
        "UPDATE parted_1 SET id = 30",
        "DELETE FROM parted_2_rest WHERE id = 5",
        "DELETE FROM parted WHERE id = 30",
        "TRUNCATE parted"
      )
      assert.deepStrictEqual(yield* brief("parted"), [
        "INSERT 1",
        "INSERT 2",
        "INSERT 3",
        "INSERT 4",
        "INSERT 5",
        "UPDATE 1>1",
        "UPDATE 3>30",
        "DELETE 5",
        "DELETE 30",
        "TRUNCATE"
      ])
      const all = yield* bodies("parted")
      for (const { table } of all) assert.strictEqual(table, "parted")
      assert.deepStrictEqual(all[5]!.old_row, { id: 1, part: 1 })
      assert.deepStrictEqual(all[5]!.row, { id: 1, part: 2 })
    }))

  it.effect("takes in a partition that was attached later and lets go of one that was detached", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE growing (id int) PARTITION BY LIST (id)",
        "CREATE TABLE growing_1 PARTITION OF growing FOR VALUES IN (1)"
      )
      yield* watch("growing")
      yield* run(
        "CREATE TABLE growing_2 (id int)",
        "ALTER TABLE growing ATTACH PARTITION growing_2 FOR VALUES IN (2)",
        "CREATE TABLE growing_3 PARTITION OF growing FOR VALUES IN (3)"
      )
      yield* reconcile
      yield* run(
        "INSERT INTO growing VALUES (1), (2), (3)",
        "DELETE FROM growing_2",
        "DELETE FROM growing_3",
        "ALTER TABLE growing DETACH PARTITION growing_1"
      )
      yield* reconcile
      yield* run("DELETE FROM growing_1")
      assert.deepStrictEqual(yield* brief("growing"), ["INSERT 1", "INSERT 2", "INSERT 3", "DELETE 2", "DELETE 3"])
      assert.deepStrictEqual(yield* triggers("growing_1"), [])
    }))

  it.effect("makes one event of a TRUNCATE, and none of one that leaves other partitions as they are", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE cut (id int) PARTITION BY LIST (id)",
        "CREATE TABLE cut_1 PARTITION OF cut FOR VALUES IN (1)",
        "CREATE TABLE cut_2 PARTITION OF cut FOR VALUES IN (2)"
      )
      yield* watch("cut")
      yield* run("TRUNCATE cut_1")
      assert.deepStrictEqual(yield* brief("cut"), [])
      yield* run("TRUNCATE cut")
      assert.deepStrictEqual(yield* brief("cut"), ["TRUNCATE"])
    }))

  it.effect("watches a partition by itself, written to through its root too", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE whole (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE whole_low PARTITION OF whole FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE whole_high PARTITION OF whole FOR VALUES FROM (10) TO (20)"
      )
      yield* watch("whole_low")
      yield* watch("whole")
      yield* run(
        "INSERT INTO whole VALUES (1), (11)",
        "INSERT INTO whole_low VALUES (2)",
        "UPDATE whole SET id = 3 WHERE id = 2",
        "UPDATE whole SET id = 12 WHERE id = 3",
        "DELETE FROM whole"
      )
      assert.deepStrictEqual(yield* brief("whole_low"), ["INSERT 1", "INSERT 2", "UPDATE 2>3", "DELETE 3", "DELETE 1"])
      assert.sameMembers(yield* brief("whole"), [
        "INSERT 1",
        "INSERT 11",
        "INSERT 2",
        "UPDATE 2>3",
        "UPDATE 3>12",
        "DELETE 1",
        "DELETE 11",
        "DELETE 12"
      ])
    }))

  it.effect("sees inheriting children, through the parent and straight", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE parent (id int)",
        "CREATE TABLE child (extra text) INHERITS (parent)",
        "CREATE TABLE grandchild () INHERITS (child)"
      )
      yield* watch("parent")
      yield* run(
        "INSERT INTO parent VALUES (1)",
        "INSERT INTO child VALUES (2, 'x')",
        "INSERT INTO grandchild VALUES (3, 'y')",
        "UPDATE parent SET id = id + 10",
        "DELETE FROM child WHERE id = 12",
        "DELETE FROM parent"
      )
      const all = yield* brief("parent")
      assert.deepStrictEqual(all.slice(0, 3), ["INSERT 1", "INSERT 2", "INSERT 3"])
      assert.sameMembers(all.slice(3), [
        "UPDATE 1>11",
        "UPDATE 2>12",
        "UPDATE 3>13",
        "DELETE 12",
        "DELETE 11",
        "DELETE 13"
      ])
    }))

  it.effect("turns to row triggers on a partitioned table whose users add triggers, and back", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE turning (id int) PARTITION BY LIST (id)",
        "CREATE TABLE turning_1 PARTITION OF turning FOR VALUES IN (1)",
        "CREATE TABLE turning_2 PARTITION OF turning FOR VALUES IN (2)"
      )
      yield* watch("turning")
      yield* run(
        `CREATE FUNCTION turning_fn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$`,
        "CREATE TRIGGER theirs AFTER INSERT ON turning FOR EACH ROW EXECUTE FUNCTION turning_fn()"
      )
      yield* reconcile
      assert.isTrue(
        (yield* triggers("turning", "begins")).filter(({ name }) => !name.includes("truncate")).every(({ row }) => row)
      )
      yield* run("INSERT INTO turning VALUES (1)", "INSERT INTO turning_2 VALUES (2)", "DELETE FROM turning_1")
      yield* run("DROP TRIGGER theirs ON turning")
      yield* reconcile
      assert.isTrue((yield* triggers("turning", "begins")).every(({ row }) => !row))
      yield* run("INSERT INTO turning VALUES (1)", "DELETE FROM turning_2")
      assert.deepStrictEqual(yield* brief("turning"), ["INSERT 1", "INSERT 2", "DELETE 1", "INSERT 1", "DELETE 2"])
    }))

  it.effect("fails no write when a foreign table becomes a partition of a watched table", () =>
    Effect.gen(function*() {
      const { hostname, password, pathname, port, username } = new URL((yield* TestDatabase).url)
      yield* run(
        "CREATE TABLE spread (id int, v text) PARTITION BY LIST (id)",
        "CREATE TABLE spread_1 PARTITION OF spread FOR VALUES IN (1)",
        "CREATE TABLE elsewhere (id int, v text)"
      )
      yield* watch("spread")
      yield* run(
        "CREATE EXTENSION postgres_fdw",
        `CREATE SERVER itself FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '${hostname}', port '${port}', dbname '${
          pathname.slice(1)
        }')`,
        `CREATE USER MAPPING FOR CURRENT_USER SERVER itself OPTIONS (user '${username}', password '${password}')`,
        "CREATE FOREIGN TABLE spread_2 PARTITION OF spread FOR VALUES IN (2) SERVER itself OPTIONS (table_name 'elsewhere')"
      )
      yield* reconcile
      yield* run("INSERT INTO spread VALUES (1), (2)", "UPDATE spread SET v = 'x'", "DELETE FROM spread_2")
      assert.deepStrictEqual(yield* brief("spread"), ["INSERT 1", "INSERT 2", "UPDATE 1>1", "UPDATE 2>2", "DELETE 2"])
    }))
})

it.layer(layerInstalled(), { excludeTestServices: true })("captured values", (it) => {
  it.effect("come from tables without a key, without columns, with quoted and unicode names", () =>
    Effect.gen(function*() {
      const schema = "sch\"ema. 🎉'x"
      const table = "T\"able. naïve 🚀'\\y $truss$"
      const names = ["n", "o", "t", "i", "at", "j", "r", "truss_new", "truss_old", "TG_ARGV", "row", "we\"ird 🦊'\\"]
      const quoted = (name: string) => `"${name.replaceAll("\"", "\"\"")}"`
      const full = `${quoted(schema)}.${quoted(table)}`
      yield* run(
        `CREATE SCHEMA ${quoted(schema)}`,
        `CREATE TABLE ${full} (${names.map((name) => `${quoted(name)} int`).join(", ")}, PRIMARY KEY (n, ${
          quoted("we\"ird 🦊'\\")
        }))`,
        "CREATE TABLE empty_handed ()"
      )
      yield* watch(table, { table_schema: schema })
      yield* watch("empty_handed")
      const values = names.map((_, i) => i)
      yield* run(
        `INSERT INTO ${full} VALUES (${values.join(", ")})`,
        `UPDATE ${full} SET n = 100`,
        `DELETE FROM ${full}`,
        "INSERT INTO empty_handed DEFAULT VALUES",
        "DELETE FROM empty_handed"
      )
      const before = Object.fromEntries(names.map((name, i) => [name, i]))
      const after = { ...before, n: 100 }
      assert.deepStrictEqual(
        (yield* bodies(table, schema)).map(({ event, old_row, row, schema, table }) => ({
          event,
          old_row,
          row,
          schema,
          table
        })),
        [
          { event: "INSERT", schema, table, row: before, old_row: null },
          { event: "UPDATE", schema, table, row: after, old_row: before },
          { event: "DELETE", schema, table, row: null, old_row: after }
        ]
      )
      assert.deepStrictEqual((yield* bodies("empty_handed")).map(({ old_row, row }) => [row, old_row]), [[{}, null], [
        null,
        {}
      ]])
      yield* reconcile
      assert.lengthOf(yield* triggers(table), 4)
    }))

  it.effect("hold 200 kB, and more than one message of the wire", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE wide (id int, a text, b text)")
      yield* watch("wide")
      yield* run(
        "INSERT INTO wide VALUES (1, repeat('0123456789', 10000), repeat('é', 50000))",
        "UPDATE wide SET id = 2"
      )
      const [inserted, updated] = yield* bodies("wide")
      assert.deepStrictEqual(inserted!.row, { id: 1, a: "0123456789".repeat(10_000), b: "é".repeat(50_000) })
      assert.deepStrictEqual(updated!.old_row, inserted!.row)
      assert.deepStrictEqual(updated!.row, { ...inserted!.row, id: 2 })
    }))

  it.effect("are digit for digit the same, whatever the writer's session is set to", () =>
    Effect.gen(function*() {
      const columns = [
        ["big", "bigint", "9223372036854775807", "9223372036854775807"],
        ["num", "numeric", "'12345678901234567890.12345678901234567000'", "12345678901234567890.12345678901234567000"],
        ["nan", "numeric", "'NaN'", "\"NaN\""],
        ["flt", "float8", "0.1::float8 + 0.2::float8", "0.30000000000000004"],
        ["inf", "float8", "'-Infinity'", "\"-Infinity\""],
        ["sml", "float4", "1.1", "1.1"],
        ["jb", "jsonb", `'{"b": 1.50, "a": [9007199254740993]}'`, `{"a": [9007199254740993], "b": 1.50}`],
        ["js", "json", `'{"b":1.50, "b":2}'`, `{"b":1.50, "b":2}`],
        ["byt", "bytea", "'\\x00ff5c'", "\"\\\\x00ff5c\""],
        ["arr", "int[]", "'{{1,NULL},{3,4}}'", "[[1,null],[3,4]]"],
        ["txs", "text[]", "ARRAY['a,b', 'c\"d', NULL]", "[\"a,b\",\"c\\\"d\",null]"],
        ["ts", "timestamp", "'2025-03-04 05:06:07.123456'", "\"2025-03-04T05:06:07.123456\""],
        ["tz", "timestamptz", "'2025-03-04 05:06:07.1+00'", "\"2025-03-04T05:06:07.1+00:00\""],
        ["old", "timestamptz", "'0044-03-15 12:00:00+00 BC'", "\"0044-03-15T12:00:00+00:00 BC\""],
        ["dat", "date", "'2025-03-04'", "\"2025-03-04\""],
        ["tim", "timetz", "'05:06:07+02'", "\"05:06:07+02\""],
        ["ivl", "interval", "'1 year -2 days 03:04:05.6'", "\"1 year -2 days +03:04:05.6\""],
        ["rng", "tstzrange", "'[2025-03-04 05:00+00,)'", "\"[\\\"2025-03-04 05:00:00+00\\\",)\""],
        ["tsr", "tsrange", "'[2025-03-04 05:00,)'", "\"[\\\"2025-03-04 05:00:00\\\",)\""],
        ["fra", "float8[]", "ARRAY[0.1::float8 + 0.2::float8]", "[0.30000000000000004]"],
        ["pnt", "point", "point(0.1::float8 + 0.2::float8, 1)", "\"(0.30000000000000004,1)\""],
        ["uid", "uuid", "'00000000-0000-0000-0000-00000000000A'", "\"00000000-0000-0000-0000-00000000000a\""],
        ["net", "inet", "'10.0.0.1/8'", "\"10.0.0.1/8\""],
        ["bit", "varbit", "B'0101'", "\"0101\""],
        ["dom", "span", "'1 day 02:00'", "\"1 day 02:00:00\""],
        ["cmp", "pair", "ROW('1 day', '\\x00')", "{\"a\":\"1 day\",\"b\":\"\\\\x00\"}"],
        ["cms", "pair[]", "ARRAY[ROW('-1 day', '\\xff')::pair]", "[{\"a\":\"-1 days\",\"b\":\"\\\\xff\"}]"],
        ["mul", "tsmultirange", "'{[2025-03-04 05:00,)}'", "\"{[\\\"2025-03-04 05:00:00\\\",)}\""],
        ["emp", "text", "''", "\"\""],
        ["nul", "text", "NULL", "null"]
      ] as const
      yield* run("CREATE DOMAIN span AS interval", "CREATE TYPE pair AS (a interval, b bytea)")
      yield* run(`CREATE TABLE exact (${columns.map(([name, type]) => `${name} ${type}`).join(", ")})`)
      yield* watch("exact")
      const odd = yield* connect({
        startupParameters: {
          timezone: "America/St_Johns",
          datestyle: "SQL, DMY",
          intervalstyle: "sql_standard",
          bytea_output: "escape",
          extra_float_digits: "-15",
          standard_conforming_strings: "off",
          search_path: "pg_temp",
          array_nulls: "off",
          transform_null_equals: "on"
        }
      })
      const expected = `{${columns.map(([name, , , json]) => `"${name}":${json}`).join(",")}}`
      // The values themselves are computed by a session that reads them as they are written.
      yield* run(`CREATE TABLE source AS SELECT ${
        columns.map(([name, type, value]) => `(${value})::${type} AS ${name}`).join(", ")
      }`)
      yield* odd.unsafe("INSERT INTO public.exact SELECT * FROM public.source")
      yield* odd.unsafe("UPDATE public.exact SET emp = ''")
      yield* odd.unsafe("DELETE FROM public.exact")
      const [inserted, updated, deleted] = (yield* texts("exact")).map((text) =>
        text.replace(/,"timestamp".*/, "")
      )
      const head = (event: string) => `{"event":"${event}","schema":"public","table":"exact","row":`
      assert.strictEqual(inserted, `${head("INSERT")}${expected},"old_row":null`)
      assert.strictEqual(updated, `${head("UPDATE")}${expected},"old_row":${expected}`)
      assert.strictEqual(deleted, `${head("DELETE")}null,"old_row":${expected}`)
    }).pipe(Effect.scoped))

  it.effect("leave virtual generated columns out and keep stored ones", () =>
    Effect.gen(function*() {
      const virtual = (yield* serverVersion) >= 180000
      yield* run(
        "CREATE TABLE generated (id int PRIMARY KEY, stored int GENERATED ALWAYS AS (id * 2) STORED" +
          `${virtual ? ", \"virt\"\"ual\" int GENERATED ALWAYS AS (id * 3) VIRTUAL" : ""}, last text)`
      )
      yield* watch("generated")
      yield* run(
        "INSERT INTO generated VALUES (1)",
        "UPDATE generated SET id = 2, last = 'x'",
        "DELETE FROM generated"
      )
      assert.deepStrictEqual((yield* bodies("generated")).map(({ old_row, row }) => [row, old_row]), [
        [{ id: 1, stored: 2, last: null }, null],
        [{ id: 2, stored: 4, last: "x" }, { id: 1, stored: 2, last: null }],
        [null, { id: 2, stored: 4, last: "x" }]
      ])
    }))

  it.effect("pair old and new rows of an UPDATE by position, whatever happens to them", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE paired (id int PRIMARY KEY, tag int NOT NULL UNIQUE, n int NOT NULL DEFAULT 0)",
        "INSERT INTO paired SELECT i, (i * 7919) % 100003 FROM generate_series(1, 4000) i",
        // Skips some rows and changes others on their way.
        `CREATE FUNCTION paired_fn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF OLD.tag % 7 = 0 THEN RETURN NULL; END IF;
          NEW.n := NEW.n + 1; RETURN NEW; END $$`,
        "CREATE TRIGGER a BEFORE UPDATE ON paired FOR EACH ROW EXECUTE FUNCTION paired_fn()",
        "CREATE TABLE paired_child (id int PRIMARY KEY, parent int REFERENCES paired ON UPDATE CASCADE ON DELETE CASCADE, tag int)",
        "INSERT INTO paired_child SELECT id + 50000, id, tag FROM paired"
      )
      yield* watch("paired")
      yield* watch("paired_child")
      yield* run(
        "UPDATE paired SET n = n + 10",
        "UPDATE paired SET id = -id FROM (SELECT tag AS k FROM paired ORDER BY md5(tag::text)) s WHERE s.k = paired.tag",
        "INSERT INTO paired SELECT id, tag, n FROM paired ORDER BY md5(tag::text) ON CONFLICT (tag) DO UPDATE SET n = excluded.n * 2"
      )
      for (const table of ["paired", "paired_child"]) {
        const all = yield* bodies(table)
        assert.isAbove(all.length, 3000)
        for (const { event, old_row, row } of all) {
          assert.strictEqual(event, "UPDATE")
          if (row!["tag"] !== old_row!["tag"]) assert.fail(`${table}: ${JSON.stringify({ row, old_row })}`)
        }
      }
      assert.isEmpty((yield* bodies("paired")).filter(({ row }) => Number(row!["tag"]) % 7 === 0))
    }))
})

it.layer(layerInstalled({ maxPayload: 1000 }), { excludeTestServices: true })("bodies over the limit", (it) => {
  for (const rows of ["statement", "row"]) {
    it.effect(`are reduced to the key exactly beyond it, by ${rows} triggers`, () =>
      Effect.gen(function*() {
        const table = `limited_${rows}`
        yield* run(
          `CREATE TABLE ${table} (a int, data text, "B" text, PRIMARY KEY ("B", a))`,
          `CREATE TABLE ${table}_bare (data text)`
        )
        if (rows === "row") {
          yield* run("CREATE FUNCTION limited_fn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
          for (const name of [table, `${table}_bare`]) {
            yield* run(
              `CREATE TRIGGER z AFTER INSERT OR UPDATE OR DELETE ON ${name} FOR EACH ROW EXECUTE FUNCTION limited_fn()`
            )
          }
        }
        yield* watch(table)
        yield* watch(`${table}_bare`)
        const length = (body: string | undefined) => Buffer.byteLength(body ?? "")
        const last = Effect.map(texts(table), (all) => all.at(-1)!)

        yield* run(`INSERT INTO ${table} VALUES (1, '', 'é')`)
        const room = 1000 - length(yield* last)
        yield* run(`INSERT INTO ${table} VALUES (2, repeat('x', ${room}), 'é')`)
        assert.strictEqual(length(yield* last), 1000)
        assert.isUndefined(JSON.parse(yield* last).truncated)
        yield* run(`INSERT INTO ${table} VALUES (3, repeat('x', ${room + 1}), 'é')`)
        assert.match(yield* last, /,"timestamp":"[^"]+","truncated":true}$/)
        assert.deepInclude(JSON.parse(yield* last), { row: { a: 3, B: "é" }, old_row: null })

        yield* run(`DELETE FROM ${table} WHERE a = 3`)
        assert.deepInclude(JSON.parse(yield* last), { row: null, old_row: { a: 3, B: "é" }, truncated: true })
        yield* run(`INSERT INTO ${table} VALUES (4, repeat('x', ${room}), 'é')`, `DELETE FROM ${table} WHERE a = 4`)
        assert.strictEqual(length(yield* last), 1000)
        assert.isUndefined(JSON.parse(yield* last).truncated)

        yield* run(`INSERT INTO ${table} VALUES (7, '', 'é')`, `UPDATE ${table} SET a = 8 WHERE a = 7`)
        const gap = 1000 - length(yield* last)
        yield* run(`UPDATE ${table} SET data = repeat('x', ${gap}) WHERE a = 8`)
        assert.strictEqual(length(yield* last), 1000)
        yield* run(
          `UPDATE ${table} SET data = '' WHERE a = 8`,
          `UPDATE ${table} SET data = repeat('x', ${gap + 1}) WHERE a = 8`
        )
        assert.deepInclude(JSON.parse(yield* last), {
          row: { a: 8, B: "é" },
          old_row: { a: 8, B: "é" },
          truncated: true
        })

        yield* run(`INSERT INTO ${table}_bare VALUES (repeat('x', 1000))`)
        assert.deepInclude((yield* bodies(`${table}_bare`))[0], { row: {}, old_row: null, truncated: true })
      }))
  }
})

it.layer(layerInstalled(), { excludeTestServices: true })("writers", (it) => {
  it.effect("need no rights on the schema truss, and can read nothing of it", () =>
    Effect.gen(function*() {
      const sql = yield* Application
      const role = `writer_${Math.random().toString(36).slice(2)}`
      yield* run(
        "CREATE TABLE theirs (id int PRIMARY KEY, n int)",
        `CREATE ROLE "${role}"`,
        `GRANT ALL ON theirs TO "${role}"`
      )
      yield* Effect.addFinalizer(() => Effect.orDie(run(`DROP OWNED BY "${role}"`, `DROP ROLE "${role}"`)))
      yield* watch("theirs")
      const writer = yield* connect()
      yield* writer.unsafe(`SET ROLE "${role}"`)
      yield* writer.unsafe("INSERT INTO theirs VALUES (1, 1)")
      yield* writer.unsafe("UPDATE theirs SET n = 2")
      yield* writer.unsafe("DELETE FROM theirs")
      yield* writer.unsafe("TRUNCATE theirs")
      assert.deepStrictEqual(yield* brief("theirs"), ["INSERT 1", "UPDATE 1>1", "DELETE 1", "TRUNCATE"])

      const relations = yield* sql.unsafe<{ name: string }>(
        "SELECT c.oid::regclass::text AS name FROM pg_class c WHERE c.relnamespace = 'truss'::regnamespace AND c.relkind IN ('r', 'p')"
      )
      assert.isAbove(relations.length, 5)
      for (const { name } of relations) {
        assert.isTrue(Result.isFailure(yield* Effect.result(writer.unsafe(`SELECT * FROM ${name}`))), name)
      }
      for (const [call] of [["truss.only('{}', '{}')"], ["nextval('truss.event_seq')"], ["setval('truss.bell', 2)"]]) {
        assert.isTrue(Result.isFailure(yield* Effect.result(writer.unsafe(`SELECT ${call}`))), call)
      }
      // A temporary table or operator of theirs must not stand in for what the functions use.
      yield* writer.unsafe("CREATE TEMP TABLE pg_class (id int)")
      yield* writer.unsafe("INSERT INTO theirs VALUES (2, 2)")
      assert.strictEqual((yield* brief("theirs")).at(-1), "INSERT 2")
    }).pipe(Effect.scoped))

  it.effect("cannot use the capture functions on tables of their own", () =>
    Effect.gen(function*() {
      const role = `forger_${Math.random().toString(36).slice(2)}`
      yield* run(
        "CREATE TABLE forged (id int)",
        `CREATE ROLE "${role}"`,
        `GRANT CREATE, USAGE ON SCHEMA public TO "${role}"`
      )
      yield* Effect.addFinalizer(() => Effect.orDie(run(`DROP OWNED BY "${role}"`, `DROP ROLE "${role}"`)))
      yield* watch("forged")
      const forger = yield* connect()
      yield* forger.unsafe(`SET ROLE "${role}"`)
      yield* forger.unsafe("CREATE TABLE forgery (id int)")
      const error = yield* Effect.flip(forger.unsafe(
        "CREATE TRIGGER x AFTER INSERT ON forgery REFERENCING NEW TABLE AS truss_new FOR EACH STATEMENT " +
          `EXECUTE FUNCTION ${yield* functionOf("forged")}()`
      ))
      assert.strictEqual(error.reason._tag, "AuthorizationError")
    }).pipe(Effect.scoped))

  it.effect("never fail when columns come, go, change name or type, in sessions with cached plans", () =>
    Effect.gen(function*() {
      for (const rows of [false, true]) {
        const table = rows ? "shifting_row" : "shifting"
        yield* run(`CREATE TABLE ${table} (id int PRIMARY KEY, a text, b text)`)
        if (rows) {
          yield* run(
            "CREATE FUNCTION shifting_fn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
            `CREATE TRIGGER z AFTER INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION shifting_fn()`
          )
        }
        yield* watch(table)
        const session = yield* connect()
        let id = 0
        const write = Effect.gen(function*() {
          id++
          // More than five times, so that plans become generic.
          for (let i = 0; i < 7; i++) {
            yield* session.unsafe(`INSERT INTO ${table} (id) VALUES (${id})`)
            yield* session.unsafe(`UPDATE ${table} SET id = id WHERE id = ${id}`)
            yield* session.unsafe(`DELETE FROM ${table} WHERE id = ${id}`)
          }
          const all = (yield* bodies(table)).slice(-21)
          assert.lengthOf(all, 21)
          for (const { old_row, row } of all) assert.strictEqual((row ?? old_row)!["id"], id)
          return Object.keys(all[0]!.row!)
        })
        assert.deepStrictEqual(yield* write, ["id", "a", "b"])
        yield* run(`ALTER TABLE ${table} ADD COLUMN c int`)
        assert.deepStrictEqual(yield* write, ["id", "a", "b", "c"])
        yield* run(`ALTER TABLE ${table} DROP COLUMN a`)
        assert.deepStrictEqual(yield* write, ["id", "b", "c"])
        yield* run(`ALTER TABLE ${table} RENAME COLUMN b TO "B b"`)
        assert.deepStrictEqual(yield* write, ["id", "B b", "c"])
        yield* run(`ALTER TABLE ${table} ALTER COLUMN c TYPE jsonb USING to_jsonb(c)`)
        assert.deepStrictEqual(yield* write, ["id", "B b", "c"])
        yield* run(`ALTER TABLE ${table} DROP CONSTRAINT ${table}_pkey, ALTER COLUMN id TYPE bigint`)
        assert.deepStrictEqual(yield* write, ["id", "B b", "c"])
        yield* reconcile
        assert.deepStrictEqual(yield* write, ["id", "B b", "c"])
      }
    }).pipe(Effect.scoped))

  it.effect("never fail when the table is dropped and made again, and are captured again after that", () =>
    Effect.gen(function*() {
      const session = yield* connect()
      yield* run("CREATE TABLE phoenix (id int PRIMARY KEY)")
      const webhooks = yield* Webhooks
      const webhook = yield* watch("phoenix")
      const reason = Effect.map(webhooks.get(webhook.id), (now) => now.disabled_reason)
      yield* session.unsafe("INSERT INTO phoenix VALUES (1)")
      yield* run("DROP TABLE phoenix")
      yield* reconcile
      assert.strictEqual(yield* reason, "table_missing")
      assert.isTrue((yield* webhooks.get(webhook.id)).active)
      yield* run("CREATE TABLE phoenix (name text, id int)")
      yield* session.unsafe("INSERT INTO phoenix (id) VALUES (1)")
      yield* reconcile
      assert.isNull(yield* reason)
      yield* session.unsafe("INSERT INTO phoenix (id) VALUES (2)")
      assert.deepStrictEqual(yield* brief("phoenix"), ["INSERT 1", "INSERT 2"])
    }).pipe(Effect.scoped))

  it.effect("are captured in order where their own AFTER triggers change the same table", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE nested (id int PRIMARY KEY, n int)",
        `CREATE FUNCTION nested_fn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF NEW.n < 3 THEN UPDATE nested SET n = n + 1 WHERE id = NEW.id; END IF; RETURN NULL; END $$`,
        "CREATE TRIGGER a AFTER INSERT OR UPDATE ON nested FOR EACH ROW EXECUTE FUNCTION nested_fn()"
      )
      yield* watch("nested")
      yield* run("INSERT INTO nested VALUES (1, 0), (2, 2)")
      const of = (id: number) =>
        Effect.map(bodies("nested"), (all) =>
          all.filter(({ row }) =>
            row!["id"] === id
          ).map(({ event, old_row, row }) => [event, old_row?.["n"], row!["n"]]))
      assert.deepStrictEqual(yield* of(1), [
        ["INSERT", undefined, 0],
        ["UPDATE", 0, 1],
        ["UPDATE", 1, 2],
        ["UPDATE", 2, 3]
      ])
      assert.deepStrictEqual(yield* of(2), [["INSERT", undefined, 2], ["UPDATE", 2, 3]])
    }))

  it.effect("are captured in order where the trigger came after the webhook, or stands on another table", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE late (id int PRIMARY KEY, n int)",
        "CREATE TABLE late_child (id int REFERENCES late ON DELETE CASCADE)"
      )
      yield* watch("late")
      assert.isTrue((yield* triggers("late")).every(({ row }) => !row))
      yield* run(
        "CREATE FUNCTION late_fn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO late VALUES (OLD.id + 100, 0); RETURN NULL; END $$",
        "CREATE TRIGGER a AFTER DELETE ON late_child FOR EACH STATEMENT EXECUTE FUNCTION late_fn()"
      )
      yield* run(
        "CREATE OR REPLACE FUNCTION late_fn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO late VALUES (100, 0); RETURN NULL; END $$"
      )
      yield* reconcile
      yield* run("INSERT INTO late VALUES (1, 0)", "INSERT INTO late_child VALUES (1)", "DELETE FROM late")
      assert.deepStrictEqual(yield* brief("late"), ["INSERT 1", "DELETE 1", "INSERT 100"])
      yield* run("DROP TABLE late_child")
      yield* reconcile
      assert.isTrue((yield* triggers("late")).every(({ row }) => !row))
    }))

  it.effect("are captured parents first where the table cascades to itself", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree ON DELETE CASCADE)",
        "INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 1)"
      )
      yield* watch("tree")
      yield* run("DELETE FROM tree WHERE id = 1")
      const all = yield* brief("tree")
      assert.sameMembers(all, ["DELETE 1", "DELETE 2", "DELETE 3", "DELETE 4"])
      assert.strictEqual(all[0], "DELETE 1")
      assert.isBelow(all.indexOf("DELETE 2"), all.indexOf("DELETE 3"))
    }))

  it.effect("lose no event while partitions open", () =>
    Effect.gen(function*() {
      const partitions = yield* Partitions
      const sql = yield* Application
      yield* run("CREATE TABLE rotated (id int, n int)")
      yield* watch("rotated")
      const stop = yield* Deferred.make<void>()
      const writer = Effect.fnUntraced(function*(id: number) {
        let n = 0
        while (!(yield* Deferred.isDone(stop))) yield* sql`INSERT INTO rotated VALUES (${id}, ${n++})`
        return n
      })
      const writers = yield* Effect.forEach([1, 2, 3, 4, 5, 6], (id) => Effect.forkChild(writer(id)))
      for (let i = 0; i < 6; i++) {
        yield* partitions.open
        const before = (yield* texts("rotated")).length
        yield* until("more events", texts("rotated"), (all) => all.length > before + 20)
      }
      yield* Deferred.succeed(stop, undefined)
      const counts = yield* Effect.forEach(writers, Fiber.join)
      const all = yield* bodies("rotated")
      assert.strictEqual(all.length, counts.reduce((a, b) => a + b))
      const slots = yield* sql.unsafe<{ slots: number }>(
        "SELECT count(DISTINCT slot)::int AS slots FROM truss.events e JOIN truss.tables t ON t.id = e.table_id WHERE t.table_name = 'rotated'"
      )
      assert.isAtLeast(slots[0]!.slots, 6)
    }))
})

it.layer(layerInstalled(), { excludeTestServices: true })("triggers", (it) => {
  it.effect("stand only on tables that can be watched; others are refused with the reason", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE VIEW a_view AS SELECT 1 AS id",
        "CREATE MATERIALIZED VIEW a_matview AS SELECT 1 AS id",
        "CREATE FOREIGN DATA WRAPPER nothing",
        "CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing",
        "CREATE FOREIGN TABLE a_foreign (id int) SERVER nowhere",
        "CREATE SEQUENCE a_sequence",
        "CREATE TYPE a_type AS (id int)",
        "CREATE TABLE half_foreign (id int) PARTITION BY LIST (id)",
        "CREATE FOREIGN TABLE half_foreign_1 PARTITION OF half_foreign FOR VALUES IN (1) SERVER nowhere"
      )
      const temporary = yield* connect()
      yield* temporary.unsafe("CREATE TEMP TABLE a_temp (id int)")
      const [temp] = yield* temporary.unsafe<{ schema: string }>(
        "SELECT nspname::text AS schema FROM pg_namespace WHERE oid = pg_my_temp_schema()"
      )
      assert.strictEqual(yield* refusal("nothing_at_all"), "not_found")
      assert.strictEqual(yield* refusal("a_view", "no_such_schema"), "not_found")
      assert.strictEqual(yield* refusal("A_VIEW"), "not_found")
      for (const name of ["a_view", "a_matview", "a_foreign", "a_sequence", "a_type"]) {
        assert.strictEqual(yield* refusal(name), "not_a_table", name)
      }
      assert.strictEqual(yield* refusal("half_foreign"), "foreign_partition")
      assert.strictEqual(yield* refusal("pg_class", "pg_catalog"), "system_table")
      assert.strictEqual(yield* refusal("sql_features", "information_schema"), "system_table")
      assert.strictEqual(yield* refusal("a_temp", temp!.schema), "system_table")
      for (const own of ["events", "webhooks", "attempts", "due"]) {
        assert.strictEqual(yield* refusal(own, "truss"), "own_table")
      }
      const sql = yield* PgClient.PgClient
      assert.deepStrictEqual(yield* sql`SELECT FROM truss.webhooks`, [])
      assert.deepStrictEqual(yield* sql`SELECT FROM truss.tables`, [])
    }).pipe(Effect.scoped))

  it.effect("are taken back with the rest of a transaction that ends early", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE kept (id int)")
      yield* watch("kept")
      const before = yield* triggers("kept")
      yield* Effect.flip(watch("kept", { table_name: "not_there" }))
      assert.deepStrictEqual(yield* triggers("kept"), before)
    }))

  it.effect("wait for a locked table in short turns, give up after 3 s with nothing changed, and hold no writer up", () =>
    Effect.gen(function*() {
      const sql = yield* Application
      yield* run("CREATE TABLE busy (id int)")
      const inside = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const holder = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`INSERT INTO busy VALUES (0)`
        yield* Deferred.succeed(inside, undefined)
        yield* Deferred.await(release)
      })).pipe(Effect.forkChild)
      yield* Deferred.await(inside)

      const started = performance.now()
      const creating = yield* Effect.forkChild(Effect.flip(watch("busy")))
      const waits: Array<number> = []
      while (creating.pollUnsafe() === undefined) {
        const before = performance.now()
        yield* sql`INSERT INTO busy VALUES (1)`
        waits.push(performance.now() - before)
      }
      const error = yield* Fiber.join(creating)
      assert.strictEqual(error._tag, "TableLocked")
      assert.isAbove(performance.now() - started, 2_900)
      assert.isBelow(performance.now() - started, 6_000)
      // A hundred milliseconds behind us, and what a busy machine adds; without a limit it would be three seconds.
      assert.isBelow(waits.toSorted((a, b) => a - b)[Math.floor(waits.length * 0.9)]!, 250)
      assert.isBelow(Math.max(...waits), 1_000)
      assert.isAbove(Math.max(...waits), 50)
      assert.deepStrictEqual(yield* triggers("busy"), [])
      assert.deepStrictEqual(yield* sql`SELECT FROM truss.webhooks WHERE name = 'busy'`, [])

      const again = yield* Effect.forkChild(watch("busy"))
      yield* until(
        "the second attempt waits",
        sql`SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'CREATE OR REPLACE TRIGGER%'
          AND datname = current_database()`,
        (rows) => rows.length > 0
      )
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(holder)
      yield* Fiber.join(again)
      assert.lengthOf(yield* triggers("busy"), 4)
    }))

  it.effect("stay while any webhook of the table is there, paused ones too, and go with the last", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      yield* run("CREATE TABLE shared (id int)")
      const first = yield* watch("shared", { events: ["INSERT", "UPDATE"] })
      const second = yield* watch("shared", { events: ["INSERT", "DELETE"], active: false })
      const names = Effect.map(triggers("shared"), (all) => all.map(({ name }) => name.split("_")[2]))
      assert.deepStrictEqual(yield* names, ["delete", "insert", "update"])
      yield* webhooks.remove(first.id)
      assert.deepStrictEqual(yield* names, ["delete", "insert"])
      yield* webhooks.patch(second.id, { events: ["TRUNCATE"] })
      assert.deepStrictEqual(yield* names, ["truncate"])
      yield* webhooks.remove(second.id)
      assert.deepStrictEqual(yield* names, [])
      const left = yield* Effect.flatMap(
        Application,
        (sql) => sql`SELECT tgname FROM pg_trigger WHERE tgrelid = 'shared'::regclass`
      )
      assert.deepStrictEqual(left, [])
    }))

  it.effect("are not touched when they are right, and mended when they are not", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE mended (id int)", "CREATE TABLE mended_child () INHERITS (mended)")
      yield* watch("mended")
      const right = yield* triggers("mended", "begins")
      assert.lengthOf(right, 7)
      yield* reconcile
      yield* watch("mended")
      assert.deepStrictEqual(yield* triggers("mended", "begins"), right)

      const name = right.find((trigger) => trigger.name.includes("insert"))!.name
      const update = right.find((trigger) => trigger.name.includes("update"))!.name
      yield* run(
        `DROP TRIGGER "${name}" ON mended`,
        `ALTER TABLE mended DISABLE TRIGGER "${update}"`,
        `ALTER TABLE mended_child ENABLE REPLICA TRIGGER "${update}"`
      )
      yield* reconcile
      yield* run(
        "INSERT INTO mended VALUES (1)",
        "UPDATE mended SET id = 2",
        "INSERT INTO mended_child VALUES (3)",
        "UPDATE mended_child SET id = 4"
      )
      assert.deepStrictEqual(yield* brief("mended"), ["INSERT 1", "UPDATE 1>2", "INSERT 3", "UPDATE 3>4"])

      // A dump that is restored brings triggers of webhooks that are gone.
      yield* run(
        "CREATE TRIGGER \"00_truss_insert_999999\" AFTER INSERT ON mended REFERENCING NEW TABLE AS truss_new " +
          `FOR EACH STATEMENT EXECUTE FUNCTION ${yield* functionOf("mended")}()`
      )
      yield* reconcile
      assert.isEmpty((yield* triggers("mended")).filter(({ name }) => name.includes("999999")))
    }))

  it.effect("follow a change of the primary key and a table that was moved away", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      yield* run("CREATE TABLE renamed (id int)")
      const webhook = yield* watch("renamed")
      yield* run("ALTER TABLE renamed RENAME TO renamed_away")
      yield* reconcile
      assert.strictEqual((yield* webhooks.get(webhook.id)).disabled_reason, "table_missing")
      yield* run("CREATE TABLE renamed (id int)")
      yield* reconcile
      yield* run("INSERT INTO renamed VALUES (1)", "INSERT INTO renamed_away VALUES (2)")
      assert.deepStrictEqual(yield* brief("renamed"), ["INSERT 1"])
      assert.deepStrictEqual(yield* triggers("renamed_away"), [])
    }))
})

it.layer(layerInstalled(), { excludeTestServices: true })("a service without superuser's rights", (it) => {
  it.effect("watches its role's tables and refuses those of others", () =>
    Effect.gen(function*() {
      const sql = yield* Application
      const role = `service_${Math.random().toString(36).slice(2)}`
      yield* run(
        `CREATE ROLE "${role}"`,
        `GRANT ALL ON SCHEMA public, truss TO "${role}"`,
        `GRANT ALL ON ALL TABLES IN SCHEMA truss TO "${role}"`,
        "CREATE TABLE not_ours (id int)",
        `GRANT ALL ON not_ours TO "${role}"`,
        "CREATE TABLE ours_partly (id int) PARTITION BY LIST (id)",
        "CREATE TABLE ours_partly_1 PARTITION OF ours_partly FOR VALUES IN (1)",
        `ALTER TABLE ours_partly OWNER TO "${role}"`
      )
      yield* Effect.addFinalizer(() => Effect.orDie(run(`DROP OWNED BY "${role}"`, `DROP ROLE "${role}"`)))
      const service = yield* connect()
      yield* service.unsafe(`SET ROLE "${role}"`)
      const refused = yield* Effect.gen(function*() {
        const context = yield* Layer.build(
          Layer.fresh(Webhooks.layer).pipe(
            Layer.provide(Layer.fresh(Capture.layer({ maxPayload: 1000 }))),
            Layer.provide(Layer.succeed(PgClient.PgClient, service))
          )
        )
        const webhooks = yield* Effect.provideContext(Webhooks, context)
        return yield* Effect.forEach(
          ["not_ours", "ours_partly"],
          (table) => Effect.flip(webhooks.create(input(table)))
        )
      })
      for (const error of refused) {
        assert.strictEqual(error._tag, "TableNotWatchable")
        assert.strictEqual((error as TableNotWatchable).reason, "not_owner")
      }
      assert.include((refused[0] as TableNotWatchable).detail, "not_ours")
      assert.include((refused[1] as TableNotWatchable).detail, "ours_partly_1")
      assert.deepStrictEqual(yield* sql`SELECT FROM truss.webhooks`, [])
    }).pipe(Effect.scoped))
})
