import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { migrate } from "../services/Migrations.ts"
import { Partitions } from "../services/Partitions.ts"
import { layerSource } from "./DatabaseSource.ts"
import { databaseFlags, withSettings } from "./Flags.ts"

/** `truss-webhooks migrate` */
export const migrateCommand = Command.make(
  "migrate",
  databaseFlags,
  (flags) =>
    withSettings(flags, (settings) =>
      migrate().pipe(
        Effect.andThen(Console.log("The schema truss is up to date.")),
        Effect.provide(Partitions.layer),
        Effect.provide(layerSource(settings))
      ))
).pipe(
  Command.withDescription("Make the schema truss in the database, or bring it up to date, and end"),
  Command.withShortDescription("Make or update the schema in the database"),
  Command.withExamples([
    { command: "truss-webhooks migrate --database-url postgres://app:secret@db.example/app" }
  ])
)
