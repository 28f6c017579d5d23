import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import {
  ApiKey,
  DatabaseUrl,
  Folder,
  Host,
  HttpUrl,
  type Kind,
  Port,
  Settings,
  type SettingsShape
} from "../services/Settings.ts"
import { CommandFailed, explained } from "./Failure.ts"
import { layerLogging, type LoggingOptions } from "./Logging.ts"

const flag = <A>(name: string, kind: Kind<A>, description: string, metavar: string) =>
  Flag.String(name).pipe(
    Flag.filterMap(
      (text) => Option.fromNullishOr(kind.parse(text)),
      (text) => `--${name} must be ${kind.allowed}${kind.secret === true ? "" : `, not ${JSON.stringify(text)}`}`
    ),
    Flag.withDescription(description),
    Flag.withMetavar(metavar),
    Flag.optional
  )

export const databaseFlags = {
  databaseUrl: flag("database-url", DatabaseUrl, "PostgreSQL to use (DATABASE_URL; default: an embedded one)", "URL"),
  dataDir: flag(
    "data-dir",
    Folder,
    "Folder of the embedded PostgreSQL and the key file (TRUSS_DATA_DIR; default: .truss)",
    "PATH"
  )
}

export const listenFlags = {
  host: flag("host", Host, "Name or address to listen on (HOST; default: 127.0.0.1)", "HOST"),
  port: flag("port", Port, "Port to listen on (PORT; default: 8787)", "PORT")
}

export const serverFlags = {
  serverUrl: flag("url", HttpUrl, "The server (TRUSS_URL; default: http://localhost:8787)", "URL"),
  apiKey: flag("api-key", ApiKey, "Key of its API (TRUSS_API_KEY); an open server on this machine needs none", "KEY")
}

interface Parsed {
  readonly host?: Option.Option<string>
  readonly port?: Option.Option<number>
  readonly databaseUrl?: Option.Option<NonNullable<SettingsShape["databaseUrl"]>>
  readonly dataDir?: Option.Option<string>
  readonly serverUrl?: Option.Option<string>
  readonly apiKey?: Option.Option<NonNullable<SettingsShape["apiKey"]>>
}

const given = <A>(value: Option.Option<A> | undefined): A | undefined =>
  value === undefined ? undefined : Option.getOrUndefined(value)

/** Runs a command with the settings of the flags and the environment, its log, and words for what goes wrong. */
export const withSettings = <A, E, R>(
  flags: Parsed,
  run: (settings: SettingsShape) => Effect.Effect<A, E, R>,
  logging: LoggingOptions = { to: "stderr", level: "Warn" }
) =>
  Settings.read({
    host: given(flags.host),
    port: given(flags.port),
    databaseUrl: given(flags.databaseUrl),
    dataDir: given(flags.dataDir),
    serverUrl: given(flags.serverUrl),
    apiKey: given(flags.apiKey)
  }).pipe(
    Effect.mapError(({ faults }) => new CommandFailed({ lines: faults })),
    Effect.flatMap((settings) =>
      run(settings).pipe(explained(settings), Effect.provide(layerLogging(settings, logging)))
    )
  )
