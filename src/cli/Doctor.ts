import type { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer, Result } from "effect"
import { Command, Flag } from "effect/cli"
import { SqlError } from "effect/sql"
import { fail, type Finding, ok, skipped } from "../domain/Finding.ts"
import { Capture } from "../services/Capture.ts"
import { isRefusedByPooler, type ListenClient, reasonOf, sqlState } from "../services/Database.ts"
import {
  checkLeader,
  checkRetention,
  checkSchema,
  checkTriggers,
  checkWebhooks
} from "../services/InstallationChecks.ts"
import {
  type Check,
  checkClock,
  checkListen,
  checkPrepared,
  checkPrivileges,
  checkReplicaRole,
  checkSameDatabase,
  checkTransactions,
  checkTwoPhase,
  checkVersion,
  readServer
} from "../services/ServerChecks.ts"
import type { SettingsShape } from "../services/Settings.ts"
import { layerExisting } from "./DatabaseSource.ts"
import { CommandFailed, explain } from "./Failure.ts"
import { databaseFlags, withSettings } from "./Flags.ts"

type Services = PgClient.PgClient | ListenClient | Capture

/** A transaction that is open for longer is told. */
const longSeconds = 1_800

/** How long one check may take. */
const patience = "20 seconds"

const todoOf = (error: SqlError.SqlError): string => {
  if (isRefusedByPooler(error)) {
    return "let the pooler pass over what it does not know: ignore_startup_parameters = enable_seqscan, " +
      "enable_bitmapscan, jit, search_path in pgbouncer.ini"
  }
  switch (sqlState(error)) {
    case "28P01":
    case "28000":
      return "correct the user and the password in DATABASE_URL, or what pg_hba.conf allows"
    case "3D000":
      return "create that database, or name another in DATABASE_URL"
    case "53300":
      return "raise max_connections, or close connections: the service needs about 20"
  }
  return error.reason._tag === "ConnectionError"
    ? "see that it runs, that host and port in DATABASE_URL are right, and that no firewall is between"
    : "correct DATABASE_URL"
}

const notReached = (settings: SettingsShape) => (error: SqlError.SqlError): Finding =>
  fail("connection", explain(settings, error).lines[0], todoOf(error))

const asked = <R>(check: string, ask: Check<R>): Effect.Effect<ReadonlyArray<Finding>, never, R> =>
  ask.pipe(
    Effect.timeout(patience),
    Effect.catch((error) => {
      const why = SqlError.isSqlError(error) ? reasonOf(error) : `no answer within ${patience}`
      return Effect.succeed([fail(check, `could not be asked: ${why}`, "see the other lines, and the server's log")])
    })
  )

const all = <R>(checks: Readonly<Record<string, Check<R>>>) =>
  Effect.map(
    Effect.forEach(Object.entries(checks), ([name, ask]) => asked(name, ask)),
    (findings) => findings.flat()
  )

const ofSchema = (settings: SettingsShape): Readonly<Record<string, Check<Services>>> => ({
  triggers: checkTriggers,
  retention: checkRetention(settings.retentionDays),
  webhooks: checkWebhooks,
  service: checkLeader
})

const connected = Effect.fnUntraced(function*(settings: SettingsShape) {
  const server = yield* readServer
  const connection = ok("connection", `the database ${server.database}, as ${server.role}`)
  const version = checkVersion(server)
  if (version.status !== "ok") return [connection, version]
  const general = yield* all<Services>({
    privileges: checkPrivileges(server),
    clock: checkClock,
    "prepared statements": checkPrepared(settings.databasePrepare),
    ...(settings.databaseListenUrl === undefined ? {} : { "listen connection": checkSameDatabase }),
    notifications: checkListen({ listen: settings.listen, listenUrl: settings.databaseListenUrl !== undefined }),
    "two-phase commit": checkTwoPhase(settings.listen),
    "long transactions": checkTransactions(longSeconds),
    "replica role": checkReplicaRole
  })
  const schema = yield* asked("schema", checkSchema)
  const installed = schema.every(({ status }) => status === "ok")
    ? yield* all(ofSchema(settings))
    : Object.keys(ofSchema(settings)).map((check) => skipped(check, "the schema is not as this program needs it"))
  return [connection, version, ...general, ...schema, ...installed]
})

/** Every check, one after the other; a database that cannot be reached is the only finding then. */
export const diagnose = Effect.fn("Doctor.diagnose")(function*(settings: SettingsShape) {
  const services = Capture.layer({ maxPayload: settings.maxPayload }).pipe(Layer.provideMerge(layerExisting(settings)))
  const found = yield* connected(settings).pipe(
    Effect.provide(services),
    Effect.mapError((error) => SqlError.isSqlError(error) ? notReached(settings)(error) : error),
    Effect.result
  )
  if (Result.isSuccess(found)) return found.success
  if ("check" in found.failure) return [found.failure]
  return yield* Effect.fail(found.failure)
})

const labels = { ok: "ok", fail: "FAIL", note: "note", skipped: "-" } as const

const line = ({ check, detail, status, todo }: Finding) =>
  `${labels[status].padEnd(5)} ${check}: ${detail}${todo === null ? "" : ` → ${todo}`}`

/** `truss-webhooks doctor` */
export const doctorCommand = Command.make(
  "doctor",
  {
    ...databaseFlags,
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("Print one JSON document: { ok, checks: [{ check, status, detail, todo }] }"),
      Flag.withDefault(false)
    )
  },
  (flags) =>
    withSettings(flags, (settings) =>
      Effect.gen(function*() {
        const checks = yield* diagnose(settings)
        const failed = checks.filter(({ status }) => status === "fail").length
        yield* Console.log(
          flags.json ? JSON.stringify({ ok: failed === 0, checks }, null, 2) : checks.map(line).join("\n")
        )
        if (failed > 0) {
          return yield* new CommandFailed({ lines: [failed === 1 ? "1 check failed" : `${failed} checks failed`] })
        }
      }))
).pipe(
  Command.withDescription(
    "Check the database, the way to it, and the service on it: a line for each check, with what to do about what is " +
      "wrong. Changes nothing. Run it with the settings and on the machine of the service. Exit code 1 if a check fails"
  ),
  Command.withShortDescription("Check everything that a working service needs"),
  Command.withExamples([
    { command: "DATABASE_URL=postgres://app:secret@db.example/app truss-webhooks doctor" },
    {
      command: "truss-webhooks doctor --json | jq '.checks[] | select(.status == \"fail\")'",
      description: "For scripts"
    }
  ])
)
