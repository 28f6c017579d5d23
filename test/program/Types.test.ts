import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { spawn } from "node:child_process"
import { mkdtempSync, symlinkSync, writeFileSync } from "node:fs"
import { rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { TestDatabase } from "../support/Database.ts"
import { assertOneLine, root, run as program, temporary, withDatabase } from "../support/Program.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService } from "../support/RunningService.ts"

/** A folder in which modules of the project's packages can be imported. */
const folder = Effect.acquireRelease(
  Effect.sync(() => {
    const path = mkdtempSync(join(tmpdir(), "truss-types-"))
    symlinkSync(join(root, "node_modules"), join(path, "node_modules"))
    writeFileSync(join(path, "package.json"), "{ \"type\": \"module\" }")
    return path
  }),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

const compilerOptions = {
  module: "NodeNext",
  target: "ES2024",
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: true,
  isolatedModules: true,
  allowImportingTsExtensions: true,
  noUnusedLocals: true,
  noEmit: true,
  skipLibCheck: true,
  types: []
}

/** What the compiler says of a module with such code behind it, in strict mode: nothing where all fits. */
const compile = Effect.fnUntraced(function*(path: string, module: string, usage: string) {
  writeFileSync(join(path, "types.ts"), module)
  writeFileSync(join(path, "usage.ts"), usage)
  writeFileSync(join(path, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["types.ts", "usage.ts"] }))
  return yield* Effect.promise(() =>
    new Promise<string>((resolve) => {
      const tsc = spawn(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", path])
      let said = ""
      for (const stream of [tsc.stdout, tsc.stderr]) stream.on("data", (chunk) => said += String(chunk))
      tsc.once("close", (code) => resolve(code === 0 ? "" : said || `exit code ${code}`))
    })
  )
})

const types = Effect.fnUntraced(function*(...args: ReadonlyArray<string>) {
  const { url } = yield* TestDatabase
  const ended = yield* program(["types", ...args], { DATABASE_URL: url })
  assert.strictEqual(ended.code, 0, ended.stderr)
  assert.strictEqual(ended.stderr, "")
  return ended.stdout
})

const odd = `"Über ""shop"""."Order's ""lines"" */"`

const oddTable = [
  `CREATE SCHEMA "Über ""shop"""`,
  `CREATE TYPE mood AS ENUM ('sad', 'it''s "ok"', 'höher */')`,
  `CREATE TYPE lit AS ENUM ('one')`,
  `CREATE FUNCTION lit_json(lit) RETURNS json LANGUAGE sql AS 'SELECT json_build_object(''lit'', $1::text)'`,
  `CREATE CAST (lit AS json) WITH FUNCTION lit_json(lit)`,
  `CREATE DOMAIN price AS numeric(12, 2) CHECK (VALUE >= 0)`,
  `CREATE DOMAIN must AS text NOT NULL`,
  `CREATE DOMAIN must_too AS must CHECK (VALUE <> 'never')`,
  `CREATE DOMAIN tags AS text[]`,
  `CREATE TYPE address AS (street text, "Haus-Nr" int, moods mood[], more jsonb)`,
  `CREATE TABLE ${odd} (
    part uuid, id bigint, small smallint NOT NULL, free numeric, exact numeric(12, 2) NOT NULL, price price, f real,
    d double precision NOT NULL, ok boolean, mood mood NOT NULL, moods mood[], lit lit NOT NULL, must must, too must_too,
    tags tags NOT NULL, grid int[][], prices price[], j json, jb jsonb NOT NULL, a address, aa address[], at timestamptz,
    wall timestamp NOT NULL, day date, tm time, iv interval, ip inet, b bytea, cash money, r int4range, bits bit(3),
    o oid, x tsvector, "Größe */ m²" int, "constructor" int NOT NULL, "line
break" text, gone int,
    stored int GENERATED ALWAYS AS (small * 2) STORED, PRIMARY KEY (id, part))`,
  `ALTER TABLE ${odd} DROP COLUMN gone`
]

const uuid = "'7d444840-9dc0-11d1-b245-5ffdce74fad2'"
const full =
  `(${uuid}, 9223372036854775807, 1, 12345678901234567890.5, 1.50, 2.00, 1.5, 'NaN', true, 'höher */', '{sad,NULL}', 'one', 'a', 'b',
  '{x,NULL}', '{{1,2},{3,NULL}}', '{1.00}', '{"a": [1, null]}', '[]', ROW('Weg', 3, '{sad}', '{"k": 1}'),
  ARRAY[ROW('Weg', NULL, NULL, NULL)::address, NULL], now(), now(), '2025-01-15', '10:00', '1 day', '10.0.0.1/8', '\\x00',
  1, '[1,2)', B'101', 7, 'a b', 5, 1, 'l')`
const bare =
  `(${uuid}, 8, 1, 'Infinity', 'NaN', NULL, '-Infinity', 'Infinity', NULL, 'sad', NULL, 'one', 'a', 'b', '{}', NULL,
  NULL, 'null', 'null', NULL, NULL, 'infinity', '-infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, 1, NULL)`

const usage = `
import type { OrderChange, OrderKey, OrderRow } from "./types.ts"
import { OrderChange as Change, OrderKey as Key, OrderRow as Row } from "./types.ts"
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
type Mood = "sad" | "it's \\"ok\\"" | "höher */"
type Fine = number | "NaN" | "Infinity" | "-Infinity"
export const facts: [
  Same<OrderRow["id"], number>, Same<OrderRow["small"], number>, Same<OrderRow["free"], Fine | null>,
  Same<OrderRow["exact"], number | "NaN">, Same<OrderRow["price"], number | "NaN" | null>,
  Same<OrderRow["d"], Fine>, Same<OrderRow["ok"], boolean | null>, Same<OrderRow["mood"], Mood>,
  Same<OrderRow["moods"], ReadonlyArray<Mood | null> | null>, Same<OrderRow["must"], string>,
  Same<OrderRow["too"], string>, Same<OrderRow["tags"], ReadonlyArray<string | null>>,
  Same<OrderRow["grid"], ReadonlyArray<ReadonlyArray<number | null>> | null>,
  Same<OrderRow["prices"], ReadonlyArray<number | "NaN" | null> | null>, Same<OrderRow["at"], string | null>,
  Same<OrderRow["wall"], string>, Same<OrderRow["cash"], string | null>, Same<OrderRow["o"], string | null>,
  Same<OrderRow["Größe */ m²"], number | null>, Same<OrderRow["constructor"], number>,
  Same<OrderRow["line\\nbreak"], string | null>, Same<OrderRow["stored"], number | null>,
  Same<NonNullable<OrderRow["a"]>["Haus-Nr"], number | null>, Same<keyof OrderKey, "id" | "part">,
  Same<"gone" extends keyof OrderRow ? true : false, false>,
  Same<typeof Row.Type["mood"], Mood>, Same<typeof Key.Type, { readonly id: number; readonly part: string }>,
  Same<typeof Change.Type, OrderChange>, Same<typeof Change.Encoded, OrderChange>
] = [true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true,
  true, true, true, true, true, true, true, true, true, true]
export const from: (row: typeof Row.Type) => OrderRow = (row) => row
export const to: (row: OrderRow) => typeof Row.Type = (row) => row
export const moodOf = (change: OrderChange): Mood | number | undefined => {
  if (change.event === "TRUNCATE") return undefined
  if (change.truncated === true) return change.event === "DELETE" ? change.old_row.id : change.row.id
  return change.event === "DELETE" ? change.old_row.mood : change.row.mood
}
// @ts-expect-error: it may have been too large
export const unchecked = (change: OrderChange & { event: "INSERT" }): Mood => change.row.mood
`

const layer = Layer.fresh(Layer.merge(RunningService.layer(), Receiver.layer))

describe("types", () => {
  it.live("prints a module that the compiler accepts, and that decodes what is delivered", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const service = yield* RunningService
      yield* run(...oddTable)
      const module = yield* types("--table", odd, "--name", "Order")
      const path = yield* folder
      assert.strictEqual(yield* compile(path, module, usage), "")

      const table = { table_schema: `Über "shop"`, table_name: `Order's "lines" */` }
      const { id } = yield* service.create({ ...table, url: receiver.url("/odd") })
      yield* run(
        `INSERT INTO ${odd} VALUES ${full}, ${bare}`,
        `UPDATE ${odd} SET small = 2`,
        `DELETE FROM ${odd}`,
        `TRUNCATE ${odd}`
      )
      yield* service.ask("POST", `/webhooks/${id}/test`)
      const deliveries = yield* receiver.waitFor("/odd", 8)
      assert.sameMembers(
        deliveries.map(({ text }) => JSON.parse(text).event),
        ["INSERT", "INSERT", "UPDATE", "UPDATE", "DELETE", "DELETE", "TRUNCATE", "TEST"]
      )
      const { OrderChange, OrderRow } = yield* Effect.promise(() =>
        import(/* @vite-ignore */ pathToFileURL(join(path, "types.ts")).href)
      )
      const decode = Schema.decodeUnknownSync(OrderChange as Schema.Codec<unknown>)
      for (const { text } of deliveries) {
        const change = JSON.parse(text)
        assert.deepStrictEqual(decode(change), change)
        for (const row of [change.row, change.old_row]) {
          if (row !== null) assert.sameMembers(Object.keys(row), Object.keys(OrderRow.fields))
        }
      }
      const insert = JSON.parse(deliveries.find(({ text }) => JSON.parse(text).event === "INSERT")!.text)
      assert.deepStrictEqual(insert.row.lit, { lit: "one" })
      for (const wrong of [{ mood: "glad" }, { mood: null }, { id: "1" }, { must: null }, { exact: "Infinity" }]) {
        assert.throws(() => decode({ ...insert, row: { ...insert.row, ...wrong } }), /Expected/)
      }
      assert.throws(() => decode({ ...insert, row: { id: 1, part: "x" } }), /Expected|Missing/)
    }).pipe(Effect.provide(layer)))

  it.live("knows what is left of a body that was over the limit, with a primary key and without", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const service = yield* RunningService
      yield* run(
        "CREATE TABLE docs (id int PRIMARY KEY, text text NOT NULL)",
        "CREATE TABLE loose (text text NOT NULL)"
      )
      const path = yield* folder
      for (const [table, key] of [["docs", { id: 1 }], ["loose", {}]] as const) {
        const name = table === "docs" ? "Docs" : "Loose"
        const keyed = table === "docs" ? "{ readonly id: number }" : "{}"
        const module = yield* types("--table", table)
        const usage = `import { ${name}Change, type ${name}Key } from "./types.ts"
          export const key: ${keyed} = {} as ${name}Key
          export type Change = typeof ${name}Change.Type`
        assert.strictEqual(yield* compile(path, module, usage), "")
        yield* service.create({ table_name: table, url: receiver.url(`/${table}`) })
        const values = table === "docs" ? "1, repeat('x', 5000)" : "repeat('x', 5000)"
        yield* run(`INSERT INTO ${table} VALUES (${values})`, `UPDATE ${table} SET text = text`, `DELETE FROM ${table}`)
        const file = join(path, `${table}.ts`)
        writeFileSync(file, module)
        const made = yield* Effect.promise(() => import(/* @vite-ignore */ pathToFileURL(file).href))
        const decode = Schema.decodeUnknownSync(made[`${name}Change`] as Schema.Codec<unknown>)
        for (const { text } of yield* receiver.waitFor(`/${table}`, 3)) {
          const change = JSON.parse(text)
          assert.strictEqual(change.truncated, true)
          assert.deepStrictEqual(change.row ?? change.old_row, key)
          assert.deepStrictEqual(decode(change), change)
          const { truncated: _, ...claimed } = change
          assert.throws(() => decode(claimed), /Expected|Missing/)
        }
      }
    }).pipe(
      Effect.provide(Layer.fresh(Layer.merge(RunningService.layer({ maxPayload: 2_000 }), Receiver.layer)))
    ))

  it.live("leaves out what deliveries leave out, and trusts no constraint that was not checked", () =>
    Effect.gen(function*() {
      const sql = yield* Application
      const [version] = yield* sql<{ number: number }>`SELECT current_setting('server_version_num')::int AS number`
      yield* run("CREATE TABLE plain (id int PRIMARY KEY, note text, at timestamptz NOT NULL)")
      if (version!.number >= 180000) {
        yield* run(
          "ALTER TABLE plain ADD COLUMN twice int GENERATED ALWAYS AS (id * 2) VIRTUAL",
          "ALTER TABLE plain ADD CONSTRAINT noted NOT NULL note NOT VALID"
        )
      }
      const module = yield* types("--table", "public.plain", "--types-only")
      assert.notInclude(module, "effect")
      assert.notInclude(module, "twice")
      assert.include(module, "  readonly note: string | null // text\n")
      const usage = `import type { PlainRow } from "./types.ts"
        export const row: PlainRow = { id: 1, note: null, at: "2025-01-15T10:00:00+00:00" }`
      assert.strictEqual(yield* compile(yield* folder, module, usage), "")
    }).pipe(Effect.provide(layer)))

  it.live("needs no right to the table, nor the schema truss", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        assertOneLine(
          yield* program(["types", "--table", "orders"], { DATABASE_URL }),
          1,
          /--table: there is no table public\.orders/
        )
        assertOneLine(
          yield* program(["types", "--table", "pg_catalog.pg_class"], { DATABASE_URL }),
          1,
          /--table: pg_catalog\.pg_class is a system table/
        )
        assertOneLine(yield* program(["types"], { DATABASE_URL }), 2, /--table is missing/)
        assertOneLine(
          yield* program(["types", "--table", "t", "--name", "1st"], { DATABASE_URL }),
          2,
          /--name must be a name of TypeScript/
        )
        const TRUSS_DATA_DIR = yield* temporary
        assertOneLine(yield* program(["types", "--table", "t"], { TRUSS_DATA_DIR }), 1, /DATABASE_URL is not set/)
      })
    ))
})
