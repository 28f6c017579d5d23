import type { PgClient } from "@effect/sql-pg"
import { Effect, Schedule, type Scope } from "effect"
import { randomBytes } from "node:crypto"
import { connect } from "../e2e/Workload.ts"
import { TestDatabase } from "../support/Database.ts"
import { type Endpoint, startRecorder } from "../support/Recorder.ts"
import { type CreatedWebhook, type ServiceProcess, startService } from "../support/ServiceProcess.ts"

/** The people at one database: the service's role, the owner of the watched tables, and who may only write to them. */
export interface Roles {
  /** A superuser, to see what has become of things. */
  readonly admin: PgClient.PgClient
  readonly service: string
  readonly serviceUrl: string
  readonly owner: PgClient.PgClient
  readonly ownerName: string
  readonly writer: PgClient.PgClient
  readonly writerName: string
}

/**
 * Three roles without any attribute. The service is a member of the owner, as `docs/operations/security.md` asks, so
 * whatever the owner makes may meet the service; the writer owns nothing.
 */
export const makeRoles: Effect.Effect<Roles, never, TestDatabase | Scope.Scope> = Effect.gen(function*() {
  const { url } = yield* TestDatabase
  const admin = yield* connect(url)
  const suffix = randomBytes(4).toString("hex")
  const names = { service: `truss_${suffix}`, owner: `owner_${suffix}`, writer: `writer_${suffix}` }
  const all = Object.values(names)
  const exec = (text: string) => Effect.orDie(admin.unsafe(text))
  for (const name of all) yield* exec(`CREATE ROLE ${name} LOGIN PASSWORD 'secret'`)
  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      yield* exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('${all.join("', '")}')`)
      // A session that is ended holds its temporary tables for a moment more.
      yield* Effect.retry(admin.unsafe(`DROP OWNED BY ${all.join(", ")} CASCADE`), {
        schedule: Schedule.spaced("50 millis"),
        times: 20
      }).pipe(Effect.orDie)
      yield* exec(`DROP ROLE ${all.join(", ")}`)
    })
  )
  yield* exec(`GRANT ${names.owner} TO ${names.service}`)
  const database = new URL(url).pathname.slice(1)
  yield* exec(`GRANT CREATE ON DATABASE ${database} TO ${names.service}, ${names.owner}`)
  yield* exec(`GRANT CREATE ON SCHEMA public TO ${names.owner}`)
  const as = (name: string) => {
    const theirs = new URL(url)
    theirs.username = name
    theirs.password = "secret"
    return theirs.href
  }
  return {
    admin,
    service: names.service,
    serviceUrl: as(names.service),
    owner: yield* connect(as(names.owner), 1),
    ownerName: names.owner,
    writer: yield* connect(as(names.writer), 1),
    writerName: names.writer
  }
})

/** The roles, a running service, and a watched table of the owner's that the writer may write to. */
export interface Scene extends Roles {
  readonly process: ServiceProcess
  readonly endpoint: Endpoint
  readonly webhook: CreatedWebhook
}

export const table = "CREATE TABLE orders (id bigint PRIMARY KEY, mark text)"

/** A service with its webhook of `orders`, on the owner's tables that `statements` make. */
export const roleScene = Effect.fnUntraced(function*(
  statements: ReadonlyArray<string> = [table],
  input: object = {},
  env: Readonly<Record<string, string>> = {}
): Effect.fn.Return<Scene, never, TestDatabase | Scope.Scope> {
  const roles = yield* makeRoles
  for (const statement of statements) yield* Effect.orDie(roles.owner.unsafe(statement))
  yield* Effect.orDie(roles.owner.unsafe(`GRANT ALL ON ALL TABLES IN SCHEMA public TO ${roles.writerName}`))
  const endpoint = (yield* startRecorder).endpoint("/hook")
  const process = yield* startService(roles.serviceUrl, env)
  yield* process.ready()
  const webhook = yield* process.createWebhook({
    name: "orders",
    table_name: "orders",
    events: ["INSERT", "UPDATE", "DELETE", "TRUNCATE"],
    url: endpoint.url,
    ...input
  })
  return { ...roles, process, endpoint, webhook }
})
