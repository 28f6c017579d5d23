import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Effect, Logger, References } from "effect"
import type { FilterCondition, FilterOp } from "../../src/domain/Filter.ts"
import { defaults, type WebhookCreate, type WebhookPatch } from "../../src/domain/Webhook.ts"
import { Capture } from "../../src/services/Capture.ts"
import { Preview } from "../../src/services/Preview.ts"
import { checkSelection, selectFunctionName, withSelection } from "../../src/services/Selection.ts"
import { lookUpTable } from "../../src/services/WatchedTable.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { Application, layerInstalled, run } from "../support/RunningService.ts"

const create = Effect.fnUntraced(function*(table_name: string, more: Partial<WebhookCreate>) {
  const webhooks = yield* Webhooks
  return yield* webhooks.create({
    ...defaults,
    name: "selects",
    table_name,
    events: ["INSERT", "UPDATE", "DELETE", "TRUNCATE"],
    url: "https://example.com/hook",
    ...more
  })
})

/** What a webhook's function says of every event of its table, oldest first; `fires` where it says null. */
const verdicts = Effect.fnUntraced(function*(id: string) {
  const sql = yield* PgClient.PgClient
  const rows = yield* sql.unsafe<{ verdict: string }>(
    `SELECT coalesce(${selectFunctionName(id)}(e.event_type, e.body), 'fires') AS verdict
    FROM truss.events e JOIN truss.webhooks w ON w.table_id = e.table_id
    WHERE w.id = $1::text::uuid ORDER BY e.seq`,
    [id]
  )
  return rows.map((row) => row.verdict)
})

/** The `id`s of the inserted rows of a table that fire with these conditions. */
const firing = Effect.fnUntraced(function*(name: string, ...filter: ReadonlyArray<FilterCondition>) {
  const sql = yield* PgClient.PgClient
  const watched = yield* lookUpTable("public", name)
  yield* checkSelection(sql, watched, { filter })
  const rows = yield* withSelection(sql, watched, { columns: null, filter }, (select) =>
    sql.unsafe<{ id: number }>(
      `SELECT (e.body::json -> 'row' ->> 'id')::int AS id
      FROM truss.events e JOIN truss.tables t ON t.id = e.table_id
      WHERE t.table_name = $1 AND ${select}(e.event_type, e.body) IS NULL ORDER BY e.seq`,
      [name]
    ))
  return rows.map((row) => row.id)
})

/** A watched table with an `id` and a column `c` of a type, and a row for each value, numbered from 1. */
const table = Effect.fnUntraced(function*(name: string, type: string, ...values: ReadonlyArray<string>) {
  yield* run(`CREATE TABLE ${name} (id int PRIMARY KEY, c ${type})`)
  yield* create(name, {})
  yield* run(`INSERT INTO ${name} VALUES ${values.map((value, i) => `(${i + 1}, ${value})`).join(", ")}`)
})

const c = (op: FilterOp, value?: unknown): FilterCondition =>
  value === undefined ? { column: "c", op } : { column: "c", op, value }

/** Checks which rows of a table fire for each condition. */
const expect = Effect.fnUntraced(function*(
  name: string,
  cases: ReadonlyArray<readonly [FilterOp, unknown, ReadonlyArray<number>]>
) {
  for (const [op, value, ids] of cases) {
    assert.deepStrictEqual(yield* firing(name, c(op, value)), ids, `${name} ${op} ${JSON.stringify(value)}`)
  }
})

/** The paths of the faults with which something is refused, and the error's tag. */
const refusal = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const error = (yield* Effect.flip(effect as Effect.Effect<A, unknown, R>)) as {
    readonly _tag: string
    readonly faults?: ReadonlyArray<{ readonly path: string; readonly message: string }>
  }
  return [error._tag, ...(error.faults ?? []).map(({ path }) => path)]
})

const functions = Effect.flatMap(PgClient.PgClient, (sql) =>
  Effect.map(
    sql<{ name: string }>`SELECT proname::text AS name FROM pg_proc
      WHERE pronamespace = 'truss'::regnamespace AND proname ~ '^select_'`,
    (rows) => rows.map((row) => `truss.${row.name}`)
  ))

it.layer(layerInstalled({ maxPayload: 2000 }), { excludeTestServices: true })("a selection", (it) => {
  it.effect("compares integers as integers, and those beyond 2^53 to the last digit", () =>
    Effect.gen(function*() {
      yield* table("ints", "int", "2", "10", "NULL", "-3")
      yield* expect("ints", [
        ["eq", 10, [2]],
        ["eq", "10", [2]],
        ["eq", " +10 ", [2]],
        ["neq", 10, [1, 3, 4]],
        ["lt", 10, [1, 4]],
        ["lte", 10, [1, 2, 4]],
        ["gt", 2, [2]],
        ["gte", 2, [1, 2]],
        ["in", [2, "-3", null], [1, 4]],
        ["is_null", undefined, [3]],
        ["not_null", undefined, [1, 2, 4]],
        ["changed", undefined, [1, 2, 3, 4]]
      ])
      yield* table("bigints", "bigint", "9007199254740992", "9007199254740993", "9223372036854775807")
      yield* expect("bigints", [
        ["eq", "9007199254740993", [2]],
        ["gt", "9007199254740992", [2, 3]],
        ["lte", "9007199254740992", [1]],
        ["in", ["9223372036854775807", "9007199254740992"], [1, 3]],
        ["neq", "9007199254740993", [1, 3]]
      ])
    }))

  it.effect("counts null as a value for neq, and lets no other comparison with null hold", () =>
    Effect.gen(function*() {
      yield* table("nulls", "text", "NULL", "'a'", "'NULL'", "'null'")
      yield* expect("nulls", [
        ["eq", null, []],
        ["neq", null, [2, 3, 4]],
        ["neq", "a", [1, 3, 4]],
        ["lt", null, []],
        ["gte", null, []],
        ["in", [null], []],
        ["in", [null, "a"], [2]],
        ["gte", "", [2, 3, 4]],
        ["eq", "null", [4]],
        ["is_null", undefined, [1]],
        ["not_null", undefined, [2, 3, 4]]
      ])
    }))

  it.effect("compares numeric, float, boolean, text, char and bytea by their own rules", () =>
    Effect.gen(function*() {
      yield* table("numerics", "numeric", "1.10", "12345678901234567890.12345678901234567891", "'NaN'", "-0.5")
      yield* expect("numerics", [
        ["eq", 1.1, [1]],
        ["eq", "1.100", [1]],
        ["eq", "12345678901234567890.12345678901234567891", [2]],
        ["gt", "12345678901234567890.1234567890123456789", [2, 3]],
        ["eq", "NaN", [3]],
        ["lt", 0, [4]]
      ])
      yield* table("floats", "float8", "0.1", "1e300", "'-Infinity'", "'NaN'")
      yield* expect("floats", [
        ["eq", 0.1, [1]],
        ["gte", 1e300, [2, 4]],
        ["eq", "-infinity", [3]]
      ])
      yield* table("booleans", "boolean", "true", "false", "NULL")
      yield* expect("booleans", [
        ["eq", true, [1]],
        ["eq", "f", [2]],
        ["neq", true, [2, 3]],
        ["lt", true, [2]]
      ])
      yield* table("texts", "text COLLATE \"C\"", "'10'", "'9'", "''", "'B'", "'a'")
      yield* expect("texts", [
        ["gt", "10", [2, 4, 5]],
        ["lt", "a", [1, 2, 3, 4]],
        ["eq", "", [3]],
        ["eq", 10, [1]]
      ])
      yield* table("chars", "char(5)", "'ab'", "'abc'")
      yield* expect("chars", [["eq", "ab", [1]], ["in", ["abc  "], [2]]])
      yield* table("bytes", "bytea", "'\\x00ff'", "'abc'")
      yield* expect("bytes", [["eq", "\\x00FF", [1]], ["eq", "\\x616263", [2]]])
    }))

  it.effect("compares times as times, whatever zone they are written in", () =>
    Effect.gen(function*() {
      yield* table("moments", "timestamptz", "'2025-01-15 10:00:00.123456+00'", "'2025-01-15 12:00+01'", "'infinity'")
      yield* expect("moments", [
        ["eq", "2025-01-15T15:45:00.123456+05:45", [1]],
        ["lt", "2025-01-15T11:00:00Z", [1]],
        ["lte", "2025-01-15T11:00:00", [1, 2]],
        ["gt", "2025-01-15", [1, 2, 3]],
        ["eq", "infinity", [3]]
      ])
      yield* table("days", "date", "'2025-01-09'", "'2025-01-10'", "'0044-03-15 BC'")
      yield* expect("days", [
        ["gte", "2025-01-10", [2]],
        ["lt", "2025-1-10", [1, 3]],
        ["eq", "0044-03-15 BC", [3]]
      ])
      yield* table("spans", "interval", "'90 minutes'", "'-1 day'")
      yield* expect("spans", [["eq", "1:30", [1]], ["lt", "0", [2]], ["gt", "PT1H", [1]]])
    }))

  it.effect("compares uuid, network addresses, ranges, enums in their order, and domains by the type below", () =>
    Effect.gen(function*() {
      yield* table("uuids", "uuid", "'0f0e0d0c-0b0a-4999-8888-776655443322'", "gen_random_uuid()")
      yield* expect("uuids", [["eq", "{0F0E0D0C0B0A49998888776655443322}", [1]]])
      yield* table("addresses", "inet", "'10.0.0.9'", "'10.0.0.10'")
      yield* expect("addresses", [["lt", "10.0.0.10", [1]]])
      yield* table("ranges", "int4range", "'[1,5]'", "'empty'")
      yield* expect("ranges", [["eq", "[1,6)", [1]]])
      yield* run(
        "CREATE SCHEMA \"my types\"",
        "CREATE TYPE \"my types\".\"Mood's\" AS ENUM ('sad', 'ok', 'a \"b\" ''c''')"
      )
      yield* run("CREATE COLLATION \"my types\".\"By \"\"byte\" FROM \"C\"")
      yield* table("collated", "text COLLATE \"my types\".\"By \"\"byte\"", "'B'", "'a'")
      yield* expect("collated", [["lt", "a", [1]], ["in", ["a"], [2]]])
      yield* table("moods", "\"my types\".\"Mood's\"", "'sad'", "'ok'", "'a \"b\" ''c'''")
      yield* expect("moods", [["gt", "sad", [2, 3]], ["eq", "a \"b\" 'c'", [3]], ["in", ["ok", "sad"], [1, 2]]])
      yield* run(
        "CREATE FUNCTION alarm(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN IF $1 = 77 THEN RAISE 'ran'; END IF; RETURN true; END $$",
        "CREATE DOMAIN small AS int CHECK (alarm(VALUE))",
        "CREATE DOMAIN smaller AS small"
      )
      yield* table("domains", "smaller", "9", "10")
      yield* expect("domains", [["lt", 10, [1]], ["neq", 77, [1, 2]]])
    }))

  it.effect("compares JSON, arrays and rows by equality alone, with values or the documents that strings spell", () =>
    Effect.gen(function*() {
      for (const type of ["json", "jsonb"]) {
        yield* table(
          `of_${type}`,
          type,
          "'{\"a\": [1.0, 9007199254740993], \"b\": null}'",
          "'\"x\"'",
          "'5'",
          "'null'",
          "'[]'",
          type === "json" ? "'\"a\\u0000b\"'" : "'{}'"
        )
        yield* expect(`of_${type}`, [
          ["eq", "{\"b\":null,\"a\":[1,9007199254740993]}", [1]],
          ["eq", "{\"b\":null,\"a\":[1,9007199254740992]}", []],
          ["eq", "x", [2]],
          ["eq", 5, [3]],
          ["eq", [], [5]],
          ["in", ["x", [], 5], [2, 3, 5]],
          ["is_null", undefined, [4]]
        ])
      }
      yield* table("arrays", "int[]", "'{1,2}'", "'{}'", "NULL")
      yield* expect("arrays", [["eq", [1, 2], [1]], ["eq", "[1, 2]", [1]], ["neq", [], [1, 3]]])
      yield* run("CREATE TYPE pair AS (x int, y text)")
      yield* table("pairs", "pair", "(1, 'a')", "NULL")
      yield* expect("pairs", [["eq", { y: "a", x: 1 }, [1]]])
    }))

  it.effect("compares types of users and extensions as the text that is sent", () =>
    Effect.gen(function*() {
      yield* run("CREATE TYPE span AS RANGE (subtype = float8)")
      yield* table("spans_of_ours", "span", "'[1,2)'", "'[3,4)'")
      yield* expect("spans_of_ours", [["eq", "[1,2)", [1]], ["gt", "[2", [2]]])
      yield* table("xmls", "xml", "'<a/>'", "NULL")
      yield* expect("xmls", [["eq", "<a/>", [1]], ["neq", "<a/>", [2]]])
      yield* table("classes", "regclass", "'pg_class'", "'pg_proc'")
      yield* expect("classes", [["eq", "pg_class", [1]], ["eq", "not_there", []]])
    }))

  it.effect("takes all conditions together, on the old row of a DELETE, and never on a TRUNCATE", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE orders (id int PRIMARY KEY, status text, amount numeric)")
      const both = yield* create("orders", {
        filter: [{ column: "status", op: "eq", value: "paid" }, { column: "amount", op: "gte", value: 100 }]
      })
      const changed = yield* create("orders", {
        filter: [{ column: "status", op: "changed" }, { column: "status", op: "neq", value: "new" }]
      })
      yield* run(
        "INSERT INTO orders VALUES (1, 'new', 100)",
        "UPDATE orders SET status = 'paid'",
        "UPDATE orders SET amount = 99",
        "UPDATE orders SET amount = 250",
        "DELETE FROM orders",
        "TRUNCATE orders"
      )
      assert.deepStrictEqual(yield* verdicts(both.id), ["filter", "fires", "filter", "fires", "fires", "fires"])
      assert.deepStrictEqual(yield* verdicts(changed.id), ["filter", "fires", "filter", "filter", "fires", "fires"])
    }))

  it.effect("fires an UPDATE only if one of the columns changed, and every other change", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE parts (id int PRIMARY KEY, a int, b text, doc jsonb)")
      const webhook = yield* create("parts", { columns: ["a", "doc"] })
      const filtered = yield* create("parts", { columns: ["a"], filter: [{ column: "a", op: "gt", value: 1 }] })
      yield* run(
        "INSERT INTO parts VALUES (1, 1, 'x', '{}')",
        "UPDATE parts SET b = 'y'",
        "UPDATE parts SET a = NULL",
        "UPDATE parts SET a = NULL",
        "UPDATE parts SET doc = '{\"a\":1}'",
        "UPDATE parts SET a = 5",
        "DELETE FROM parts",
        "TRUNCATE parts"
      )
      assert.deepStrictEqual(yield* verdicts(webhook.id), [
        "fires",
        "columns",
        "fires",
        "columns",
        "fires",
        "fires",
        "fires",
        "fires"
      ])
      assert.deepStrictEqual(yield* verdicts(filtered.id), [
        "filter",
        "columns",
        "filter",
        "columns",
        "columns",
        "fires",
        "fires",
        "fires"
      ])
    }))

  it.effect("looks at many columns as it does at few, whatever they are called", () =>
    Effect.gen(function*() {
      const names = ["now", "old", "event", "body", "truncated", "given", "n", "o", "c", "\"q'", "doc", "key"]
      const quoted = names.map((name) => `"${name.replaceAll("\"", "\"\"")}"`)
      yield* run(
        `CREATE TABLE many (id int PRIMARY KEY, other text, ${quoted.map((name) => `${name} jsonb`).join(", ")})`
      )
      const webhook = yield* create("many", { columns: names })
      yield* run(
        "INSERT INTO many VALUES (1, 'x')",
        "UPDATE many SET other = 'y'",
        "UPDATE many SET key = '\"null\"'",
        ...quoted.map((name) => `UPDATE many SET ${name} = '[1]'`),
        "UPDATE many SET other = repeat('x', 3000)"
      )
      assert.deepStrictEqual(yield* verdicts(webhook.id), [
        "fires",
        "columns",
        "fires",
        ...names.map(() => "fires"),
        "fires"
      ])
    }))

  it.effect("drops nothing on a guess: what a truncated body leaves out is taken to hold", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TABLE wide (id int PRIMARY KEY, a int, filler text)",
        "CREATE TABLE keyless (a int, filler text)"
      )
      const a = yield* create("wide", { columns: ["a"] })
      const eq = yield* create("wide", { filter: [{ column: "a", op: "eq", value: 7 }] })
      const isNull = yield* create("wide", { filter: [{ column: "a", op: "is_null" }] })
      const neq = yield* create("wide", { filter: [{ column: "a", op: "neq", value: 1 }] })
      const key = yield* create("wide", {
        filter: [{ column: "a", op: "eq", value: 7 }, { column: "id", op: "gt", value: 1 }]
      })
      const keyColumn = yield* create("wide", { columns: ["id"] })
      const keyless = yield* create("keyless", { filter: [{ column: "a", op: "in", value: [7] }] })
      const filler = "repeat('x', 3000)"
      yield* run(
        `INSERT INTO wide VALUES (1, 1, ${filler}), (2, 1, ${filler})`,
        "UPDATE wide SET a = 1 WHERE id = 2",
        "DELETE FROM wide WHERE id = 2",
        `INSERT INTO keyless VALUES (1, ${filler}), (1, 'short')`
      )
      assert.deepStrictEqual(yield* verdicts(a.id), ["fires", "fires", "fires", "fires"])
      assert.deepStrictEqual(yield* verdicts(eq.id), ["fires", "fires", "fires", "fires"])
      assert.deepStrictEqual(yield* verdicts(isNull.id), ["fires", "fires", "fires", "fires"])
      assert.deepStrictEqual(yield* verdicts(neq.id), ["fires", "fires", "fires", "fires"])
      assert.deepStrictEqual(yield* verdicts(key.id), ["filter", "fires", "fires", "fires"])
      assert.deepStrictEqual(yield* verdicts(keyColumn.id), ["fires", "fires", "columns", "fires"])
      assert.deepStrictEqual(yield* verdicts(keyless.id), ["fires", "filter"])
    }))

  it.effect("follows the table: a dropped or renamed column's condition no longer holds, a new type is compared as such", () =>
    Effect.gen(function*() {
      const capture = yield* Capture
      yield* run("CREATE TABLE moving (id int PRIMARY KEY, gone int, named int, typed int)")
      const gone = yield* create("moving", { filter: [{ column: "gone", op: "neq", value: 1 }] })
      const columns = yield* create("moving", { columns: ["gone", "typed"] })
      const named = yield* create("moving", { filter: [{ column: "named", op: "is_null" }] })
      const typed = yield* create("moving", { filter: [{ column: "typed", op: "gt", value: "9" }] })
      const unfit = yield* create("moving", { filter: [{ column: "typed", op: "eq", value: "9" }] })
      yield* run(
        "INSERT INTO moving VALUES (1, NULL, NULL, 10)",
        "ALTER TABLE moving DROP gone, ALTER typed TYPE text",
        "ALTER TABLE moving RENAME named TO other",
        "INSERT INTO moving VALUES (2, NULL, 'a'), (3, NULL, '10')",
        "UPDATE moving SET typed = 'b' WHERE id = 3"
      )
      // The functions are still those of the table as it was: nothing fails, and nothing that is not there holds.
      assert.deepStrictEqual(yield* verdicts(gone.id), ["fires", "filter", "filter", "filter"])
      assert.deepStrictEqual(yield* verdicts(named.id), ["fires", "filter", "filter", "filter"])
      assert.deepStrictEqual(yield* verdicts(columns.id), ["fires", "fires", "fires", "fires"])
      assert.deepStrictEqual(yield* verdicts(typed.id), ["fires", "filter", "fires", "filter"])
      const messages: Array<string> = []
      const log = Logger.make(({ message }) => void messages.push(JSON.stringify(message)))
      const reconcile = capture.reconcile.pipe(
        Effect.provide(Logger.layer([log])),
        Effect.provideService(References.MinimumLogLevel, "Warn")
      )
      yield* reconcile
      yield* reconcile
      const said = messages.filter((message) => message.includes("does not have"))
      assert.lengthOf(said, 3, said.join("\n"))
      assert.isTrue(said.some((message) => message.includes(gone.id) && message.includes("[\"gone\"]")))
      assert.isTrue(said.some((message) => message.includes(named.id) && message.includes("[\"named\"]")))
      assert.deepStrictEqual(yield* verdicts(gone.id), ["filter", "filter", "filter", "filter"])
      assert.deepStrictEqual(yield* verdicts(named.id), ["filter", "filter", "filter", "filter"])
      assert.deepStrictEqual(yield* verdicts(columns.id), ["fires", "fires", "fires", "fires"])
      assert.deepStrictEqual(yield* verdicts(typed.id), ["filter", "fires", "filter", "fires"])
      yield* run(
        "UPDATE moving SET typed = '9' WHERE id = 1",
        "ALTER TABLE moving ALTER typed TYPE boolean USING true, ADD gone int DEFAULT 5"
      )
      yield* reconcile
      yield* run("INSERT INTO moving VALUES (4, NULL, true)")
      // '9' is no boolean: the condition cannot hold any more.
      assert.strictEqual((yield* verdicts(unfit.id)).at(-1), "filter")
      assert.strictEqual((yield* verdicts(gone.id)).at(-1), "fires")
      assert.strictEqual((yield* verdicts(gone.id)).at(0), "fires")
      yield* run("DROP TABLE moving")
      yield* reconcile
      assert.include(yield* functions, selectFunctionName(gone.id))
    }))

  it.effect("takes any column name and any value for what it is, and never for SQL", () =>
    Effect.gen(function*() {
      const names = [
        "a\"b",
        "c'd",
        "e\\f",
        "'); DROP TABLE truss.webhooks; --",
        "$1",
        "event",
        "body",
        "row",
        "r",
        "b",
        "now",
        "SELECT",
        "größe 🎉",
        "%I%s",
        "$$",
        "new\nline"
      ]
      const quoted = (name: string) => `"${name.replaceAll("\"", "\"\"")}"`
      yield* run(
        `CREATE TABLE "odd 'table'" (id int PRIMARY KEY, ${names.map((name) => `${quoted(name)} text`).join(", ")})`
      )
      const values = [
        "'",
        "''",
        "\\",
        "\\'",
        "\\\\'; SELECT 1; --",
        "\"",
        "$$",
        "$1",
        "é🎉",
        "a\nb",
        "\u0001",
        "E'x'",
        "\u2028",
        "{\"a\":1}",
        "INSERT INTO truss.events_1 ("
      ]
      const sql = yield* Application
      const webhooks = yield* Webhooks
      const webhook = yield* create("odd 'table'", {
        columns: names,
        filter: names.map((column) => ({ column, op: "in" as const, value: values }))
      })
      for (const [i, value] of values.entries()) {
        yield* sql.unsafe(
          `INSERT INTO "odd 'table'" VALUES (${i}, ${names.map(() => "$1::text").join(", ")})`,
          [value]
        )
      }
      assert.deepStrictEqual(yield* verdicts(webhook.id), values.map(() => "fires"))
      for (const [i, value] of values.entries()) {
        yield* webhooks.patch(webhook.id, { filter: names.map((column) => ({ column, op: "neq" as const, value })) })
        assert.deepStrictEqual(yield* verdicts(webhook.id), values.map((_, n) => n === i ? "filter" : "fires"), value)
      }
      assert.deepStrictEqual((yield* webhooks.get(webhook.id)).columns, names)
      yield* webhooks.remove(webhook.id)
    }))

  it.effect("is refused with the path of each value that is none of its column's type", () =>
    Effect.gen(function*() {
      yield* run(
        "CREATE TYPE level AS ENUM ('low', 'high')",
        `CREATE TABLE strict (id int PRIMARY KEY, big bigint, amount numeric, at timestamptz, day date, flag boolean,
          uid uuid, level level, doc jsonb, note text, code varchar(3), list int[])`
      )
      const wrong: ReadonlyArray<FilterCondition> = [
        { column: "id", op: "eq", value: "abc" },
        { column: "id", op: "eq", value: 3_000_000_000 },
        { column: "id", op: "gt", value: 1.5 },
        { column: "id", op: "in", value: [1, true] },
        { column: "big", op: "eq", value: 2 ** 53 },
        { column: "amount", op: "lt", value: "1,5" },
        { column: "at", op: "gt", value: "yesterday" },
        { column: "at", op: "gt", value: "2025-02-30" },
        { column: "day", op: "eq", value: "NOW" },
        { column: "flag", op: "eq", value: "maybe" },
        { column: "uid", op: "eq", value: "1" },
        { column: "level", op: "in", value: ["low", "medium"] },
        { column: "note", op: "eq", value: { a: 1 } },
        { column: "id", op: "eq", value: [1] },
        { column: "id", op: "eq", value: "" }
      ]
      const right: ReadonlyArray<FilterCondition> = [
        { column: "id", op: "eq", value: 1 },
        { column: "id", op: "eq", value: null },
        { column: "big", op: "eq", value: "9223372036854775807" },
        { column: "code", op: "eq", value: "longer than three" },
        { column: "note", op: "eq", value: "now" },
        { column: "doc", op: "eq", value: "{not JSON" },
        { column: "level", op: "lt", value: "high" }
      ]
      const webhooks = yield* Webhooks
      assert.deepStrictEqual(yield* refusal(create("strict", { filter: [...right, ...wrong] })), [
        "InvalidFilter",
        ...wrong.map((_, i) => `filter.${right.length + i}.value`)
      ])
      assert.deepStrictEqual(
        yield* refusal(
          create("strict", { filter: [{ column: "doc", op: "lt", value: 1 }, { column: "list", op: "gte", value: 1 }] })
        ),
        ["InvalidFilter", "filter.0.op", "filter.1.op"]
      )
      const webhook = yield* create("strict", { filter: right })
      assert.deepStrictEqual(
        yield* refusal(webhooks.patch(webhook.id, { filter: [{ column: "id", op: "eq", value: "x" }] })),
        ["InvalidFilter", "filter.0.value"]
      )
      assert.deepStrictEqual((yield* webhooks.get(webhook.id)).filter, right)
    }))

  it.effect("is refused with the path of each column that is not there, or is in no body", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE known (id int PRIMARY KEY, a int, v int GENERATED ALWAYS AS (a + 1) VIRTUAL)")
      const webhooks = yield* Webhooks
      assert.deepStrictEqual(
        yield* refusal(create("known", {
          columns: ["a", "nope", "A"],
          filter: [{ column: "a", op: "eq", value: 1 }, { column: "ctid", op: "is_null" }, {
            column: "v",
            op: "changed"
          }]
        })),
        ["TableMismatch", "columns.1", "columns.2", "filter.1.column", "filter.2.column"]
      )
      const before = yield* functions
      const webhook = yield* create("known", { columns: ["a"] })
      assert.deepStrictEqual(
        yield* refusal(webhooks.patch(webhook.id, { filter: [{ column: "b", op: "is_null" }] })),
        ["TableMismatch", "filter.0.column"]
      )
      yield* run("CREATE TABLE unknown (id int PRIMARY KEY)")
      assert.deepStrictEqual(yield* refusal(webhooks.patch(webhook.id, { table_name: "unknown" })), [
        "TableMismatch",
        "columns.0"
      ])
      assert.strictEqual(
        (yield* webhooks.patch(webhook.id, { table_name: "unknown", columns: ["id"] })).table_name,
        "unknown"
      )
      assert.sameMembers([...(yield* functions)], [...before, selectFunctionName(webhook.id)])
      // What was dropped since does not stand in the way of other changes.
      yield* run("ALTER TABLE unknown ADD x int", "ALTER TABLE unknown DROP id")
      const patch: WebhookPatch = { name: "renamed", filter: [{ column: "x", op: "eq", value: 1 }] }
      assert.strictEqual((yield* webhooks.patch(webhook.id, patch)).name, "renamed")
      yield* webhooks.remove(webhook.id)
    }))

  it.effect("needs a primary key for order by row", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE unordered (a int)", "CREATE TABLE ordered (a int PRIMARY KEY)")
      const webhooks = yield* Webhooks
      assert.deepStrictEqual(yield* refusal(create("unordered", { ordering: "row" })), ["TableMismatch", "ordering"])
      const strict = yield* create("unordered", { ordering: "strict" })
      assert.deepStrictEqual(yield* refusal(webhooks.patch(strict.id, { ordering: "row" })), [
        "TableMismatch",
        "ordering"
      ])
      const webhook = yield* create("ordered", { ordering: "row" })
      assert.deepStrictEqual(yield* refusal(webhooks.patch(webhook.id, { table_name: "unordered" })), [
        "TableMismatch",
        "ordering"
      ])
      assert.strictEqual(
        (yield* webhooks.patch(webhook.id, { ordering: "none", table_name: "unordered" })).ordering,
        "none"
      )
    }))

  it.effect("has a function exactly while it is needed", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE needed (id int PRIMARY KEY)")
      const webhooks = yield* Webhooks
      const capture = yield* Capture
      const sql = yield* PgClient.PgClient
      const without = yield* create("needed", {})
      assert.notInclude(yield* functions, selectFunctionName(without.id))
      const webhook = yield* create("needed", { columns: ["id"] })
      const name = selectFunctionName(webhook.id)
      assert.include(yield* functions, name)
      yield* webhooks.patch(webhook.id, { name: "other" })
      assert.include(yield* functions, name)
      yield* webhooks.patch(webhook.id, { columns: null })
      assert.notInclude(yield* functions, name)
      yield* webhooks.patch(webhook.id, { filter: [{ column: "id", op: "gt", value: 5 }] })
      yield* sql.unsafe(`DROP FUNCTION ${name}(truss.event_type, text)`)
      yield* sql.unsafe(
        `CREATE FUNCTION truss.select_${
          "0".repeat(32)
        }(truss.event_type, text) RETURNS text LANGUAGE sql AS 'SELECT 1::text'`
      )
      yield* capture.reconcile
      assert.include(yield* functions, name)
      assert.notInclude(yield* functions, `truss.select_${"0".repeat(32)}`)
      yield* webhooks.remove(webhook.id)
      assert.notInclude(yield* functions, name)
    }))
})

it.layer(layerInstalled(), { excludeTestServices: true })("a preview", (it) => {
  const preview = Effect.fnUntraced(function*(table_name: string, more: object = {}) {
    const service = yield* Preview
    return yield* service.of({
      table_schema: "public",
      table_name,
      events: ["INSERT", "UPDATE", "DELETE", "TRUNCATE"],
      columns: null,
      filter: null,
      ...more
    })
  })

  it.effect("counts what would fire of the newest 1,000 events, and shows 5 of them digit for digit", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE tried (id bigint PRIMARY KEY, n numeric)")
      assert.strictEqual(yield* preview("tried"), `{"considered":0,"would_fire":0,"samples":[]}`)
      yield* create("tried", {})
      yield* run("INSERT INTO tried SELECT i, i + 0.10 FROM generate_series(9007199254740001, 9007199254741200) i")
      yield* run("DELETE FROM tried WHERE id <= 9007199254740010")
      const all = yield* preview("tried")
      assert.include(all, `{"considered":1000,"would_fire":1000,"samples":[{"event":"DELETE"`)
      const some = yield* preview("tried", { filter: [{ column: "id", op: "gt", value: "9007199254741193" }] })
      assert.include(some, `{"considered":1000,"would_fire":7,"samples":[{"event":"INSERT"`)
      assert.include(some, `"row":{"id":9007199254741200,"n":9007199254741200.10}`)
      assert.lengthOf((JSON.parse(some) as { samples: ReadonlyArray<unknown> }).samples, 5)
      const deleted = yield* preview("tried", { events: ["DELETE"] })
      assert.include(deleted, `{"considered":1000,"would_fire":10,`)
    }))

  it.effect("leaves nothing behind, and refuses what a webhook would be refused for", () =>
    Effect.gen(function*() {
      yield* run("CREATE TABLE refused (id int PRIMARY KEY)")
      const before = yield* functions
      assert.strictEqual((yield* refusal(preview("nowhere")))[0], "TableNotWatchable")
      assert.deepStrictEqual(yield* refusal(preview("refused", { columns: ["x"] })), ["TableMismatch", "columns.0"])
      assert.deepStrictEqual(
        yield* refusal(preview("refused", { filter: [{ column: "id", op: "eq", value: "x" }] })),
        ["InvalidFilter", "filter.0.value"]
      )
      yield* preview("refused", { filter: [{ column: "id", op: "eq", value: 1 }], columns: ["id"] })
      assert.deepStrictEqual(yield* functions, before)
    }))
})
