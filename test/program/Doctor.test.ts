import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { randomBytes } from "node:crypto"
import { existsSync } from "node:fs"
import { connect } from "node:net"
import { diagnose } from "../../src/cli/Doctor.ts"
import { CommandFailed } from "../../src/cli/Failure.ts"
import type { Finding } from "../../src/domain/Finding.ts"
import { layerDatabase } from "../../src/services/Database.ts"
import { Partitions } from "../../src/services/Partitions.ts"
import { checkClock, checkSkew, checkTransactions, checkVersion } from "../../src/services/ServerChecks.ts"
import { Settings } from "../../src/services/Settings.ts"
import { TestDatabase } from "../support/Database.ts"
import { installed } from "../support/Installed.ts"
import { hasPgBouncer, pgBouncer } from "../support/PgBouncer.ts"
import { listen, run as program, temporary, withDatabase } from "../support/Program.ts"
import { Receiver } from "../support/Receiver.ts"
import { layerInstalled, run, RunningService, until } from "../support/RunningService.ts"
import { startService } from "../support/ServiceProcess.ts"
import { systemBinaries, systemPostgres } from "../support/SystemPostgres.ts"
import { watched } from "../support/Watched.ts"

/** What the command finds with these settings. */
const doctor = (env: Readonly<Record<string, string>>) =>
  Settings.read().pipe(
    Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(env))),
    Effect.flatMap(diagnose)
  )

const here = Effect.flatMap(TestDatabase, ({ url }) => doctor({ DATABASE_URL: url }))

const of = (check: string, findings: ReadonlyArray<Finding>) => findings.filter((finding) => finding.check === check)

/** The check fails, with this in what it found and that in what it says to do. */
const assertFails = (findings: ReadonlyArray<Finding>, check: string, detail: RegExp, todo: RegExp) => {
  const failed = of(check, findings).filter(({ status }) => status === "fail")
  const found = failed.find((finding) => detail.test(finding.detail))
  assert(found !== undefined, JSON.stringify(findings, null, 1))
  assert.match(found.todo ?? "", todo)
}

const assertWell = (findings: ReadonlyArray<Finding>) =>
  assert.deepStrictEqual(findings.filter(({ status }) => status === "fail"), [])

const exec = (url: string, ...statements: ReadonlyArray<string>) =>
  Effect.flatMap(
    PgClient.PgClient,
    (sql) => Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
  ).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })))

/** A role of the database that may do nothing yet: its name, and the url to log in with. */
const withRole = <A, E, R>(url: string, use: (role: string, login: string) => Effect.Effect<A, E, R>) => {
  const role = `doctor_${randomBytes(6).toString("hex")}`
  const login = new URL(url)
  login.username = role
  login.password = "secret"
  return Effect.acquireUseRelease(
    exec(url, `CREATE ROLE ${role} LOGIN PASSWORD 'secret'`),
    () => use(role, login.href),
    () => Effect.orDie(exec(url, `DROP OWNED BY ${role}`, `DROP ROLE ${role}`))
  )
}

const withInstalled = <A, E, R>(test: Effect.Effect<A, E, R>) => Effect.provide(test, Layer.fresh(layerInstalled()))

describe("doctor, as a program", () => {
  it.live("finds nothing wrong with a fresh database, changes nothing, and exits with 0", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        const text = yield* program(["doctor"], { DATABASE_URL })
        assert.strictEqual(text.code, 0, text.stdout + text.stderr)
        assert.strictEqual(text.stderr, "")
        const lines = text.stdout.trimEnd().split("\n")
        for (const line of lines) assert.match(line, /^(ok|note|-) +[a-z- ]+: ./)
        assert.match(text.stdout, /^ok +version: PostgreSQL \d+/m)
        assert.match(text.stdout, /^note +schema: the schema truss is not there yet → /m)
      })
    ))

  it.live("says in one JSON document what is wrong, and exits with 1", () =>
    withDatabase((url) =>
      Effect.gen(function*() {
        const wrong = new URL(url)
        wrong.password = "hunter2"
        const ended = yield* program(["doctor", "--json"], { DATABASE_URL: wrong.href })
        assert.strictEqual(ended.code, 1)
        assert.strictEqual(ended.stderr, "truss-webhooks: 1 check failed\n")
        const { checks, ok } = JSON.parse(ended.stdout)
        assert.strictEqual(ok, false)
        assert.strictEqual(checks.length, 1)
        assert.strictEqual(checks[0].check, "connection")
        assert.strictEqual(checks[0].status, "fail")
        assert.match(checks[0].detail, /password authentication failed/)
        assert.match(checks[0].todo, /password in DATABASE_URL/)
        assert.notInclude(ended.stdout, "hunter2")
      })
    ))

  const libfaketime = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
  it.live.skipIf(!existsSync(libfaketime))(
    "finds a clock that is a minute off (needs Debian's faketime)",
    () =>
      withDatabase((DATABASE_URL) =>
        Effect.gen(function*() {
          const off = { LD_PRELOAD: libfaketime, FAKETIME_DONT_FAKE_MONOTONIC: "1" }
          const ahead = yield* program(["doctor"], { DATABASE_URL, ...off, FAKETIME: "+60s" })
          assert.strictEqual(ahead.code, 1)
          assert.match(ahead.stdout, /^FAIL +clock: this machine's clock is (59|60) seconds ahead of .* → .*NTP/m)
          const behind = yield* program(["doctor"], { DATABASE_URL, ...off, FAKETIME: "-60s" })
          assert.match(behind.stdout, /^FAIL +clock: this machine's clock is 6\d seconds behind .* → .*NTP/m)
        })
      )
  )
})

describe("doctor, on the way to the database", () => {
  it.live("finds a database that is not there, and a server that does not answer", () =>
    withDatabase((url) =>
      Effect.gen(function*() {
        const missing = new URL(url)
        missing.pathname = "/no_such_database"
        assertFails(
          yield* doctor({ DATABASE_URL: missing.href }),
          "connection",
          /no_such_database/,
          /create that database/
        )
        const nowhere = "postgres://app:hunter2@127.0.0.1:1/app"
        assertFails(
          yield* doctor({ DATABASE_URL: nowhere }),
          "connection",
          /127\.0\.0\.1:1 does not answer/,
          /see that it runs/
        )
      })
    ))

  it.live("does not make a database to look into", () =>
    Effect.gen(function*() {
      const TRUSS_DATA_DIR = yield* temporary
      const error = yield* Effect.flip(doctor({ TRUSS_DATA_DIR }))
      assert(error instanceof CommandFailed)
      assert.match(error.lines.join(), /DATABASE_URL is not set/)
    }))

  it.live.skipIf(!hasPgBouncer)(
    "finds a transaction pooler: startup parameters, statements, LISTEN (needs pgbouncer)",
    () =>
      withDatabase((url) =>
        Effect.gen(function*() {
          const strict = yield* pgBouncer(url)
          assertWell(yield* doctor({ DATABASE_URL: strict, DATABASE_PREPARE: "false", TRUSS_LISTEN: "off" }))
          yield* exec(url, "GRANT CREATE ON SCHEMA public TO PUBLIC")
          assertFails(
            yield* doctor({ DATABASE_URL: strict }),
            "connection",
            /unsupported startup parameter/,
            /ignore_startup_parameters/
          )
          const DATABASE_URL = yield* pgBouncer(url, [
            "ignore_startup_parameters = enable_seqscan, enable_bitmapscan, jit, search_path"
          ])
          const found = yield* doctor({ DATABASE_URL })
          assertFails(found, "prepared statements", /does not keep them/, /DATABASE_PREPARE=false/)
          const careful = { DATABASE_URL, DATABASE_PREPARE: "false" }
          const listening = yield* doctor(careful)
          assert.strictEqual(of("prepared statements", listening)[0]?.status, "ok")
          assertFails(
            listening,
            "notifications",
            /do not come through DATABASE_URL/,
            /DATABASE_LISTEN_URL .* TRUSS_LISTEN=off/
          )
          assertWell(yield* doctor({ ...careful, DATABASE_LISTEN_URL: url }))
          assertWell(yield* doctor({ ...careful, TRUSS_LISTEN: "off" }))
        })
      )
  )

  it.live("finds a DATABASE_LISTEN_URL that leads elsewhere, or nowhere", () =>
    withDatabase((DATABASE_URL) =>
      withDatabase((other) =>
        Effect.gen(function*() {
          const elsewhere = yield* doctor({ DATABASE_URL, DATABASE_LISTEN_URL: other })
          assertFails(elsewhere, "listen connection", /another database/, /the same server and database/)
          const nowhere = yield* doctor({ DATABASE_URL, DATABASE_LISTEN_URL: "postgres://app@127.0.0.1:1/app" })
          assertFails(nowhere, "listen connection", /DATABASE_LISTEN_URL: /, /correct it/)
        })
      )
    ))

  it.live("finds an old server, by what it says on the wire", () =>
    withDatabase((url) =>
      Effect.gen(function*() {
        // A server of today, whose `server_version_num` is changed on its way.
        const [row] = yield* Effect.flatMap(
          PgClient.PgClient,
          (sql) => sql<{ version: number }>`SELECT current_setting('server_version_num')::int AS version`
        ).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(url) })))
        const integer = (value: number) => {
          const bytes = Buffer.alloc(4)
          bytes.writeInt32BE(value)
          return bytes.toString("latin1")
        }
        const old = (chunk: Buffer) =>
          Buffer.from(chunk.toString("latin1").replaceAll(integer(row!.version), integer(130014)), "latin1")
        const server = new URL(url)
        const { port } = yield* listen(0, (socket) => {
          const upstream = connect(Number(server.port), server.hostname)
          upstream.on("data", (chunk) => socket.write(old(Buffer.from(chunk))))
          socket.on("error", () => upstream.destroy())
          socket.on("close", () => upstream.destroy())
          upstream.on("error", () => socket.destroy())
          socket.pipe(upstream)
        })
        const changed = new URL(url)
        changed.port = String(port)
        const found = yield* doctor({ DATABASE_URL: changed.href })
        assertFails(found, "version", /is too old/, /PostgreSQL 14 or newer/)
      })
    ))

  const old = systemBinaries((major) => major < 14)
  it.live.skipIf(old === undefined)(
    "finds an old server (needs a PostgreSQL of the system older than 14)",
    () =>
      Effect.gen(function*() {
        const { url } = yield* systemPostgres(old!)
        assertFails(
          yield* doctor({ DATABASE_URL: url }),
          "version",
          /PostgreSQL 1[0-3].* is too old/,
          /PostgreSQL 14 or newer/
        )
      })
  )

  it("knows which servers are too old", () => {
    const facts = { name: "", database: "", role: "" }
    assert.strictEqual(checkVersion({ ...facts, version: 130023 }).status, "fail")
    assert.strictEqual(checkVersion({ ...facts, version: 140000 }).status, "ok")
  })

  it("allows a clock what the way to the database may have taken", () => {
    assert.strictEqual(checkSkew(1_000_000, 1_080_000, 1_020_000).status, "ok")
    assert.strictEqual(checkSkew(1_060_000, 1_060_100, 1_000_000).status, "fail")
    assert.strictEqual(checkSkew(1_000_000, 1_000_100, 1_060_000).status, "fail")
  })

  it.effect("finds a clock that is a minute off", () =>
    Effect.gen(function*() {
      const { url } = yield* TestDatabase
      const ask = Effect.provide(checkClock, Layer.fresh(layerDatabase({ url: Redacted.make(url) })))
      yield* TestClock.setTime(Date.now())
      assert.strictEqual((yield* ask)[0]?.status, "ok")
      yield* TestClock.setTime(Date.now() + 61_000)
      assertFails(yield* ask, "clock", /6\d seconds ahead of/, /NTP/)
    }).pipe(Effect.provide(Layer.fresh(TestDatabase.layerUrl))))
})

describe("doctor, in the database", () => {
  it.live("finds a role that may not make the schema, and one that owns no table", () =>
    withDatabase((url) =>
      withRole(url, (_, DATABASE_URL) =>
        Effect.gen(function*() {
          yield* exec(url, "CREATE TABLE orders (id int PRIMARY KEY)")
          const fresh = yield* doctor({ DATABASE_URL })
          assertFails(fresh, "privileges", /may not make the schema/, /GRANT CREATE ON DATABASE/)
          assertFails(fresh, "privileges", /owns none of the tables here \(public\.orders of /, /GRANT ".*" TO/)
          yield* program(["migrate"], { DATABASE_URL: url })
          assertFails(yield* doctor({ DATABASE_URL }), "privileges", /belong to the role/, /connect as /)
        }))
    ))

  it.live("finds a table on which the role may make no triggers, which cannot be watched", () =>
    withDatabase((url) =>
      withRole(url, (role, DATABASE_URL) =>
        Effect.gen(function*() {
          const name = new URL(url).pathname.slice(1)
          yield* exec(url, `GRANT CREATE ON DATABASE ${name} TO ${role}`, `CREATE SCHEMA shop AUTHORIZATION ${role}`)
          yield* exec(DATABASE_URL, "CREATE TABLE shop.orders (id int PRIMARY KEY)")
          assertWell(yield* doctor({ DATABASE_URL }))
          yield* exec(DATABASE_URL, `REVOKE TRIGGER ON shop.orders FROM ${role}`)
          const service = yield* startService(DATABASE_URL)
          yield* service.ready()
          const { body, status } = yield* service.ask("POST", "/api/webhooks", {
            name: "orders",
            table_schema: "shop",
            table_name: "orders",
            events: ["INSERT"],
            url: "http://127.0.0.1:1/"
          })
          assert.strictEqual(status, 422)
          assert.match((body as { detail: string }).detail, /TRIGGER on shop\.orders was revoked \(GRANT TRIGGER/)
          const tables = yield* service.ask("GET", "/api/tables")
          const [table] = (tables.body as { data: ReadonlyArray<{ watchable: boolean; reason: string }> }).data
          assert.strictEqual(table?.watchable, false)
          assert.match(table!.reason, /GRANT TRIGGER/)
          assertFails(
            yield* doctor({ DATABASE_URL }),
            "privileges",
            /no privilege TRIGGER on 1 of its own tables \(shop\.orders\)/,
            /GRANT TRIGGER ON shop\.orders TO "/
          )
          yield* service.stop
        }).pipe(Effect.scoped))
    ))

  it.live("finds a watched table whose owner is another role", () =>
    withInstalled(Effect.gen(function*() {
      const { url } = yield* TestDatabase
      yield* installed("orders")
      assertWell((yield* here).filter(({ check }) => check !== "service"))
      yield* withRole(url, (role, DATABASE_URL) =>
        Effect.gen(function*() {
          yield* exec(
            url,
            `GRANT USAGE, CREATE ON SCHEMA truss TO ${role}`,
            `GRANT SELECT ON ALL TABLES IN SCHEMA truss TO ${role}`
          )
          assertFails(yield* doctor({ DATABASE_URL }), "privileges", /orders belongs to the role .*GRANT/, /./)
        }))
    })))

  it.live("finds triggers that are missing or disabled, a partition's own too", () =>
    withInstalled(Effect.gen(function*() {
      yield* installed("orders")
      yield* run("ALTER TABLE orders DISABLE TRIGGER ALL")
      assertFails(
        yield* here,
        "triggers",
        /public\.orders: trigger 00_truss_\w+ is disabled, and 3 more/,
        /within 30 s/
      )
      yield* run("ALTER TABLE orders ENABLE TRIGGER ALL", "DROP TRIGGER \"00_truss_update_1\" ON orders")
      assertFails(yield* here, "triggers", /public\.orders: trigger 00_truss_update_1 is missing/, /within 30 s/)
      yield* run("DROP TABLE orders")
      assertFails(yield* here, "triggers", /there is no table public\.orders/, /delete its webhooks/)

      yield* run(
        "CREATE TABLE parted (id int PRIMARY KEY, note text) PARTITION BY RANGE (id)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)",
        "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER own AFTER INSERT ON parted FOR EACH ROW EXECUTE FUNCTION noted()"
      )
      yield* installed("parted")
      yield* run("ALTER TABLE parted_1 DISABLE TRIGGER USER")
      assertFails(yield* here, "triggers", /parted_1: trigger 00_truss_\w+ is disabled/, /ENABLE TRIGGER/)
    })))

  it.live("finds a role whose writes fire no triggers", () =>
    withInstalled(Effect.gen(function*() {
      const { url } = yield* TestDatabase
      const name = new URL(url).pathname.slice(1)
      yield* run(`ALTER DATABASE ${name} SET session_replication_role = replica`)
      assertFails(yield* here, "replica role", /every role in the database .*is not captured/, /reset it/)
    })))

  it.live("finds events past their retention, and whom they wait for", () =>
    withInstalled(Effect.gen(function*() {
      yield* installed("orders")
      yield* run("INSERT INTO orders VALUES (1)")
      yield* (yield* Partitions).open
      assertWell(of("retention", yield* here))
      yield* run("UPDATE truss.slots SET opened_at = now() - (12 - slot) * interval '1 day'")
      const kept = yield* here
      assertFails(kept, "retention", /partition 1 is 3 days past its retention of 7 days: "orders" still has/, /pause/)
      assertFails(kept, "retention", /no partition was opened for 10 days/, /start the service/)
      yield* run("DELETE FROM truss.events", "UPDATE truss.slots SET closed_xid = '1' WHERE slot = 1")
      assertFails(yield* here, "retention", /no webhook needs it/, /within 10 minutes/)
    })))

  it.live("finds a schema that is older or newer than the program", () =>
    withInstalled(Effect.gen(function*() {
      yield* run(
        "UPDATE truss.migrations SET migration_id = 1000 WHERE migration_id = (SELECT max(migration_id) FROM truss.migrations)"
      )
      assertFails(yield* here, "schema", /version 1000, and this program knows/, /newer version/)
      yield* run("DELETE FROM truss.migrations WHERE migration_id = 1000")
      assertFails(yield* here, "schema", /and this program needs/, /truss-webhooks migrate/)
    })))

  it.live("finds a backlog, and that nobody delivers", () =>
    withInstalled(Effect.gen(function*() {
      yield* installed("orders")
      yield* run("INSERT INTO orders VALUES (1), (2)")
      yield* run("UPDATE truss.events SET created_at = now() - interval '11 minutes'")
      const found = yield* here
      assertFails(found, "backlog", /"orders" \(.*\): 2 events wait, the oldest for 11 minutes/, /the service runs/)
      assertFails(found, "service", /no process delivers, and 1 webhook is active/, /start the service/)
    })))

  it.live("finds transactions that have been open for long, and prepared ones that were forgotten", () =>
    withDatabase((url) =>
      Effect.gen(function*() {
        const layer = Layer.fresh(layerDatabase({ url: Redacted.make(url) }))
        const asked = Effect.provide(checkTransactions(0), layer)
        yield* exec(url, "CREATE TABLE orders (id int)")
        yield* Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          yield* sql.withTransaction(Effect.gen(function*() {
            yield* sql`INSERT INTO orders VALUES (1)`
            assertFails(yield* asked, "long transactions", /^session \d+ of \w+/, /pg_terminate_backend/)
          }))
          yield* sql.withTransaction(Effect.andThen(
            sql`INSERT INTO orders VALUES (1)`,
            sql`PREPARE TRANSACTION 'forgotten'`
          ))
          assertFails(
            yield* asked,
            "long transactions",
            /^prepared transaction 'forgotten'/,
            /ROLLBACK PREPARED 'forgotten'/
          )
          yield* sql`ROLLBACK PREPARED 'forgotten'`
        }).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })))
      })
    ))
})

describe("doctor, beside a service", () => {
  it.live("finds nothing wrong where all is well, then a circuit that is open, and a webhook that is gone", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      yield* watched("orders")
      yield* run("INSERT INTO orders VALUES (0)")
      yield* receiver.waitFor("/orders", 1)
      assertWell(yield* until("a leader", here, (found) => of("service", found)[0]?.status === "ok"))

      receiver.respond("/orders", () => ({ status: 503 }))
      yield* run("INSERT INTO orders SELECT generate_series(1, 10)")
      const found = yield* until("an open circuit", here, (found) => of("circuits", found)[0]?.status === "fail")
      assertFails(found, "circuits", /"orders" \(.*\) is open: 10 attempts failed .*last answered 503/, /see its log/)

      yield* watched("leavers")
      receiver.respond("/leavers", () => ({ status: 410 }))
      yield* run("INSERT INTO leavers VALUES (1)")
      const gone = yield* until("a gone webhook", here, (found) => of("disabled webhooks", found)[0]?.status === "fail")
      assertFails(gone, "disabled webhooks", /"leavers" .*410 Gone/, /recover/)
    }).pipe(Effect.provide(Layer.fresh(Layer.merge(RunningService.layer(), Receiver.layer)))))

  it.live("finds a service that is frozen", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        const service = yield* startService(DATABASE_URL)
        yield* service.ready("notify")
        yield* service.signal("SIGSTOP")
        const ask = doctor({ DATABASE_URL })
        const found = yield* until("silence", ask, (found) => of("service", found)[0]?.status === "fail", 60_000)
        assertFails(found, "service", /has said nothing for \d+ seconds/, /frozen/)
        yield* service.signal("SIGCONT")
        yield* service.stop
      })
    ))
})
