import { PgClient } from "@effect/sql-pg"
import { Console, Effect, Layer, Redacted } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { ApiKey } from "../domain/ApiKey.ts"
import { ApiKeys } from "../services/ApiKeys.ts"
import { Actor } from "../services/Audit.ts"
import { migrate } from "../services/Migrations.ts"
import { Partitions } from "../services/Partitions.ts"
import { layerSource } from "./DatabaseSource.ts"
import { CommandFailed } from "./Failure.ts"
import { databaseFlags, withSettings } from "./Flags.ts"
import { textTable } from "./TextTable.ts"

const layer = (settings: Parameters<typeof layerSource>[0]) =>
  Layer.mergeAll(ApiKeys.layer(), Partitions.layer).pipe(Layer.provideMerge(layerSource(settings)))

/** Who did it, for the audit. */
const byCommandLine = Effect.provideService(Actor, "cli")

const requireSchema = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql<{ there: boolean }>`SELECT to_regclass('truss.api_keys') IS NOT NULL AS there`
  if (row?.there === true) return
  return yield* new CommandFailed({ lines: ["the database has no schema truss yet: run truss-webhooks migrate"] })
})

const create = Command.make(
  "create",
  {
    ...databaseFlags,
    name: Flag.String("name").pipe(
      Flag.withDescription("What the key is for, 1 to 200 characters"),
      Flag.withMetavar("NAME")
    ),
    scope: Flag.Literals("scope", ["read", "write"]).pipe(
      Flag.withDescription("read: look at everything; write: change things too (default: write)"),
      Flag.withDefault("write")
    )
  },
  (flags) =>
    withSettings(flags, (settings) =>
      Effect.gen(function*() {
        yield* migrate()
        const { key } = yield* byCommandLine((yield* ApiKeys).create(flags.name, flags.scope))
        yield* Console.log(Redacted.value(key))
      }).pipe(
        Effect.catchTag("InvalidParameter", ({ message, path }) =>
          new CommandFailed({ lines: [`--${path} ${message}`] })),
        Effect.provide(layer(settings))
      ))
).pipe(
  Command.withDescription("Make an API key and print it, this once, on standard output"),
  Command.withExamples([
    { command: "truss-webhooks keys create --name ci --scope write" },
    { command: "KEY=$(truss-webhooks keys create --name ci)", description: "Only the key is printed" }
  ])
)

const table = (keys: ReadonlyArray<ApiKey>) => {
  const head = ["ID", "SCOPE", "KEY", "CREATED", "LAST USED", "NAME"]
  const rows = keys.map((key) => [
    key.id,
    key.scope,
    `${key.prefix}…`,
    key.created_at,
    key.last_used_at ?? "never",
    key.name
  ])
  return textTable(head, rows)
}

const list = Command.make("list", databaseFlags, (flags) =>
  withSettings(flags, (settings) =>
    Effect.gen(function*() {
      yield* requireSchema
      const keys = yield* (yield* ApiKeys).list
      yield* keys.length === 0 ? Console.error("There are no API keys.") : Console.log(table(keys))
    }).pipe(Effect.provide(layer(settings))))).pipe(
    Command.withDescription("List the API keys: only their first characters are kept"),
    Command.withExamples([{ command: "truss-webhooks keys list --database-url postgres://app:secret@db.example/app" }])
  )

const revoke = Command.make(
  "revoke",
  { ...databaseFlags, id: Argument.String("id").pipe(Argument.withDescription("The key's id, as keys list shows it")) },
  (flags) =>
    withSettings(flags, (settings) =>
      Effect.gen(function*() {
        yield* requireSchema
        yield* byCommandLine((yield* ApiKeys).revoke(flags.id))
        yield* Console.error(`The key ${flags.id} is revoked.`)
      }).pipe(
        Effect.catchTag("ApiKeyNotFound", ({ id }) => new CommandFailed({ lines: [`there is no API key ${id}`] })),
        Effect.provide(layer(settings))
      ))
).pipe(
  Command.withDescription("Revoke an API key: it is refused from now on, by every process"),
  Command.withExamples([
    { command: "truss-webhooks keys revoke 019b2c1e-5a77-7c41-9a8e-0f1d2c3b4a59", description: "As keys list shows it" }
  ])
)

/** `truss-webhooks keys` */
export const keysCommand = Command.make("keys").pipe(
  Command.withDescription("Make, list and revoke API keys"),
  Command.withExamples([
    { command: "truss-webhooks keys create --name ci --scope read" },
    { command: "truss-webhooks keys list" }
  ]),
  Command.withSubcommands([create, list, revoke])
)
