import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { findInstalled, type Installed, uninstall } from "../services/Uninstall.ts"
import { layerExisting } from "./DatabaseSource.ts"
import { CommandFailed } from "./Failure.ts"
import { databaseFlags, withSettings } from "./Flags.ts"
import { BadUsage } from "./Usage.ts"

const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`

const counted = ({ objects, triggers }: Installed): string => {
  const count = (kind: string) => plural(objects.filter((object) => object.kind === kind).length, kind)
  return [plural(triggers.length, "trigger"), ...["table", "function", "sequence", "type"].map(count)].join(", ")
}

const nothing = Effect.as(
  Console.log("Truss Webhooks is not installed in this database: there is nothing to remove."),
  true
)

/** Whether there was nothing to remove. */
const show = Effect.gen(function*() {
  const installed = yield* findInstalled()
  if (installed === undefined) return yield* nothing
  for (const { name, table } of installed.triggers) yield* Console.log(`trigger ${name} on ${table}`)
  for (const { identity, kind } of installed.objects) yield* Console.log(`${kind} ${identity}`)
  if (installed.foreignOwner === null) yield* Console.log("schema truss")
  yield* Console.error(
    `truss-webhooks: nothing was removed. Those are ${counted(installed)}, with every webhook, its log and every ` +
      "API key: add --yes to remove them"
  )
  return false
})

const remove = Effect.fnUntraced(function*(force: boolean) {
  const removed = yield* uninstall({ force })
  if (removed === undefined) return yield* nothing
  yield* Console.log(
    `Removed ${counted(removed)}` + (removed.foreignOwner === null
      ? " and the schema truss."
      : `. The schema truss is left, since it belongs to the role ${removed.foreignOwner}.`)
  )
  return true
})

/** `truss-webhooks uninstall` */
export const uninstallCommand = Command.make(
  "uninstall",
  {
    ...databaseFlags,
    yes: Flag.Boolean("yes").pipe(
      Flag.withDescription("Remove it; without this, what would be removed is listed"),
      Flag.withDefault(false)
    ),
    force: Flag.Boolean("force").pipe(
      Flag.withDescription("Remove it although a service runs on the database; that one fails until it is stopped"),
      Flag.withDefault(false)
    )
  },
  (flags) =>
    withSettings(flags, (settings) =>
      (flags.yes ? remove(flags.force) : show).pipe(
        Effect.catchTags({
          StillRunning: ({ addresses }) =>
            new CommandFailed({
              lines: [
                `Truss Webhooks runs on this database (${addresses.join(", ")}): stop it first, or add --force. ` +
                "One that was killed counts as gone after 10 s. Nothing was removed"
              ]
            }),
          UninstallRefused: ({ detail }) => new CommandFailed({ lines: [detail] })
        }),
        Effect.provide(layerExisting(settings))
      )).pipe(Effect.flatMap((done) => done ? Effect.void : Effect.fail(new BadUsage())))
).pipe(
  Command.withDescription(
    "Remove every trigger, function, table, sequence and type that Truss Webhooks made, and the schema truss, from the " +
      "database, and nothing else. The tables that were watched keep their rows and everything else that is theirs"
  ),
  Command.withShortDescription("Remove everything it made from the database"),
  Command.withExamples([
    { command: "truss-webhooks uninstall", description: "List what would be removed" },
    { command: "truss-webhooks uninstall --yes --database-url postgres://app:secret@db.example/app" }
  ])
)
