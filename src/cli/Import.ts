import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { readFile } from "node:fs/promises"
import { parseEnv } from "node:util"
import { type HasuraSource, hasuraSources, planHasuraSource } from "../domain/HasuraTrigger.ts"
import { planSupabaseTrigger } from "../domain/SupabaseTrigger.ts"
import { readHasuraCatalog } from "../services/HasuraCatalog.ts"
import { readSupabaseTriggers } from "../services/SupabaseTriggers.ts"
import { carryOver } from "./CarryOver.ts"
import { layerExisting } from "./DatabaseSource.ts"
import { CommandFailed } from "./Failure.ts"
import { databaseFlags, serverFlags, withSettings } from "./Flags.ts"
import { readHasuraFiles } from "./HasuraFiles.ts"

const common = {
  ...databaseFlags,
  ...serverFlags,
  create: Flag.Boolean("create").pipe(
    Flag.withDescription("Create them on the server; without this, what would be created is shown"),
    Flag.withDefault(false)
  ),
  active: Flag.Boolean("active").pipe(
    Flag.withDescription("Let them fire at once, but for those to look at first; without this they are made paused"),
    Flag.withDefault(false)
  ),
  json: Flag.Boolean("json").pipe(
    Flag.withDescription(
      "Print one JSON document: { webhooks: [{ theirs, webhook, notes, needs_review, state, id }] }"
    ),
    Flag.withDefault(false)
  )
}

const supabase = Command.make("supabase", common, (flags) =>
  withSettings(flags, (settings) =>
    Effect.gen(function*() {
      const triggers = yield* readSupabaseTriggers.pipe(Effect.provide(layerExisting(settings)))
      yield* carryOver(
        settings,
        triggers.map(planSupabaseTrigger),
        flags,
        "no trigger of this database calls supabase_functions.http_request: there is nothing to carry over"
      )
    }))).pipe(
    Command.withDescription(
      "Carry over the database webhooks of Supabase: the triggers that call supabase_functions.http_request. Shows what " +
        "would be created; --create creates it on a running server, paused. Theirs are never changed"
    ),
    Command.withShortDescription("Carry over database webhooks of Supabase"),
    Command.withExamples([
      { command: "truss-webhooks import supabase --database-url postgres://postgres:secret@db.example/postgres" },
      { command: "truss-webhooks import supabase --create", description: "On http://localhost:8787" }
    ])
  )

const envOf = (path: Option.Option<string>) =>
  Option.match(path, {
    onNone: () => Effect.succeed(new Map<string, string>()),
    onSome: (file) =>
      Effect.tryPromise({
        try: async () =>
          new Map(
            Object.entries(parseEnv(await readFile(file, "utf8"))).flatMap(([name, value]) =>
              value === undefined ? [] : [[name, value] as const]
            )
          ),
        catch: (error) =>
          new CommandFailed({ lines: [`--hasura-env: ${error instanceof Error ? error.message : String(error)}`] })
      })
  })

const chosenSource = (sources: ReadonlyArray<HasuraSource>, name: Option.Option<string>) => {
  const names = sources.map((source) => source.name).join(", ")
  const fail = (line: string) => Effect.fail(new CommandFailed({ lines: [line] }))
  const found = Option.match(name, {
    onNone: () => sources.length > 1 ? undefined : sources[0],
    onSome: (wanted) => sources.find((source) => source.name === wanted)
  })
  if (found === undefined) {
    return fail(
      Option.isSome(name)
        ? `--source: Hasura has no database ${name.value}, but ${names === "" ? "none" : names}`
        : sources.length === 0
        ? "Hasura has no database"
        : `Hasura has several databases: say which with --source (${names})`
    )
  }
  return (found.kind ?? "postgres") === "postgres" || found.kind === "citus"
    ? Effect.succeed(found)
    : fail(`--source: ${found.name} is ${found.kind}, no PostgreSQL`)
}

const hasura = Command.make(
  "hasura",
  {
    ...common,
    metadata: Flag.String("metadata").pipe(
      Flag.withDescription(
        "Exported metadata: a JSON or YAML file, or the folder of `hasura metadata export`; without it they are read " +
          "from hdb_catalog.hdb_metadata in the database"
      ),
      Flag.withMetavar("PATH"),
      Flag.optional
    ),
    source: Flag.String("source").pipe(
      Flag.withDescription("The name of the database in Hasura, if it has several"),
      Flag.withMetavar("NAME"),
      Flag.optional
    ),
    hasuraEnv: Flag.String("hasura-env").pipe(
      Flag.withDescription(
        "Hasura's environment, NAME=value a line: for webhook_from_env, value_from_env and {{NAME}}"
      ),
      Flag.withMetavar("PATH"),
      Flag.optional
    )
  },
  (flags) =>
    withSettings(flags, (settings) =>
      Effect.gen(function*() {
        const env = yield* envOf(flags.hasuraEnv)
        const exported = yield* Option.match(flags.metadata, {
          onNone: () => readHasuraCatalog.pipe(Effect.provide(layerExisting(settings))),
          onSome: readHasuraFiles
        })
        const from = Option.isSome(flags.metadata) ? "--metadata" : "the database"
        if (exported === undefined) {
          return yield* new CommandFailed({
            lines: ["the database has no hdb_catalog.hdb_metadata: give its database, or --metadata"]
          })
        }
        const sources = hasuraSources(exported)
        if (sources === undefined) {
          return yield* new CommandFailed({ lines: [`${from} holds no metadata of Hasura 1 or 2`] })
        }
        const source = yield* chosenSource(sources, flags.source)
        yield* carryOver(
          settings,
          planHasuraSource(source, env),
          flags,
          `the database ${source.name} has no event trigger: there is nothing to carry over`
        )
      }))
).pipe(
  Command.withDescription(
    "Carry over the event triggers of Hasura, from its metadata. Shows what would be created; --create creates it on a " +
      "running server, paused. Theirs are never changed"
  ),
  Command.withShortDescription("Carry over event triggers of Hasura"),
  Command.withExamples([
    { command: "truss-webhooks import hasura --metadata metadata.json --hasura-env hasura.env" },
    { command: "truss-webhooks import hasura --metadata ./metadata --create", description: "On http://localhost:8787" }
  ])
)

/** `truss-webhooks import` */
export const importCommand = Command.make("import").pipe(
  Command.withDescription("Carry over the webhooks of another product"),
  Command.withExamples([
    { command: "truss-webhooks import supabase", description: "Shows what would be created" },
    { command: "truss-webhooks import hasura --metadata metadata.json --create" }
  ]),
  Command.withSubcommands([supabase, hasura])
)
