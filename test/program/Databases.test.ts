import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { execFileSync } from "node:child_process"
import { dirname, join } from "node:path"
import { ownPostgres } from "../support/OwnPostgres.ts"
import { run as program, temporary } from "../support/Program.ts"
import { Receiver } from "../support/Receiver.ts"
import { startService } from "../support/ServiceProcess.ts"
import { snippets } from "../support/Snippets.ts"
import { systemBinaries, systemPostgres } from "../support/SystemPostgres.ts"

/** The statements of docs/operations/databases.md: the role, what is revoked, the owner that can be shared. */
const [role, revoked, shared] = snippets
  .filter(({ language, page }) => page === "docs/operations/databases.md" && language === "sql")
  .map(({ text }) => text.replaceAll(/ *--.*$/gm, "").split(";").map((one) => one.trim()).filter((one) => one !== ""))

const exec = (url: string, ...statements: ReadonlyArray<string>) =>
  Effect.flatMap(
    PgClient.PgClient,
    (sql) => Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
  ).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })))

const as = (url: string, user: string, password: string, database = "app") => {
  const other = new URL(url)
  other.username = user
  other.password = encodeURIComponent(password)
  other.pathname = `/${database}`
  return other.href
}

const webhook = (url: string, differs: object = {}) => ({
  name: "orders",
  table_name: "orders",
  events: ["INSERT"],
  url,
  ...differs
})

describe("The roles of the documents", () => {
  it.live("are enough for the service, and leave writers nothing to read", () =>
    Effect.gen(function*() {
      const server = yield* ownPostgres
      yield* server.start
      const receiver = yield* Receiver
      yield* exec(server.url, "CREATE ROLE app_owner NOLOGIN", "CREATE ROLE app_writer LOGIN PASSWORD 'w'")
      yield* exec(server.url, "CREATE DATABASE app OWNER app_owner")
      const admin = as(server.url, "postgres", decodeURIComponent(new URL(server.url).password))
      yield* exec(
        admin,
        "REVOKE ALL ON DATABASE app FROM PUBLIC",
        "GRANT CONNECT ON DATABASE app TO app_writer",
        "SET ROLE app_owner",
        "CREATE TABLE orders (id int PRIMARY KEY)",
        "GRANT INSERT ON orders TO app_writer",
        "RESET ROLE",
        ...role!
      )
      const DATABASE_URL = as(server.url, "truss", "a long random string")
      const before = yield* program(["doctor"], { DATABASE_URL })
      assert.strictEqual(before.code, 0, before.stdout)

      const service = yield* startService(DATABASE_URL)
      yield* service.ready("notify")
      yield* exec(admin, ...revoked!)
      yield* service.createWebhook(webhook(receiver.url("/hook")))
      const writer = as(server.url, "app_writer", "w")
      yield* exec(writer, "INSERT INTO orders VALUES (1)")
      yield* receiver.waitFor("/hook", 1)
      for (const forbidden of ["SELECT * FROM truss.events", "SELECT * FROM truss.webhooks", "TABLE truss.api_keys"]) {
        assert.match(String((yield* Effect.flip(exec(writer, forbidden))).reason.cause), /permission denied/)
      }
      yield* service.stop

      const again = yield* startService(DATABASE_URL)
      yield* again.ready("notify")
      yield* exec(writer, "INSERT INTO orders VALUES (2)")
      yield* receiver.waitFor("/hook", 2)
      const after = yield* program(["doctor"], { DATABASE_URL })
      assert.strictEqual(after.code, 0, after.stdout)
    }).pipe(Effect.provide(Receiver.layer)))

  it.live("work where nobody is superuser", () =>
    Effect.gen(function*() {
      const server = yield* ownPostgres
      yield* server.start
      const receiver = yield* Receiver
      yield* exec(server.url, "CREATE ROLE cloud LOGIN PASSWORD 'c' CREATEROLE CREATEDB")
      yield* exec(as(server.url, "cloud", "c", "postgres"), "CREATE DATABASE app")
      const cloud = as(server.url, "cloud", "c")
      yield* exec(
        cloud,
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (id int PRIMARY KEY)",
        "CREATE ROLE truss LOGIN PASSWORD 's'",
        "GRANT CREATE ON DATABASE app TO truss"
      )
      assert.match(
        String((yield* Effect.flip(exec(cloud, "GRANT cloud TO truss"))).reason.cause),
        /permission denied to grant role/
      )
      yield* exec(cloud, ...shared!)
      for (const [user, password] of [["truss", "s"], ["cloud", "c"]] as const) {
        const service = yield* startService(as(server.url, user, password))
        yield* service.ready("notify")
        yield* service.createWebhook(webhook(receiver.url(`/${user}`), { table_schema: "shop" }))
        yield* exec(cloud, `INSERT INTO shop.orders SELECT coalesce(max(id), 0) + 1 FROM shop.orders`)
        yield* receiver.waitFor(`/${user}`, 1)
        yield* service.stop
        const removed = yield* program(["uninstall", "--yes", "--force"], {
          DATABASE_URL: as(server.url, user, password)
        })
        assert.strictEqual(removed.code, 0, removed.stderr)
      }
    }).pipe(Effect.provide(Receiver.layer)))
})

/** The commands of docs/operations/backups.md: two dumps, and how either is restored. */
const [whole, lean, restored] = snippets
  .filter(({ language, page }) => page === "docs/operations/backups.md" && language === "sh")
  .map(({ text }) => text.split("\n").filter((line) => line.startsWith("pg_")).join("\n"))

describe("The dumps of the documents", () => {
  const binaries = systemBinaries((major) => major >= 14)
  for (const [title, dump, kept] of [["with everything", whole!, 2], ["without events and log", lean!, 1]] as const) {
    it.live.skipIf(binaries === undefined)(
      `${title} lets the service go on where it is restored (needs a PostgreSQL of the system, 14 or newer)`,
      () =>
        Effect.gen(function*() {
          const one = yield* systemPostgres(binaries!)
          const two = yield* systemPostgres(binaries!)
          const receiver = yield* Receiver
          const cwd = yield* temporary
          const shell = (DATABASE_URL: string, command: string) =>
            execFileSync("bash", ["-c", command], {
              cwd,
              env: { PATH: `${join(dirname(binaries!), "bin")}:${process.env["PATH"]}`, DATABASE_URL }
            })
          yield* exec(one.url, "CREATE TABLE orders (id int PRIMARY KEY)")
          const service = yield* startService(one.url)
          yield* service.ready("notify")
          const { id } = yield* service.createWebhook(
            webhook(receiver.url("/hook"), { secret: "a long random string" })
          )
          yield* exec(one.url, "INSERT INTO orders VALUES (1)")
          yield* receiver.waitFor("/hook", 1)
          yield* service.stop

          shell(one.url, dump)
          shell(two.url, restored!)
          const again = yield* startService(two.url)
          yield* again.ready("notify")
          yield* exec(two.url, "INSERT INTO orders VALUES (2)")
          const requests = yield* receiver.waitFor("/hook", 2)
          assert.deepStrictEqual(requests.map(({ body }) => body.row?.["id"]), [1, 2])
          assert.strictEqual(typeof requests[1]!.headers["webhook-signature"], "string")
          yield* again.stop
          const sql = `SELECT count(*)::int AS n FROM truss.attempts WHERE webhook_id = '${id}'`
          const [count] = yield* Effect.flatMap(PgClient.PgClient, (client) => client.unsafe<{ n: number }>(sql)).pipe(
            Effect.provide(PgClient.layer({ url: Redacted.make(two.url), maxConnections: 1 }))
          )
          assert.strictEqual(count!.n, kept)
        }).pipe(Effect.provide(Receiver.layer))
    )
  }
})
