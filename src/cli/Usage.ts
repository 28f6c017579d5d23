import { Console, Effect, Runtime, Schema } from "effect"
import { type CliError, CliOutput } from "effect/cli"

/** The command line does not fit: what is wrong was said. */
export class BadUsage extends Schema.TaggedError<BadUsage>()("BadUsage", {}) {
  override readonly [Runtime.errorExitCode] = 2
}

const orElse = (suggestions: ReadonlyArray<string>) =>
  suggestions.length === 0 ? "" : `, did you mean ${suggestions.join(" or ")}?`

/** Effect's words for a value behind "must be". */
const needed = (expected: string) =>
  expected.replace(/^Expected /, "").replaceAll("\"", "").replaceAll(" | ", " or ").replace(
    /^a string representing a finite number$/,
    "a number"
  )

const say = (error: CliError.NonShowHelpErrors): string => {
  switch (error._tag) {
    case "UnrecognizedOption":
      return `there is no flag ${error.option}${orElse(error.suggestions)}`
    case "UnknownSubcommand":
      return `there is no command ${JSON.stringify(error.subcommand)}${orElse(error.suggestions)}`
    case "MissingOption":
      return `--${error.option} is missing`
    case "MissingArgument":
      return `the argument ${error.argument} is missing`
    case "UnexpectedArgument":
      return `too many arguments: ${error.arguments.map((text) => JSON.stringify(text)).join(" ")}`
    case "InvalidValue":
      if (error.value === "") return `--${error.option} needs a value`
      return error.expected.startsWith("--")
        ? error.expected
        : `--${error.option} must be ${needed(error.expected)}, not ${JSON.stringify(error.value)}`
    default:
      return error.message.replaceAll(/\s+/g, " ")
  }
}

/** One line on standard error for each thing that is wrong with a command line; help only where it is asked for. */
export const layerUsage = CliOutput.layerPresenter({
  present: (event) => {
    if (event._tag !== "InvalidInvocation") return CliOutput.defaultPresenter.present(event)
    const command = event.commandPath.join(" ")
    return Effect.forEach(
      event.errors,
      (error) => Console.error(`${command}: ${say(error)} (see ${command} --help)`),
      { discard: true }
    )
  }
})
