import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { withDatabase } from "../e2e/Scene.ts"
import { connect } from "../e2e/Workload.ts"
import { startService, waitFor } from "../support/ServiceProcess.ts"
import { stateOf } from "./Attack.ts"
import { makeRoles, roleScene, type Scene } from "./Roles.ts"

const delivered = ({ endpoint }: Scene, count: number) =>
  waitFor(`${count} deliveries`, Effect.sync(() => endpoint.received().length >= count))

describe("a role that may only write to a watched table", () => {
  it.live("reads, writes, calls and makes nothing in the schema truss, by name or by number", () =>
    withDatabase(Effect.gen(function*() {
      const scene = yield* roleScene()
      const { admin, writer } = scene
      yield* writer.unsafe("INSERT INTO orders VALUES (1, 'a')")
      // Written after the request was answered.
      yield* waitFor("the log", Effect.map(admin`SELECT FROM truss.attempts`, (rows) => rows.length === 1))
      const before = yield* stateOf(admin)
      const relations = yield* admin.unsafe<{ name: string; oid: string; kind: string }>(
        `SELECT relname::text AS name, oid::text, relkind::text AS kind FROM pg_class
        WHERE relnamespace = 'truss'::regnamespace AND relkind IN ('r', 'p', 'S')`
      )
      const functions = yield* admin.unsafe<{ name: string; oid: string }>(
        "SELECT proname::text AS name, oid::text FROM pg_proc WHERE pronamespace = 'truss'::regnamespace"
      )
      const attempts: Array<string> = [
        "SET search_path = truss; SELECT * FROM webhooks",
        "CREATE TABLE truss.mine (id int)",
        "CREATE TABLE mine (id int)",
        "CREATE FUNCTION truss.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TEMP TABLE mine (w uuid REFERENCES truss.webhooks)",
        "CREATE TEMP TABLE mine (LIKE truss.webhooks)",
        "CREATE TEMP TABLE mine () INHERITS (truss.webhooks)",
        "CREATE TEMP VIEW mine AS SELECT * FROM truss.webhooks",
        "CREATE TEMP TABLE mine (e truss.event_type)",
        "ALTER TABLE truss.webhooks OWNER TO CURRENT_USER",
        "ALTER SCHEMA truss RENAME TO mine",
        "GRANT USAGE ON SCHEMA truss TO CURRENT_USER",
        "DROP SCHEMA truss CASCADE",
        "SET ROLE truss",
        "SET SESSION AUTHORIZATION postgres",
        "SELECT pg_read_file('postgresql.conf')",
        "COPY truss.webhooks TO STDOUT",
        "COPY (SELECT * FROM truss.webhooks) TO STDOUT",
        "SELECT query_to_xml('SELECT * FROM truss.webhooks', true, true, '')",
        "SELECT table_to_xml('truss.webhooks', true, true, '')",
        "SELECT schema_to_xml('truss', true, true, '')",
        "SELECT ts_stat('SELECT secret FROM truss.webhooks')",
        "TABLE truss.events",
        "LOCK TABLE truss.tables IN SHARE UPDATE EXCLUSIVE MODE",
        "COMMENT ON TABLE truss.webhooks IS 'x'",
        "DROP TRIGGER \"00_truss_insert_1\" ON orders",
        "ALTER TABLE orders DISABLE TRIGGER ALL",
        "ALTER FUNCTION truss.capture_1_insert() SET search_path = public",
        "EXPLAIN ANALYZE SELECT * FROM truss.webhooks",
        "DO $$ BEGIN PERFORM * FROM truss.webhooks; END $$",
        "INSERT INTO truss.events (created_at, table_id, slot, event_type, body) VALUES (now(), 1, 1, 'INSERT', '{}')",
        ...relations.flatMap(({ kind, name, oid }) => [
          `SELECT * FROM truss."${name}"`,
          `DELETE FROM truss."${name}"`,
          `SELECT t FROM truss."${name}" t`,
          ...(kind === "S" ? [`SELECT setval(${oid}::oid::regclass, 9)`, `SELECT nextval(${oid}::oid::regclass)`] : [
            `SELECT table_to_xml(${oid}::oid::regclass, true, true, '')`
          ])
        ]),
        ...functions.map(({ name }) => `SELECT truss."${name}"('{}', '{}')`),
        ...functions.map(({ name }) => `SELECT truss."${name}"()`),
        ...functions.map(({ name }) => `SELECT truss."${name}"(row(1))`)
      ]
      for (const attempt of attempts) {
        const result = yield* Effect.result(writer.unsafe(attempt))
        assert.isTrue(Result.isFailure(result), attempt)
      }
      assert.isAbove(attempts.length, 60)
      assert.deepStrictEqual(yield* stateOf(admin), before)
    })))

  it.live("puts nothing of its session into the place of what a capture calls, and changes no byte of a body", () =>
    withDatabase(Effect.gen(function*() {
      const scene = yield* roleScene([
        "CREATE TABLE orders (id bigint PRIMARY KEY, mark text, at timestamptz, amount float8)"
      ])
      const { writer } = scene
      for (
        const statement of [
          "CREATE TEMP TABLE truss_new (id int, mark text)",
          "CREATE TEMP TABLE pg_proc (id int)",
          "CREATE TYPE pg_temp.json AS (x int)",
          "CREATE TYPE pg_temp.text AS ENUM ('x')",
          "CREATE DOMAIN pg_temp.regclass AS int",
          "CREATE FUNCTION pg_temp.row_to_json(record) RETURNS json LANGUAGE sql AS $$ SELECT '{}'::pg_catalog.json $$",
          "CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$",
          "CREATE FUNCTION pg_temp.pg_notify(pg_catalog.text, pg_catalog.text) RETURNS void LANGUAGE sql AS $$ SELECT $$",
          "SET search_path = pg_temp, public, pg_catalog",
          "SET standard_conforming_strings = off",
          "SET escape_string_warning = off",
          "SET DateStyle = 'German, DMY'",
          "SET TimeZone = 'Asia/Kathmandu'",
          "SET extra_float_digits = -15",
          "SET plpgsql.extra_errors = 'all'",
          "SET quote_all_identifiers = on",
          "SET transform_null_equals = on",
          "SET row_security = off",
          "SET default_transaction_isolation = serializable"
        ]
      ) {
        // What a role may not even try is no attack.
        yield* Effect.ignore(writer.unsafe(statement))
      }
      yield* writer.unsafe(
        `INSERT INTO public.orders VALUES (1, $1, '2025-01-02 03:04:05+00', 0.1)`,
        ["a\\'b"]
      )
      yield* delivered(scene, 1)
      const { text } = scene.endpoint.received()[0]!
      assert.match(
        text,
        /^\{"event":"INSERT","schema":"public","table":"orders","row":\{"id":1,"mark":"a\\\\'b","at":"2025-01-02T03:04:05\+00:00","amount":0\.1\},"old_row":null,"timestamp":"20\d\d-[\d-]*T[\d:.]*Z"\}$/
      )
    })))

  it.live("by a flood of forged notifications makes no delivery, loses none and delays none for long", () =>
    withDatabase(Effect.gen(function*() {
      const scene = yield* roleScene()
      const { endpoint, process, webhook, writer } = scene
      const forged = [
        "",
        " ",
        "1 INSERT",
        "-1 INSERT",
        "NaN DELETE",
        "1e999 UPDATE",
        "99999999999999999999 INSERT",
        "__proto__ INSERT",
        "1 __proto__",
        `webhook ${webhook.id}`,
        "webhook 00000000-0000-0000-0000-000000000000",
        "webhook '; DROP TABLE truss.webhooks",
        "probe 1",
        "x".repeat(7_900)
      ]
      for (let round = 0; round < 5; round++) {
        for (const payload of forged) {
          yield* writer.unsafe("SELECT pg_notify('truss', $1 || repeat(' ', i % 50)) FROM generate_series(1, 300) i", [
            payload.slice(0, 7_900)
          ])
        }
        yield* writer.unsafe(`INSERT INTO orders VALUES (${round}, 'm')`)
      }
      yield* delivered(scene, 5)
      assert.lengthOf(endpoint.received(), 5)
      assert.strictEqual((yield* process.ask("GET", "/health/ready")).status, 200)
      assert.notInclude(process.output(), "\"level\":\"ERROR\"")
    })))

  it.live("by keeping every advisory lock keeps nobody from changing a webhook", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, process, webhook, writer } = yield* roleScene()
      for (const name of ["capture", "migrations", "origin", "encryption_keys"]) {
        yield* writer.unsafe(`SELECT pg_advisory_lock(hashtext('truss.${name}'))`)
      }
      const { status } = yield* process.ask("PATCH", `/api/webhooks/${webhook.id}`, { events: ["DELETE"] })
      assert.strictEqual(status, 200)
      yield* process.createWebhook({ name: "more", table_name: "orders", events: ["INSERT"], url: endpoint.url })
      assert.strictEqual((yield* process.ask("DELETE", `/api/webhooks/${webhook.id}`)).status, 204)
    })))

  it.live("hides no value in a log of the database: nothing of a webhook is in an error that writers see", () =>
    withDatabase(Effect.gen(function*() {
      const { serviceUrl, writer } = yield* roleScene(undefined, { secret: "a-secret-of-the-webhook" })
      const failed = yield* Effect.flip(writer.unsafe("INSERT INTO orders VALUES (1, 'a'), (1, 'b')"))
      assert.notInclude(JSON.stringify(failed), "a-secret")
      // Nor in what other sessions are doing.
      const service = yield* connect(serviceUrl, 1)
      yield* service.unsafe("SELECT 'a-secret-of-the-session'")
      const seen = yield* writer.unsafe("SELECT query FROM pg_stat_activity WHERE usename <> current_user")
      assert.notInclude(JSON.stringify(seen), "a-secret")
    })))
})

describe("a schema truss that another role made first", () => {
  it.live("is not taken into use", () =>
    withDatabase(Effect.gen(function*() {
      const { admin, owner, serviceUrl } = yield* makeRoles
      yield* owner.unsafe("CREATE SCHEMA truss")
      yield* owner.unsafe("GRANT ALL ON SCHEMA truss TO PUBLIC")
      const process = yield* startService(serviceUrl)
      const { code } = yield* process.ended
      assert.strictEqual(code, 1)
      assert.match(process.output(), /the schema truss belongs to owner_/)
      assert.isEmpty(yield* admin`SELECT FROM pg_class WHERE relnamespace = 'truss'::regnamespace`)
    })))
})
