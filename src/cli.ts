import { NodeServices } from "@effect/platform-node"
import { Cause, Console, Effect, Layer } from "effect"
import { CliConfig, Command, GlobalFlag } from "effect/cli"
import { demoCommand } from "./cli/Demo.ts"
import { doctorCommand } from "./cli/Doctor.ts"
import { CommandFailed } from "./cli/Failure.ts"
import { importCommand } from "./cli/Import.ts"
import { keysCommand } from "./cli/Keys.ts"
import { listenCommand } from "./cli/Listen.ts"
import { migrateCommand } from "./cli/Migrate.ts"
import { serveCommand } from "./cli/Serve.ts"
import { typesCommand } from "./cli/Types.ts"
import { uninstallCommand } from "./cli/Uninstall.ts"
import { BadUsage, layerUsage } from "./cli/Usage.ts"
import { webhooksCommand } from "./cli/Webhooks.ts"
import { version } from "./services/Version.ts"

const command = Command.make("truss-webhooks").pipe(
  Command.withDescription("Signed, durable, visible webhooks for every change in PostgreSQL"),
  Command.withSubcommands([
    demoCommand,
    serveCommand,
    migrateCommand,
    keysCommand,
    webhooksCommand,
    listenCommand,
    importCommand,
    typesCommand,
    doctorCommand,
    uninstallCommand
  ]),
  Command.withExamples([
    { command: "truss-webhooks demo", description: "See it work, without a database of your own" },
    {
      command: "DATABASE_URL=postgres://app:secret@db.example/app truss-webhooks serve",
      description: "Run the service"
    },
    { command: "truss-webhooks keys create --name ci", description: "Make an API key" },
    {
      command: "truss-webhooks listen --table orders --forward-to http://localhost:3000/hooks",
      description: "Bring live events to a program on this machine"
    },
    { command: "truss-webhooks doctor", description: "Find out what is wrong" },
    {
      command: "source <(truss-webhooks --completions bash)",
      description: "Completions, in ~/.bashrc; for zsh the same, for fish: truss-webhooks --completions fish | source"
    }
  ])
)

/** The command line: what is wrong is said on standard error, and the exit code is in the failure. */
export const cli = command.pipe(
  Command.run({ version }),
  Effect.catchTag("ShowHelp", (help) => help.errors.length === 0 ? Effect.void : Effect.fail(new BadUsage())),
  Effect.tapCause((cause) => {
    if (Cause.hasInterruptsOnly(cause)) return Effect.void
    const error = Cause.squash(cause)
    if (error instanceof BadUsage) return Effect.void
    const lines = error instanceof CommandFailed
      ? error.lines
      : [`internal error: ${error instanceof Error ? error.message : String(error)}`]
    return Effect.forEach(lines, (line) => Console.error(`truss-webhooks: ${line}`), { discard: true })
  }),
  Effect.provide(Layer.mergeAll(
    NodeServices.layer,
    CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] }),
    layerUsage
  ))
)
