import { Config, ConfigProvider, Context, Effect, Layer, type LogLevel, Option, Redacted, Schema } from "effect"
import { isIP } from "node:net"
import { type EgressAllow, loopbackAndPrivate, parseEgressAllow } from "../domain/EgressAllow.ts"
import type { HostPort } from "../domain/HostPort.ts"
import { EndpointUrl } from "../domain/Webhook.ts"
import { type EncryptionKeys, parseEncryptionKeys } from "./EncryptionKey.ts"

const decodeEndpointUrl = Schema.decodeUnknownOption(EndpointUrl)

/** Every invalid setting at once. `faults` are lines for people: the setting's name and what is allowed. */
export class InvalidSettings extends Schema.TaggedError<InvalidSettings>()("InvalidSettings", {
  faults: Schema.NonEmptyArray(Schema.String)
}) {}

/** A kind of value: how it is read from text, and what is said when that fails. */
export interface Kind<A> {
  readonly allowed: string
  readonly parse: (text: string) => A | undefined
  /** Never repeat the value in a message. */
  readonly secret?: boolean
}

const wholeNumber = (minimum: number, maximum: number, of = ""): Kind<number> => ({
  allowed: `a whole number${of} from ${minimum} to ${maximum}`,
  parse: (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : -1
    return value >= minimum && value <= maximum ? value : undefined
  }
})

const choice = <const A>(values: Readonly<Record<string, A>>, allowed: string): Kind<A> => ({
  allowed,
  parse: (text) => {
    const key = text.toLowerCase()
    return Object.hasOwn(values, key) ? values[key] : undefined
  }
})

/** A host name or an address to listen on. */
export const Host: Kind<string> = {
  allowed: "a host name or an IP address",
  parse: (text) => isIP(text) > 0 || /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/i.test(text) ? text : undefined
}

/** A port to listen on; 0 is any free one. */
export const Port = wholeNumber(0, 65535)

const sslModes = new Set(["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])

/** A PostgreSQL connection string. */
export const DatabaseUrl: Kind<Redacted.Redacted> = {
  allowed: "a URL like postgres://user:password@host:5432/database or …?sslmode=require",
  secret: true,
  parse: (text) => {
    const url = /^postgres(ql)?:\/\//i.test(text) ? URL.parse(text) : null
    if (url === null || url.hostname === "" && !url.searchParams.has("host")) return undefined
    return sslModes.has(url.searchParams.get("sslmode") ?? "prefer") ? Redacted.make(text) : undefined
  }
}

/** A folder, made when it is needed. */
export const Folder: Kind<string> = {
  allowed: "the path of a folder",
  parse: (text) => text.trim() === "" || text.includes("\0") ? undefined : text
}

const CollectorUrl: Kind<string> = {
  allowed: "an http or https URL without credentials, query and fragment",
  secret: true,
  parse: (text) => {
    const url = /^https?:\/\/[^/]/i.test(text) ? URL.parse(text) : null
    return url !== null && url.href === url.origin + url.pathname ? text : undefined
  }
}

/** The address of a server. */
export const HttpUrl: Kind<string> = {
  allowed: "an http or https URL",
  parse: (text) => /^https?:\/\/[^/]/i.test(text) && URL.canParse(text) ? text : undefined
}

/** A key of the REST API. */
export const ApiKey: Kind<Redacted.Redacted> = {
  allowed: "a key that starts with truss_sk_ and has at least 32 characters, without spaces",
  secret: true,
  parse: (text) => /^truss_sk_[\x21-\x7e]{23,}$/.test(text) ? Redacted.make(text) : undefined
}

const EncryptionKey: Kind<EncryptionKeys> = {
  allowed: "32 bytes in base64 (openssl rand -base64 32 makes them); several, newest first, with commas between",
  secret: true,
  parse: parseEncryptionKeys
}

const Days: Kind<number> = {
  allowed: `whole days, at least 1, such as "7 days"`,
  parse: (text) => {
    const days = Number(/^(\d{1,5}) *(?:d|days?)?$/i.exec(text.trim())?.[1])
    return days >= 1 ? days : undefined
  }
}

const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

const Span: Kind<number> = {
  allowed: `a time such as "5 days", "12 hours", "30 minutes", "90 seconds", "5d" or "12h"`,
  parse: (text) => {
    const match = /^(\d{1,7}) *(d|h|m|s|days?|hours?|minutes?|seconds?)$/i.exec(text.trim())
    if (match === null) return undefined
    const ms = Number(match[1]) * unitMs[match[2]![0]!.toLowerCase() as keyof typeof unitMs]
    return ms > 0 ? ms : undefined
  }
}

const KratosUrl: Kind<string> = {
  allowed: "an http or https URL without credentials, query and fragment",
  secret: true,
  parse: (text) => /[?#]/.test(text) || Option.isNone(decodeEndpointUrl(text)) ? undefined : text.replace(/\/+$/, "")
}

const AlertUrl: Kind<string> = {
  allowed: "an http or https URL without credentials",
  secret: true,
  parse: (text) => Option.isSome(decodeEndpointUrl(text)) ? text : undefined
}

const Reachable: Kind<EgressAllow> = {
  allowed: `CIDRs and host names with commas between, such as "10.0.0.0/8, hooks.internal, *.corp.example", or none`,
  parse: parseEgressAllow
}

const headerName = /^[!#$%&'*+.^_`|~0-9a-z-]+$/i

const decoded = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text.trim())
  } catch {
    return undefined
  }
}

/** `name=value,name=value`, percent-encoded, as OpenTelemetry's variables have it. */
const pairs = (text: string, fits: (name: string, value: string) => boolean) => {
  const found: Record<string, string> = Object.create(null)
  for (const pair of text.split(",").filter((part) => part.trim() !== "")) {
    const at = pair.indexOf("=")
    const [name, value] = [decoded(pair.slice(0, Math.max(0, at))), decoded(pair.slice(at + 1))]
    if (name === undefined || name === "" || value === undefined || !fits(name, value)) return undefined
    found[name] = value
  }
  return found
}

const OtlpHeaders: Kind<Redacted.Redacted<Readonly<Record<string, string>>>> = {
  allowed: "headers like name=value,other=value, with percent-encoded values",
  secret: true,
  parse: (text) => {
    const headers = pairs(text, (name, value) => headerName.test(name) && /^[\t\x20-\x7e]*$/.test(value))
    return headers && Redacted.make(headers)
  }
}

const Attributes: Kind<Readonly<Record<string, string>>> = {
  allowed: "attributes like key=value,other=value, with percent-encoded values",
  parse: (text) => pairs(text, () => true)
}

const Text: Kind<string> = { allowed: "a text", parse: (text) => text.trim() === "" ? undefined : text.trim() }

const Switch = choice({ true: true, false: false }, "true or false")

const Level = choice<LogLevel.LogLevel>(
  { trace: "Trace", debug: "Debug", info: "Info", warn: "Warn", error: "Error" },
  "one of trace, debug, info, warn, error"
)

const ClusterAddress: Kind<HostPort> = {
  allowed: "a host and a port like 10.0.0.4:7788 or [fd00::4]:7788",
  parse: (text) => {
    const [, v6, name, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text.trim()) ?? []
    const host = v6 === undefined ? Host.parse(name ?? "") : isIP(v6) === 6 ? v6 : undefined
    const port = Port.parse(digits ?? "")
    return host === undefined || port === undefined || port === 0 ? undefined : { host, port }
  }
}

const ClusterToken: Kind<Redacted.Redacted> = {
  allowed: "at least 32 characters without spaces (openssl rand -base64 32 makes them)",
  secret: true,
  parse: (text) => /^[\x21-\x7e]{32,}$/.test(text) ? Redacted.make(text) : undefined
}

/** What the command line says; each wins over the environment's setting. */
export interface SettingsFlags {
  readonly host?: string | undefined
  readonly port?: number | undefined
  readonly databaseUrl?: Redacted.Redacted | undefined
  readonly dataDir?: string | undefined
  readonly serverUrl?: string | undefined
  readonly apiKey?: Redacted.Redacted | undefined
}

/** Settings by their meaning. `undefined` where the contract's default depends on something else. */
export interface SettingsShape {
  /** `undefined`: the embedded PostgreSQL in `dataDir`. */
  readonly databaseUrl: Redacted.Redacted | undefined
  readonly databaseListenUrl: Redacted.Redacted | undefined
  readonly databasePrepare: boolean
  readonly listen: "auto" | "off"
  readonly host: string
  readonly port: number
  /** Whether somebody chose the port. */
  readonly portGiven: boolean
  readonly dataDir: string
  readonly auth: "open" | "required"
  readonly apiKey: Redacted.Redacted | undefined
  /** `undefined`: those of the key file in `dataDir`. */
  readonly encryptionKeys: EncryptionKeys | undefined
  /** Without a slash at its end. */
  readonly kratosUrl: string | undefined
  /** The server that commands talk to. */
  readonly serverUrl: string
  readonly concurrency: number
  readonly retentionDays: number
  /** Bytes. */
  readonly maxPayload: number
  readonly disableAfterMs: number
  readonly alertUrl: string | undefined
  readonly egressAllow: EgressAllow
  readonly logLevel: LogLevel.LogLevel | undefined
  readonly logFormat: "pretty" | "json" | undefined
  readonly otlpEndpoint: string | undefined
  readonly otlpHeaders: Redacted.Redacted<Readonly<Record<string, string>>> | undefined
  readonly otelServiceName: string | undefined
  readonly otelResource: Readonly<Record<string, string>>
  /** A span for every attempt, told to its endpoint in `traceparent`. */
  readonly traceDeliveries: boolean
  /** Makes the process a runner of a cluster: where others reach it, and where it listens for them if elsewhere. */
  readonly cluster: HostPort | undefined
  readonly clusterListen: HostPort | undefined
  readonly clusterToken: Redacted.Redacted | undefined
  /** Variables named `TRUSS_…` that are no setting of this version. */
  readonly unknown: ReadonlyArray<string>
}

/** Whether only this machine can reach a listener on the host. */
export const isLoopback = (host: string): boolean =>
  host.toLowerCase() === "localhost" || host === "::1" || isIP(host) === 4 && host.startsWith("127.")

/** What deliveries may reach unless said: this machine and private networks, as long as only this machine asks. */
export const defaultEgressAllow = (host: string): EgressAllow => isLoopback(host) ? loopbackAndPrivate : []

const known = new Set([
  "TRUSS_LISTEN",
  "TRUSS_URL",
  "TRUSS_DATA_DIR",
  "TRUSS_AUTH",
  "TRUSS_API_KEY",
  "TRUSS_ENCRYPTION_KEY",
  "TRUSS_CONCURRENCY",
  "TRUSS_RETENTION",
  "TRUSS_MAX_PAYLOAD",
  "TRUSS_DISABLE_AFTER",
  "TRUSS_ALERT_URL",
  "TRUSS_EGRESS_ALLOW",
  "TRUSS_TRACE_DELIVERIES",
  "TRUSS_CLUSTER",
  "TRUSS_CLUSTER_LISTEN",
  "TRUSS_CLUSTER_TOKEN"
])

// The provider shows names as a tree whose branches are the parts between underscores.
const namesUnder = (
  provider: ConfigProvider.ConfigProvider,
  path: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, ConfigProvider.SourceError> =>
  Effect.flatMap(provider.load(path), (node) => {
    const here = node?.value === undefined ? [] : [path.join("_")]
    if (node?._tag !== "Record") return Effect.succeed(here)
    return Effect.map(
      Effect.forEach([...node.keys].toSorted(), (key) => namesUnder(provider, [...path, key])),
      (names) => [...here, ...names.flat()]
    )
  })

const read = Effect.fnUntraced(function*(flags: SettingsFlags) {
  const faults: Array<string> = []
  const setting = Effect.fnUntraced(function*<A>(name: string, kind: Kind<A>, flag?: A) {
    if (flag !== undefined) return flag
    const text = Option.getOrUndefined(yield* Config.option(Config.String(name)))
    if (text === undefined) return undefined
    const value = kind.parse(text)
    if (value === undefined) {
      faults.push(`${name} must be ${kind.allowed}${kind.secret === true ? "" : `, not ${JSON.stringify(text)}`}`)
    }
    return value
  })

  const databaseUrl = yield* setting("DATABASE_URL", DatabaseUrl, flags.databaseUrl)
  const databaseListenUrl = yield* setting("DATABASE_LISTEN_URL", DatabaseUrl)
  if (databaseListenUrl !== undefined && databaseUrl === undefined) {
    faults.push("DATABASE_LISTEN_URL must go with DATABASE_URL: it names the same database")
  }
  const databasePrepare = yield* setting("DATABASE_PREPARE", Switch)
  const listen = yield* setting("TRUSS_LISTEN", choice({ auto: "auto", off: "off" }, "auto or off"))
  const host = (yield* setting("HOST", Host, flags.host)) ?? "127.0.0.1"
  const port = yield* setting("PORT", Port, flags.port)
  const dataDir = yield* setting("TRUSS_DATA_DIR", Folder, flags.dataDir)
  const auth = yield* setting("TRUSS_AUTH", choice({ open: "open", required: "required" }, "open or required"))
  const apiKey = yield* setting("TRUSS_API_KEY", ApiKey, flags.apiKey)
  const serverUrl = yield* setting("TRUSS_URL", HttpUrl, flags.serverUrl)
  const encryptionKeys = yield* setting("TRUSS_ENCRYPTION_KEY", EncryptionKey)
  const kratosUrl = yield* setting("KRATOS_PUBLIC_URL", KratosUrl)
  const concurrency = yield* setting("TRUSS_CONCURRENCY", wholeNumber(1, 10_000))
  const retentionDays = yield* setting("TRUSS_RETENTION", Days)
  const maxPayload = yield* setting("TRUSS_MAX_PAYLOAD", wholeNumber(1, 268_435_456, " of bytes"))
  const disableAfterMs = yield* setting("TRUSS_DISABLE_AFTER", Span)
  const alertUrl = yield* setting("TRUSS_ALERT_URL", AlertUrl)
  const egressAllow = yield* setting("TRUSS_EGRESS_ALLOW", Reachable)
  const logLevel = yield* setting("LOG_LEVEL", Level)
  const logFormat = yield* setting("LOG_FORMAT", choice({ pretty: "pretty", json: "json" }, "pretty or json"))
  const otlpEndpoint = yield* setting("OTEL_EXPORTER_OTLP_ENDPOINT", CollectorUrl)
  const otlpHeaders = yield* setting("OTEL_EXPORTER_OTLP_HEADERS", OtlpHeaders)
  const otelServiceName = yield* setting("OTEL_SERVICE_NAME", Text)
  const otelResource = yield* setting("OTEL_RESOURCE_ATTRIBUTES", Attributes)
  const traceDeliveries = yield* setting("TRUSS_TRACE_DELIVERIES", Switch)
  if (traceDeliveries === true && otlpEndpoint === undefined) {
    faults.push("TRUSS_TRACE_DELIVERIES must go with OTEL_EXPORTER_OTLP_ENDPOINT: the traces have to go somewhere")
  }
  const cluster = yield* setting("TRUSS_CLUSTER", ClusterAddress)
  const clusterListen = yield* setting("TRUSS_CLUSTER_LISTEN", ClusterAddress)
  const clusterToken = yield* setting("TRUSS_CLUSTER_TOKEN", ClusterToken)
  if (cluster === undefined && (clusterListen !== undefined || clusterToken !== undefined)) {
    const name = clusterListen === undefined ? "TRUSS_CLUSTER_TOKEN" : "TRUSS_CLUSTER_LISTEN"
    faults.push(`${name} must go with TRUSS_CLUSTER: where other runners reach this one`)
  }
  const names = yield* namesUnder(yield* ConfigProvider.ConfigProvider, ["TRUSS"])
  const [first, ...rest] = faults
  if (first !== undefined) return yield* new InvalidSettings({ faults: [first, ...rest] })
  return {
    databaseUrl,
    databaseListenUrl,
    databasePrepare: databasePrepare ?? true,
    listen: listen ?? "auto",
    host,
    port: port ?? 8787,
    portGiven: port !== undefined,
    dataDir: dataDir ?? ".truss",
    auth: auth ?? (isLoopback(host) ? "open" : "required"),
    apiKey,
    encryptionKeys,
    kratosUrl,
    serverUrl: serverUrl ?? "http://localhost:8787",
    concurrency: concurrency ?? 256,
    retentionDays: retentionDays ?? 7,
    maxPayload: maxPayload ?? 1_048_576,
    disableAfterMs: disableAfterMs ?? 432_000_000,
    alertUrl,
    egressAllow: egressAllow ?? defaultEgressAllow(host),
    logLevel,
    logFormat,
    otlpEndpoint,
    otlpHeaders,
    otelServiceName,
    otelResource: otelResource ?? {},
    traceDeliveries: traceDeliveries ?? false,
    cluster,
    clusterListen,
    clusterToken,
    unknown: names.filter((name) => !known.has(name))
  } satisfies SettingsShape
}, Effect.catchTag(["ConfigError", "SourceError"], Effect.die))

/** The settings of the process: the environment, and the flags that win over it. Nothing else reads the environment. */
export class Settings extends Context.Service<Settings, SettingsShape>()("truss/services/Settings") {
  /** Reads the settings through the current `ConfigProvider`. An empty variable counts as unset. */
  static readonly read: (flags?: SettingsFlags) => Effect.Effect<SettingsShape, InvalidSettings> = (flags = {}) =>
    read(flags)

  static readonly layer = (flags?: SettingsFlags) => Layer.effect(Settings, Settings.read(flags))
}
