import { Cause, Effect, Predicate, Redacted, Schema } from "effect"
import { SqlError } from "effect/sql"
import { ListenError } from "../http/Server.ts"
import type { SettingsShape } from "../services/Settings.ts"

/** What a command could not do, in words for whoever typed it: one line for each thing that is wrong. */
export class CommandFailed extends Schema.TaggedError<CommandFailed>()("CommandFailed", {
  lines: Schema.NonEmptyArray(Schema.String)
}) {}

const failed = (...lines: readonly [string, ...ReadonlyArray<string>]) => new CommandFailed({ lines })

const property = (value: unknown, name: string): string | undefined => {
  const found = Predicate.hasProperty(value, name) ? value[name] : undefined
  return typeof found === "string" && found !== "" ? found : undefined
}

/** `host:port` of a connection string, without what is secret in it. */
const placeOf = (url: Redacted.Redacted): string => {
  const { host, port, searchParams } = new URL(Redacted.value(url))
  return `${searchParams.get("host") ?? host}${port === "" ? `:${searchParams.get("port") ?? 5432}` : ""}`
}

const databaseFailed = (settings: SettingsShape, error: SqlError.SqlError): CommandFailed => {
  const what = settings.databaseUrl === undefined
    ? "the embedded PostgreSQL"
    : `DATABASE_URL: the PostgreSQL at ${placeOf(settings.databaseUrl)}`
  const { cause, message } = error.reason
  const detail = property(cause, "message") ?? message
  switch (error.reason._tag) {
    case "AuthenticationError":
      return failed(`${what} refused to let us in: ${detail}`)
    case "AuthorizationError":
      return failed(`${what} does not allow it: ${detail}`)
    case "ConnectionError":
      return failed(`${what} does not answer: ${detail}`)
    default:
      return failed(`${what} answered: ${detail}`)
  }
}

const listenFailed = ({ detail, host, port, reason }: ListenError): CommandFailed => {
  switch (reason) {
    case "port_in_use":
      return failed(`PORT: ${port} is in use on ${host}; stop the other program or set another PORT`)
    case "not_permitted":
      return failed(`PORT: this user may not listen on ${port}; set a PORT above 1023`)
    case "no_such_address":
      return failed(`HOST: ${host} is no address of this machine`)
    case "other":
      return failed(detail)
  }
}

/** The words for an error that ends a command. */
export const explain = (settings: SettingsShape, error: unknown): CommandFailed => {
  if (error instanceof CommandFailed) return error
  if (SqlError.isSqlError(error)) return databaseFailed(settings, error)
  if (error instanceof ListenError) return listenFailed(error)
  return failed(property(error, "detail") ?? property(error, "message") ?? String(error))
}

/** Turns whatever ends an effect, short of its interruption, into the words for it. */
export const explained = (settings: SettingsShape) => <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.catchCause(self, (cause): Effect.Effect<never, CommandFailed> => {
    if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
    const defect = Cause.hasFails(cause) ? undefined : Cause.squash(cause)
    return Effect.andThen(
      Effect.logDebug("the command failed", cause),
      Effect.fail(
        defect === undefined || defect instanceof CommandFailed || SqlError.isSqlError(defect)
          ? explain(settings, Cause.squash(cause))
          : failed(`internal error: ${property(defect, "message") ?? defect} (LOG_LEVEL=debug shows more)`)
      )
    )
  })
