import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Webhook } from "../../src/domain/Webhook.ts"
import { TestDatabase } from "../support/Database.ts"
import { hasuraCatalog, hasuraExport, writeHasuraFolder } from "../support/Hasura.ts"
import { assertOneLine, run as program, temporary } from "../support/Program.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService } from "../support/RunningService.ts"
import { schemaText } from "../support/SchemaText.ts"
import { supabaseFunctions, supabaseTriggers } from "../support/Supabase.ts"

const layer = () => Layer.fresh(Layer.merge(RunningService.layer(), Receiver.layer))

const environment = Effect.gen(function*() {
  const { url } = yield* TestDatabase
  const { baseUrl } = yield* RunningService
  return { DATABASE_URL: url, TRUSS_URL: baseUrl }
})

interface Shown {
  readonly theirs: string
  readonly webhook: Partial<Webhook> | null
  readonly notes: ReadonlyArray<string>
  readonly needs_review: boolean
  readonly state: string
  readonly id: string
}

/** What the command said in JSON, by their names; fails the test unless it exits with 0. */
const said = Effect.fnUntraced(function*(env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>) {
  const { code, stderr, stdout } = yield* program(["import", ...args, "--json"], env)
  assert.strictEqual(code, 0, stderr)
  const { webhooks }: { webhooks: ReadonlyArray<Shown> } = JSON.parse(stdout)
  return new Map(webhooks.map((one) => [one.theirs.split(" on ")[0]!, one]))
})

describe("import supabase", () => {
  it.live("shows what it would create and what it cannot, and changes nothing", () =>
    Effect.gen(function*() {
      const env = yield* environment
      const { ask } = yield* RunningService
      const sql = yield* Application
      yield* run(...supabaseFunctions, ...supabaseTriggers("https://example.com/hook"))
      const before = yield* schemaText(sql)

      const found = yield* said(env, "supabase")
      assert.strictEqual(found.size, 8)
      assert.deepStrictEqual(found.get("orders_hook")!.webhook, {
        name: "orders_hook",
        table_schema: "public",
        table_name: "orders",
        events: ["INSERT", "UPDATE", "DELETE"],
        url: "https://example.com/hook?tenant=a+b",
        headers: { Authorization: "***" },
        timeout_ms: 5000
      })
      const lines = found.get("Handle lines")!
      assert.strictEqual(lines.webhook!.timeout_ms, 60_000)
      assert.deepStrictEqual(lines.webhook!.events, ["INSERT"])
      assert.match(lines.notes.join(), /time-out of 90000 ms becomes 60000 ms.*3 retries/)
      assert.deepStrictEqual(found.get("status_hook")!.webhook!.columns, ["status", "total"])
      assert.strictEqual(found.get("status_hook")!.needs_review, false)
      const paid = found.get("paid_hook")!
      assert.strictEqual(paid.needs_review, true)
      assert.match(paid.notes.join(), /WHEN .*old\.status IS DISTINCT FROM new\.status.*'paid'::text/)
      assert.strictEqual(found.get("off_hook")!.needs_review, true)
      for (const [name, why] of [["get_hook", /GET/], ["broken_hook", /no JSON object/], ["whole_hook", /statement/]]) {
        const one = found.get(String(name))!
        assert.deepStrictEqual([one.webhook, one.state], [null, "not_carried"])
        assert.match(one.notes.join(), why as RegExp)
      }

      const { code, stderr, stdout } = yield* program(["import", "supabase"], { DATABASE_URL: env.DATABASE_URL })
      assert.strictEqual(code, 0, stderr)
      assert.match(stdout, /^would create {2}orders_hook on public\.orders$/m)
      assert.match(stdout, /^CANNOT {8}get_hook on public\.orders$/m)
      assert.notInclude(stdout, "se'cret")
      assert.match(stderr, /nothing was created: 5 would be, 3 cannot be carried over\. Add --create/)
      assert.strictEqual(yield* schemaText(sql), before)
      assert.deepStrictEqual(JSON.parse((yield* ask("GET", "/webhooks")).text).data, [])
    }).pipe(Effect.provide(layer())))

  it.live("creates them paused and once, and hands over without a change lost or sent twice", () =>
    Effect.gen(function*() {
      const env = yield* environment
      const receiver = yield* Receiver
      const { ask, get, patch } = yield* RunningService
      const sql = yield* Application
      yield* run(...supabaseFunctions, ...supabaseTriggers(receiver.url("/hook")))

      const created = yield* said(env, "supabase", "--create")
      const { id, state } = created.get("orders_hook")!
      assert.strictEqual(state, "created")
      const webhook = yield* get(id)
      assert.deepStrictEqual([webhook.active, webhook.headers], [false, { Authorization: "***" }])
      const again = yield* said(env, "supabase", "--create")
      assert.deepStrictEqual([...again.values()].map(({ state }) => state).toSorted(), [
        ...Array<string>(3).fill("not_carried"),
        ...Array<string>(5).fill("there")
      ])
      assert.strictEqual(again.get("orders_hook")!.id, id)

      yield* run("INSERT INTO orders VALUES (1, 'new', 1), (2, 'new', 2)")
      const [moment] = yield* sql.withTransaction(
        Effect.andThen(
          sql`ALTER TABLE orders DISABLE TRIGGER orders_hook`,
          sql<{ since: string }>`SELECT to_json(clock_timestamp()) #>> '{}' AS since`
        )
      )
      yield* run("INSERT INTO orders VALUES (3, 'new', 3)")
      yield* patch(id, { active: true })
      const recovered = yield* ask("POST", `/webhooks/${id}/recover`, { since: moment!.since })
      assert.strictEqual(recovered.status, 202, recovered.text)
      yield* run("INSERT INTO orders VALUES (4, 'new', 4)")

      const ours = yield* receiver.waitFor("/hook?tenant=a+b", 2)
      assert.deepStrictEqual(ours.map(({ body }) => body.row?.["id"]).toSorted(), [3, 4])
      assert.deepStrictEqual(ours.map(({ headers }) => headers["authorization"]), ["Bearer se'cret", "Bearer se'cret"])
      const theirs = yield* sql<{ id: number }>`SELECT (body #>> '{record,id}')::int AS id
        FROM supabase_functions.hooks WHERE hook_name = 'orders_hook' ORDER BY 1`
      assert.deepStrictEqual(theirs.map(({ id }) => id), [1, 2])
    }).pipe(Effect.provide(layer())))

  it.live("lets them fire at once when asked to, but for those to look at first; says what the server refuses", () =>
    Effect.gen(function*() {
      const env = yield* environment
      const { get } = yield* RunningService
      yield* run(...supabaseFunctions, ...supabaseTriggers("http://169.254.169.254/latest"))
      yield* run(
        "CREATE TABLE notes (id int)",
        `CREATE TRIGGER notes_hook AFTER INSERT ON notes FOR EACH ROW
           EXECUTE FUNCTION supabase_functions.http_request('https://example.com/', 'POST', '{}', '{}', '1000')`,
        `CREATE TRIGGER some_notes AFTER INSERT ON notes FOR EACH ROW WHEN (NEW.id > 1)
           EXECUTE FUNCTION supabase_functions.http_request('https://example.com/', 'POST', '{}', '{}', '1000')`
      )
      const { code, stderr, stdout } = yield* program(["import", "supabase", "--create", "--active"], env)
      assert.strictEqual(code, 1)
      assert.match(stderr, /2 created, 0 were there, 3 cannot.*\n.*the server refused 5 of them/)
      assert.match(stdout, /^REFUSED {7}orders_hook on public\.orders\n.*\n.*\n {14}- .*169\.254/m)
      const idOf = (name: string) =>
        new RegExp(`^created .*${name} on public\\.notes {2}(\\S+)$`, "m").exec(stdout)![1]!
      assert.strictEqual((yield* get(idOf("notes_hook"))).active, true)
      assert.strictEqual((yield* get(idOf("some_notes"))).active, false)
    }).pipe(Effect.provide(layer())))

  it.live("says so where there is nothing to carry over, or no server", () =>
    Effect.gen(function*() {
      const env = yield* environment
      const none = yield* program(["import", "supabase"], env)
      assert.strictEqual(none.code, 0)
      assert.match(none.stderr, /no trigger of this database calls supabase_functions\.http_request/)
      yield* run(...supabaseFunctions, ...supabaseTriggers("https://example.com/hook"))
      const away = { ...env, TRUSS_URL: "http://127.0.0.1:1" }
      assertOneLine(yield* program(["import", "supabase", "--create"], away), 1, /TRUSS_URL: no Truss Webhooks answers/)
    }).pipe(Effect.provide(layer())))
})

describe("import hasura", () => {
  it.live("reads the same from its database, from a file, and from a folder, and creates them", () =>
    Effect.gen(function*() {
      const env = yield* environment
      const { get } = yield* RunningService
      const receiver = yield* Receiver
      const folder = yield* temporary
      yield* run(
        "CREATE TABLE orders (id int PRIMARY KEY, status text, total numeric)",
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.lines (id int)",
        ...hasuraCatalog
      )
      const hasuraEnv = join(folder, "hasura.env")
      writeFileSync(
        hasuraEnv,
        `HOOKS_URL=${receiver.url("")}\nHOOKS_TOKEN="Bearer t0ken"\nSTATUS_URL=${receiver.url("/status")}\n`
      )
      const json = join(folder, "metadata.json")
      writeFileSync(json, JSON.stringify(hasuraExport))
      writeHasuraFolder(folder)

      const fromCatalog = yield* said(env, "hasura", "--hasura-env", hasuraEnv)
      for (const metadata of [json, folder, join(folder, "metadata")]) {
        const found = yield* said(env, "hasura", "--hasura-env", hasuraEnv, "--metadata", metadata)
        assert.deepStrictEqual(found, fromCatalog, metadata)
      }
      assert.deepStrictEqual(fromCatalog.get("order_created")!.webhook, {
        name: "order_created",
        table_schema: "public",
        table_name: "orders",
        events: ["INSERT"],
        url: receiver.url("/order-created"),
        headers: { authorization: "***", "x-from": "***" },
        timeout_ms: 60_000,
        max_attempts: 4
      })
      const status = fromCatalog.get("order_status")!
      assert.deepStrictEqual(status.webhook!.columns, ["status", "total"])
      assert.match(status.notes.join(), /120000 ms becomes 60000 ms.*invoked by hand.*never retries/)
      const gone = fromCatalog.get("order_gone")!
      assert.strictEqual(gone.needs_review, true)
      assert.match(gone.notes.join(), /sends the whole row.*request transform is not carried over/)
      assert.match(fromCatalog.get("by_hand")!.notes.join(), /invoked by hand alone/)

      const without = yield* said(env, "hasura")
      assert.match(without.get("order_created")!.notes.join(), /needs HOOKS_URL, HOOKS_TOKEN .* --hasura-env/)

      const created = yield* said(env, "hasura", "--hasura-env", hasuraEnv, "--create", "--active")
      assert.strictEqual((yield* get(created.get("order_gone")!.id)).active, false)
      yield* run("INSERT INTO orders VALUES (1, 'new', 1)", "UPDATE orders SET status = 'new'")
      yield* run("UPDATE orders SET status = 'paid'")
      const [inserted] = yield* receiver.waitFor("/order-created", 1)
      assert.deepInclude(inserted!.headers, { authorization: "Bearer t0ken", "x-from": "hasura" })
      const [changed] = yield* receiver.waitFor("/status", 1)
      assert.deepInclude(changed!.body.row, { status: "paid" })
    }).pipe(Effect.provide(layer())))

  it.live("says what is wrong with what it was given, in one line", () =>
    Effect.gen(function*() {
      const env = yield* environment
      const folder = yield* temporary
      const file = (name: string, text: string) => {
        writeFileSync(join(folder, name), text)
        return join(folder, name)
      }
      const wrong = (...args: ReadonlyArray<string>) => program(["import", "hasura", ...args], env)
      assertOneLine(yield* wrong(), 1, /has no hdb_catalog\.hdb_metadata/)
      assertOneLine(yield* wrong("--metadata", join(folder, "none")), 1, /--metadata: ENOENT/)
      assertOneLine(yield* wrong("--metadata", folder), 1, /has neither databases\/databases\.yaml nor tables\.yaml/)
      assertOneLine(yield* wrong("--metadata", file("a.json", "{")), 1, /a\.json is not JSON/)
      assertOneLine(yield* wrong("--metadata", file("b.yaml", "a: [")), 1, /b\.yaml is not YAML/)
      assertOneLine(yield* wrong("--metadata", file("c.json", "{\"x\":1}")), 1, /holds no metadata of Hasura 1 or 2/)
      const [source] = hasuraExport.metadata.sources
      const two = file(
        "two.json",
        JSON.stringify({ version: 3, sources: [source, { name: "other", kind: "mssql", tables: [] }] })
      )
      assertOneLine(yield* wrong("--metadata", two), 1, /several databases: say which with --source \(default, other\)/)
      assertOneLine(yield* wrong("--metadata", two, "--source", "other"), 1, /other is mssql, no PostgreSQL/)
      assertOneLine(yield* wrong("--metadata", two, "--source", "x"), 1, /has no database x, but default, other/)
      assertOneLine(yield* wrong("--metadata", two, "--hasura-env", join(folder, "none")), 1, /--hasura-env: ENOENT/)
      const old = file(
        "old.yaml",
        "version: 2\ntables:\n- table: orders\n  event_triggers:\n  - name: x\n    definition: 1\n"
      )
      const { code, stdout } = yield* wrong("--metadata", old)
      assert.strictEqual(code, 0)
      assert.match(stdout, /^CANNOT +an event trigger on public\.orders\n.*not written as Hasura 1 or 2 writes them/)
    }).pipe(Effect.provide(layer())))
})
