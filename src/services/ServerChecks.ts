/** What `doctor` asks of the server and of the way to it, whatever is installed there. */
import { PgClient } from "@effect/sql-pg"
import { Clock, Effect, Queue } from "effect"
import type { SqlError } from "effect/sql"
import { randomBytes } from "node:crypto"
import { fail, type Finding, note, ok, spoken } from "../domain/Finding.ts"
import { ListenClient, reasonOf } from "./Database.ts"
import { oldestServer } from "./Migrations.ts"

/** The findings of one check. */
export type Check<R = PgClient.PgClient> = Effect.Effect<ReadonlyArray<Finding>, SqlError.SqlError, R>

/** What the server says of itself. */
export interface ServerFacts {
  /** `server_version_num`. */
  readonly version: number
  /** `server_version`. */
  readonly name: string
  readonly database: string
  readonly role: string
}

export const readServer = Effect.flatMap(PgClient.PgClient, (sql) =>
  Effect.map(
    sql<ServerFacts>`
      SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS name,
        current_database()::text AS database, current_user::text AS role`,
    (rows) => rows[0]!
  ))

/** Whether the server is new enough. */
export const checkVersion = ({ name, version }: ServerFacts): Finding =>
  version >= oldestServer
    ? ok("version", `PostgreSQL ${name}`)
    : fail("version", `PostgreSQL ${name} is too old`, "upgrade the server to PostgreSQL 14 or newer")

/** Clocks further apart make signatures look old or early, and retries come at the wrong time. */
const allowedSkewMs = 15_000

/** Of clocks: ours when it was asked and answered, the database's between those, in milliseconds since 1970. */
export const checkSkew = (asked: number, answered: number, theirs: number): Finding => {
  const skew = Math.max(asked - theirs, Math.min(answered - theirs, 0))
  const seconds = Math.round(Math.abs(skew) / 1000)
  return Math.abs(skew) <= allowedSkewMs
    ? ok("clock", `this machine and the database agree${seconds === 0 ? "" : ` to ${seconds} s`}`)
    : fail(
      "clock",
      `this machine's clock is ${spoken(seconds)} ${skew > 0 ? "ahead of" : "behind"} the database's`,
      "synchronise both by NTP (timedatectl set-ntp true): receivers refuse signatures from another time, and retries " +
        "come too early or too late"
    )
}

export const checkClock: Check = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const asked = yield* Clock.currentTimeMillis
  const [row] = yield* sql<{ now: number }>`SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now`
  return [checkSkew(asked, yield* Clock.currentTimeMillis, row!.now)]
})

const numbered = "SELECT $1::int4 AS number"

/** Prepares a statement on one connection, lets another take a pooler's session, and uses it inside a transaction. */
export const checkPrepared = (prepare: boolean): Check =>
  Effect.gen(function*() {
    const check = "prepared statements"
    if (!prepare) return [ok(check, "not used: DATABASE_PREPARE=false")]
    const sql = yield* PgClient.PgClient
    const attempt = Effect.scoped(Effect.gen(function*() {
      const one = yield* sql.reserve
      const other = yield* sql.reserve
      const end = Effect.forEach([one, other], (connection) =>
        Effect.ignore(connection.executeUnprepared("ROLLBACK", [], undefined)))
      yield* Effect.addFinalizer(() =>
        end
      )
      for (let round = 0; round < 3; round++) {
        yield* one.execute(numbered, [round], undefined)
        for (const connection of [other, one]) {
          yield* connection.executeUnprepared("BEGIN", [], undefined)
          yield* connection.execute(numbered, [round], undefined)
        }
        yield* end
      }
    }))
    return yield* attempt.pipe(
      Effect.as([ok(check, "kept by the connection")]),
      Effect.catch((error) =>
        Effect.succeed([
          fail(
            check,
            `the way to the database does not keep them: ${reasonOf(error)}`,
            "set DATABASE_PREPARE=false, or let the pooler keep them (PgBouncer 1.21 and newer: max_prepared_statements)"
          )
        ])
      )
    )
  })

/** How long a notification may take; the listener waits as long. */
const notified = "3 seconds"

/** Sends a notification through the connection that the service would listen with, and waits for it. */
export const checkListen = (
  options: { readonly listen: "auto" | "off"; readonly listenUrl: boolean }
): Check<ListenClient> =>
  Effect.scoped(Effect.gen(function*() {
    const check = "notifications"
    const client = yield* ListenClient
    const channel = `truss_doctor_${randomBytes(6).toString("hex")}`
    const heard = yield* Effect.gen(function*() {
      const queue = yield* client.listen(channel)
      yield* client.notify(channel, "doctor")
      return yield* Queue.take(queue)
    }).pipe(Effect.as(true), Effect.timeoutOrElse({ duration: notified, orElse: () => Effect.succeed(false) }))
    if (heard) {
      return [ok(check, options.listen === "off" ? "would come through; TRUSS_LISTEN=off polls" : "come through")]
    }
    const where = options.listenUrl ? "DATABASE_LISTEN_URL" : "DATABASE_URL"
    if (options.listen === "off") {
      return [note(check, `do not come through ${where}, and are not used: TRUSS_LISTEN=off`)]
    }
    return [
      fail(
        check,
        `do not come through ${where} (a transaction pooler?): changes are found by polling`,
        "set DATABASE_LISTEN_URL to a direct connection to the same database, or TRUSS_LISTEN=off to poll without asking"
      )
    ]
  }))

const identityQuery = `SELECT current_database()::text || ' ' || pg_postmaster_start_time()::text AS identity`

/** Whether `DATABASE_LISTEN_URL` leads to the same database. */
export const checkSameDatabase: Check<PgClient.PgClient | ListenClient> = Effect.gen(function*() {
  const check = "listen connection"
  const ask = (sql: PgClient.PgClient) =>
    Effect.map(sql.unsafe<{ identity: string }>(identityQuery), ([row]) => row!.identity)
  const here = yield* ask(yield* PgClient.PgClient)
  return yield* ask(yield* ListenClient).pipe(
    Effect.map((there) => [
      here === there
        ? ok(check, "DATABASE_LISTEN_URL leads to the same database")
        : fail(
          check,
          "DATABASE_LISTEN_URL leads to another database than DATABASE_URL",
          "let both name the same server and database, a replica is none"
        )
    ]),
    Effect.catch((error) =>
      Effect.succeed([fail(check, `DATABASE_LISTEN_URL: ${reasonOf(error)}`, "correct it, or leave it unset")])
    )
  )
})

/** What forbids what: a transaction that rang by NOTIFY cannot be prepared. */
export const checkTwoPhase = (listen: "auto" | "off"): Check =>
  Effect.gen(function*() {
    const check = "two-phase commit"
    const sql = yield* PgClient.PgClient
    const [row] = yield* sql<{ most: number }>`SELECT current_setting('max_prepared_transactions')::int AS most`
    if (row!.most === 0) return [ok(check, "PREPARE TRANSACTION is off")]
    if (listen === "off") return [ok(check, "PREPARE TRANSACTION works on watched tables, with TRUSS_LISTEN=off")]
    return [
      note(
        check,
        `max_prepared_transactions is ${row!.most}, and PostgreSQL refuses PREPARE TRANSACTION after a NOTIFY`,
        "set TRUSS_LISTEN=off if programs use PREPARE TRANSACTION on watched tables"
      )
    ]
  })

const openQuery = `
  SELECT 'session ' || pid || coalesce(' of ' || usename, '') || coalesce(' (' || nullif(application_name, '') || ')', '') AS who,
    'SELECT pg_terminate_backend(' || pid || ')' AS remedy,
    extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
  FROM pg_stat_activity
  WHERE datname = current_database() AND xact_start < clock_timestamp() - $1::float8 * interval '1 second'
    AND backend_type = 'client backend'
    AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid()
  UNION ALL
  SELECT 'prepared transaction ' || quote_literal(gid) || ' of ' || owner, 'ROLLBACK PREPARED ' || quote_literal(gid),
    extract(epoch FROM clock_timestamp() - prepared)::float8
  FROM pg_prepared_xacts
  WHERE database = current_database() AND prepared < clock_timestamp() - $1::float8 * interval '1 second'
  ORDER BY seconds DESC LIMIT 3`

/** Transactions that have been open for longer than this, in seconds: they hold snapshots, and with them vacuum. */
export const checkTransactions = (longSeconds: number): Check =>
  Effect.gen(function*() {
    const check = "long transactions"
    const sql = yield* PgClient.PgClient
    const open = yield* sql.unsafe<{ who: string; remedy: string; seconds: number }>(openQuery, [longSeconds])
    if (open.length === 0) {
      return [ok(check, `none is open for over ${spoken(longSeconds)}, as far as this role may see`)]
    }
    return open.map(({ remedy, seconds, who }) =>
      fail(
        check,
        `${who} has been open for ${spoken(seconds)}: nothing that it changed is delivered, and vacuum cannot clean up`,
        `end it in the program that began it, or by ${remedy}`
      )
    )
  })

const ownershipQuery = `
  SELECT count(*)::int AS total, count(*) FILTER (WHERE NOT owned)::int AS foreign,
    min(format('%s of %s', relation, owner)) FILTER (WHERE NOT owned) AS example,
    min(owner) FILTER (WHERE NOT owned) AS owner, count(*) FILTER (WHERE revoked)::int AS revoked,
    min(relation) FILTER (WHERE revoked) AS revoked_example
  FROM (
    SELECT c.oid::regclass::text AS relation, pg_get_userbyid(c.relowner)::text AS owner,
      pg_has_role(c.relowner, 'USAGE') AS owned,
      pg_has_role(c.relowner, 'USAGE') AND NOT has_table_privilege(c.oid, 'TRIGGER') AS revoked
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('truss', 'information_schema') AND NOT starts_with(n.nspname::text, 'pg_')
  ) t`

const schemaQuery = `
  SELECT to_regnamespace('truss') IS NOT NULL AS installed,
    has_database_privilege(current_database(), 'CREATE') AS may_install,
    coalesce((SELECT has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE')
      FROM pg_namespace WHERE nspname = 'truss'), true) AS may_use,
    (SELECT pg_get_userbyid(c.relowner)::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = 'truss' AND c.relkind IN ('r', 'p', 'S') AND NOT pg_has_role(c.relowner, 'USAGE')
      LIMIT 1) AS owner`

/** Whether the role may do what the service does: in its own schema, and on people's tables. */
export const checkPrivileges = ({ database, role }: ServerFacts): Check =>
  Effect.gen(function*() {
    const check = "privileges"
    const sql = yield* PgClient.PgClient
    const [schema] = yield* sql.unsafe<
      { installed: boolean; may_install: boolean; may_use: boolean; owner: string | null }
    >(
      schemaQuery
    )
    const { installed, may_install, may_use, owner } = schema!
    const found: Array<Finding> = []
    if (!installed && !may_install) {
      found.push(fail(
        check,
        `the role ${role} may not make the schema truss in ${database}`,
        `GRANT CREATE ON DATABASE "${database}" TO "${role}", or CREATE SCHEMA truss AUTHORIZATION "${role}"`
      ))
    } else if (owner !== null) {
      found.push(fail(
        check,
        `the tables in the schema truss belong to the role ${owner}, which ${role} is no member of`,
        `connect as ${owner}, or GRANT "${owner}" TO "${role}"`
      ))
    } else if (!may_use) {
      found.push(fail(
        check,
        `the role ${role} may not use the schema truss and make tables in it`,
        `GRANT USAGE, CREATE ON SCHEMA truss TO "${role}"`
      ))
    }
    const [tables] = yield* sql.unsafe<
      { total: number; foreign: number; example: string; owner: string; revoked: number; revoked_example: string }
    >(ownershipQuery)
    const { example, foreign, owner: their, revoked, revoked_example, total } = tables!
    if (revoked > 0) {
      found.push(fail(
        check,
        `the role ${role} has no privilege TRIGGER on ${revoked} of its own tables (${revoked_example})`,
        `GRANT TRIGGER ON ${revoked_example} TO "${role}"`
      ))
    }
    if (total > 0 && foreign === total) {
      found.push(fail(
        check,
        `the role ${role} owns none of the tables here (${example}), and only their owner may add triggers`,
        `GRANT "${their}" TO "${role}", or connect as the owner`
      ))
    } else if (foreign > 0) {
      found.push(note(
        check,
        `${foreign} of ${total} tables belong to other roles (${example}) and cannot be watched`,
        `GRANT "${their}" TO "${role}" if they are to be`
      ))
    }
    return found.some(({ status }) => status === "fail") ? found : [
      ok(check, installed ? `the role ${role} may use the schema truss` : `the role ${role} may make the schema truss`),
      ...found
    ]
  })

const replicaQuery = `
  SELECT coalesce('the role ' || r.rolname, 'every role') || coalesce(' in the database ' || d.datname, '') AS who
  FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
  WHERE 'session_replication_role=replica' = ANY (s.setconfig)
    AND (s.setdatabase = 0 OR d.datname = current_database())`

/** Whose writes fire no triggers. */
export const checkReplicaRole: Check = Effect.gen(function*() {
  const check = "replica role"
  const sql = yield* PgClient.PgClient
  const set = yield* sql.unsafe<{ who: string }>(replicaQuery)
  if (set.length === 0) return [ok(check, "no role writes with session_replication_role = replica by default")]
  return set.map(({ who }) =>
    fail(
      check,
      `${who} has session_replication_role = replica: what it writes fires no triggers and is not captured`,
      "reset it (ALTER ROLE … RESET session_replication_role), except for a role that replicates into tables nobody watches"
    )
  )
})
