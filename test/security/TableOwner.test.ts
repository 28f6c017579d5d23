import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { withDatabase } from "../e2e/Scene.ts"
import { waitFor } from "../support/ServiceProcess.ts"
import { roleScene, type Scene, table } from "./Roles.ts"

/** A place where code of the owner's says as whom it ran. */
const trap = [
  "CREATE TABLE caught (who text, what text)",
  "GRANT ALL ON caught TO PUBLIC",
  `CREATE FUNCTION spring(what text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO public.caught VALUES (current_user, what) $$`
]

/** What of it ran with the rights of a role. */
const caughtBy = ({ admin }: Scene, role: string) =>
  Effect.map(
    admin.unsafe<{ what: string }>("SELECT DISTINCT what FROM public.caught WHERE who = $1", [role]),
    (rows) => rows.map(({ what }) => what)
  )

const delivered = ({ endpoint }: Scene, count: number) =>
  waitFor(`${count} deliveries`, Effect.sync(() => endpoint.received().length >= count))

const springing = (signature: string, returns: string, what: string, rest = "RETURN NULL;") =>
  `CREATE FUNCTION ${signature} RETURNS ${returns} LANGUAGE plpgsql AS $$ BEGIN
    PERFORM public.spring('${what}'); ${rest} END $$`

/** For the service to find in `public` instead of PostgreSQL's own: each fits the arguments of some call better. */
const shadows = [
  "json_build_object(text, bigint, text, text, text, boolean, text, text)",
  "json_build_object(text, bigint, text, name)",
  "json_build_object(text, text, text, name)",
  "json_build_object(text, name, text, text, text, boolean)",
  "json_build_object(text, name, text, text, text, text, text, boolean, text, text, text, text, text, text)",
  "format(text, name, name)",
  "format(text, name, text)",
  "to_regclass(character varying)"
]

describe("a table's owner", () => {
  it.live("runs no code of theirs as the service by a cast to json, and every change is still told of", () =>
    withDatabase(Effect.gen(function*() {
      const scene = yield* roleScene([...trap, table])
      const { admin, endpoint, owner, ownerName, process, service, writer } = scene
      for (
        const statement of [
          "CREATE TYPE mood AS ENUM ('sad', 'ok')",
          "CREATE TYPE span AS RANGE (subtype = int8)",
          "CREATE TYPE pair AS (mood mood, n int)",
          springing("pg_sequence_last_value(regclass)", "bigint", "bell", "RETURN 0;"),
          springing("pg_notify(text, text)", "void", "ring", ""),
          springing("clock_timestamp()", "timestamptz", "clock", "RETURN now();"),
          ...["mood", "span"].flatMap((type) => [
            springing(
              `${type}_json(${type})`,
              "json",
              `${type} to json`,
              `SET search_path = public, pg_catalog; RETURN '"mine"'::json;`
            ),
            `CREATE CAST (${type} AS json) WITH FUNCTION ${type}_json(${type})`
          ]),
          "ALTER TABLE orders ADD mood mood, ADD span span, ADD pair pair, ADD moods mood[]"
        ]
      ) yield* owner.unsafe(statement)
      const write = Effect.gen(function*() {
        yield* writer.unsafe(
          "INSERT INTO orders VALUES (1, 'a', 'sad', '[1,2]', row('ok', 1), '{sad}'), (2, 'b', NULL, NULL, NULL, NULL)"
        )
        yield* writer.unsafe("UPDATE orders SET mood = 'ok'")
        yield* writer.unsafe("DELETE FROM orders")
      })
      yield* write
      yield* delivered(scene, 6)
      assert.deepStrictEqual(yield* caughtBy(scene, service), [])
      // What they make of their own values is their own business.
      assert.includeMembers([...yield* caughtBy(scene, ownerName)], ["mood to json", "span to json"])
      assert.strictEqual(endpoint.received()[0]!.body.row!["mood"], "mine")

      // By triggers for each row, too.
      yield* owner.unsafe("CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
      yield* owner.unsafe("CREATE TRIGGER theirs AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION nothing()")
      yield* process.createWebhook({
        name: "rows",
        table_name: "orders",
        events: ["INSERT", "UPDATE", "DELETE"],
        url: endpoint.url
      })
      assert.isNotEmpty(yield* admin`SELECT FROM pg_proc WHERE proname ~ '^capture_[0-9]+_row$'`)
      yield* write
      yield* delivered(scene, 18)
      assert.deepStrictEqual(yield* caughtBy(scene, service), [])
    })))

  it.live("runs no code of theirs as the service by what a filter compares", () =>
    withDatabase(Effect.gen(function*() {
      const casts = [["text", "mood"], ["mood", "text"], ["int", "mood"], ["varchar", "mood"]] as const
      const scene = yield* roleScene([
        ...trap,
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad')",
        ...casts.flatMap(([from, to]) => [
          springing(`${from}_to_${to}(${from})`, to, `${from} to ${to}`),
          `CREATE CAST (${from} AS ${to}) WITH FUNCTION ${from}_to_${to}(${from}) AS IMPLICIT`
        ]),
        springing("same(mood, mood)", "boolean", "operator", "RETURN true;"),
        ...["=", "<>", "<", "<=", ">", ">="].map((name) =>
          `CREATE OPERATOR ${name} (FUNCTION = same, LEFTARG = mood, RIGHTARG = mood)`
        ),
        springing("alarm(text)", "boolean", "check", "RETURN true;"),
        "CREATE DOMAIN noisy AS text CHECK (alarm(VALUE))",
        "CREATE TABLE orders (id bigint PRIMARY KEY, mood mood, noisy noisy)"
      ], {
        columns: ["mood", "noisy"],
        filter: [
          { column: "mood", op: "eq", value: "ok" },
          { column: "mood", op: "neq", value: "sad" },
          { column: "mood", op: "in", value: ["ok", "glad"] },
          { column: "mood", op: "gt", value: "sad" },
          { column: "noisy", op: "gte", value: "a" }
        ]
      })
      const { endpoint, owner, process, service } = scene
      const preview = (value: string) =>
        process.ask("POST", "/api/webhooks/preview", {
          table_name: "orders",
          filter: [{ column: "mood", op: "lt", value }]
        })
      yield* owner.unsafe(
        "INSERT INTO orders SELECT i, (enum_range(NULL::mood))[i], 'x' FROM generate_series(1, 2) i"
      )
      yield* delivered(scene, 1)
      assert.deepStrictEqual(endpoint.received().map(({ body }) => body.row!["id"]), [2])
      assert.strictEqual((yield* preview("none")).status, 400)
      assert.strictEqual((yield* preview("glad")).status, 200)
      assert.deepStrictEqual(yield* caughtBy(scene, service), [])
    })))

  it.live("puts nothing into the place of what the service calls", () =>
    withDatabase(Effect.gen(function*() {
      const scene = yield* roleScene([
        ...trap,
        ...shadows.map((signature) => springing(signature, "json", signature)),
        table
      ])
      const { endpoint, owner, process, service, webhook } = scene
      yield* owner.unsafe("INSERT INTO orders VALUES (1, 'a')")
      yield* delivered(scene, 1)
      const path = `/api/webhooks/${webhook.id}`
      const filter = [{ column: "id", op: "gt", value: 0 }, { column: "mark", op: "changed" }]
      for (
        const [method, target, body] of [
          ["GET", "/api/tables"],
          ["GET", "/api/webhooks"],
          ["GET", `${path}/logs`],
          ["GET", `${path}/stats`],
          ["GET", `${path}/reconcile`],
          ["GET", `/api/events/${endpoint.received()[0]!.headers["webhook-id"]}`],
          ["GET", "/api/audit"],
          ["GET", "/api/keys"],
          ["GET", "/api/cluster"],
          ["POST", `${path}/replay`, {}],
          ["POST", `${path}/test`, {}],
          ["POST", "/api/webhooks/preview", { table_name: "orders", filter }],
          ["PATCH", path, { filter }]
        ] as const
      ) {
        const answer = yield* process.ask(method, target, body)
        assert.include([200, 202], answer.status, `${target} ${JSON.stringify(answer.body)}`)
      }
      assert.deepStrictEqual(yield* caughtBy(scene, service), [])
    })))

  it.live("who renames our triggers stops nobody's, and gets them mended", () =>
    withDatabase(Effect.gen(function*() {
      const { admin, endpoint, owner, process } = yield* roleScene([table, "CREATE TABLE other (id int)"])
      const trigger = Effect.map(
        admin<{ name: string }>`SELECT tgname::text AS name FROM pg_trigger t JOIN pg_proc p ON p.oid = tgfoid
          WHERE tgrelid = 'orders'::regclass AND proname ~ 'insert'`,
        (rows) => rows.map(({ name }) => name)
      )
      const rename = Effect.fnUntraced(function*(name: string) {
        yield* owner.unsafe(`ALTER TRIGGER "${(yield* trigger)[0]}" ON orders RENAME TO "${name}"`)
      })
      const create = (table_name: string) =>
        process.createWebhook({ name: "more", table_name, events: ["INSERT"], url: endpoint.url })
      const before = yield* trigger
      const overflow = "00_truss_insert_99999999999999999999"
      for (const name of [overflow, "mine", "00_truss_insert_0"]) {
        yield* rename(name)
        yield* create("other")
        // What the service does every 30 s by itself.
        yield* create("orders")
        assert.deepStrictEqual(yield* trigger, before, name)
      }
      yield* rename(overflow)
      const { body } = yield* process.ask("GET", "/api/webhooks?table=orders")
      for (const { id } of (body as { data: ReadonlyArray<{ id: string }> }).data) {
        assert.strictEqual((yield* process.ask("DELETE", `/api/webhooks/${id}`)).status, 204)
      }
      assert.deepStrictEqual(yield* trigger, [])
      // Left behind by whoever else: the start of a service looks at all of them.
      yield* create("orders")
      yield* rename(overflow)
      yield* process.stop
      assert.notInclude(process.output(), "out of range")
    })))

  it.live("with hostile names and values gets what they wrote, and nobody else anything", () =>
    withDatabase(Effect.gen(function*() {
      const name = `"; DROP TABLE truss.webhooks; --' \\ $$ %s {0}`
      const hostile = `"${name.replaceAll("\"", "\"\"")}"`
      const label = `'; SELECT 1; --"\\`
      const target = `${hostile}.${hostile}`
      const scene = yield* roleScene([
        `CREATE SCHEMA ${hostile}`,
        `CREATE TYPE ${hostile}.label AS ENUM ('a', '${label.replaceAll("'", "''")}', 'z')`,
        `CREATE TYPE ${hostile}.pair AS (a int, ${hostile} text)`,
        `CREATE TABLE ${target} (${hostile} int PRIMARY KEY, t ${hostile}.label, "NEW" ${hostile}.pair,
          "row" text, "__proto__" text, truss_new text, stored text GENERATED ALWAYS AS ('made') STORED)`,
        table
      ])
      const { endpoint, owner, process, service } = scene
      yield* owner.unsafe(`GRANT USAGE ON SCHEMA ${hostile} TO ${service}`)
      const created = yield* process.ask("POST", "/api/webhooks", {
        name: "hostile",
        table_schema: name,
        table_name: name,
        events: ["INSERT", "UPDATE", "DELETE", "TRUNCATE"],
        url: endpoint.url,
        ordering: "row",
        columns: [name, "t", "__proto__"],
        filter: [
          { column: name, op: "gte", value: 0 },
          { column: "t", op: "in", value: [label] },
          { column: "t", op: "lt", value: "z" },
          { column: "row", op: "neq", value: "\\'; --" },
          { column: "NEW", op: "neq", value: "{}'; --" }
        ]
      })
      assert.strictEqual(created.status, 201, JSON.stringify(created.body))
      yield* owner.unsafe(
        `INSERT INTO ${target} (${hostile}, t, "NEW", "row", "__proto__") VALUES (1, $1::text::${hostile}.label, (1, 'x'),
          '\\''', 'p')`,
        [label]
      )
      yield* owner.unsafe(`UPDATE ${target} SET "__proto__" = 'q'`)
      yield* owner.unsafe(`DELETE FROM ${target}`)
      yield* owner.unsafe(`TRUNCATE ${target}`)
      yield* delivered(scene, 4)
      const [first] = endpoint.received()
      assert.strictEqual(first!.body.table, name)
      assert.deepInclude(first!.body.row, { [name]: 1, t: label, row: "\\'", stored: "made" })
      assert.strictEqual(Object.getOwnPropertyDescriptor(first!.body.row!, "__proto__")?.value, "p")
    })))

  it.live("hides no change by row security or a replication role", () =>
    withDatabase(Effect.gen(function*() {
      const scene = yield* roleScene([
        table,
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "CREATE POLICY insert_only ON orders FOR INSERT WITH CHECK (true)"
      ])
      const { owner, writer } = scene
      yield* writer.unsafe("INSERT INTO orders VALUES (1, 'unseen')")
      assert.deepStrictEqual(yield* writer.unsafe("SELECT * FROM orders"), [])
      for (const connection of [owner, writer]) {
        const refused = yield* Effect.flip(connection.unsafe("SET session_replication_role = replica"))
        assert.strictEqual(refused.reason._tag, "AuthorizationError")
      }
      yield* delivered(scene, 1)
    })))
})
