import { Context, Effect, Layer } from "effect"
import { Command } from "effect/cli"
import { HttpServer } from "effect/http"
import { layerService } from "../Service.ts"
import type { SettingsShape } from "../services/Settings.ts"
import { version } from "../services/Version.ts"
import { openDatabase } from "./DatabaseSource.ts"
import { databaseFlags, listenFlags, withSettings } from "./Flags.ts"
import { giveIdleMemoryBack } from "./IdleMemory.ts"
import { openKeyFile } from "./KeyFile.ts"
import { untilStopped } from "./RunMain.ts"

const serve = (settings: SettingsShape) =>
  Effect.scoped(Effect.gen(function*() {
    for (const name of settings.unknown) yield* Effect.logWarning(`${name} is no setting of this version`)
    const database = yield* openDatabase(settings)
    const { keys, made } = settings.encryptionKeys === undefined
      ? yield* openKeyFile(settings.dataDir)
      : { keys: settings.encryptionKeys, made: undefined }
    const service = yield* Layer.build(layerService({
      database,
      http: {
        host: settings.host,
        port: settings.port,
        auth: settings.auth,
        apiKey: settings.apiKey,
        kratosUrl: settings.kratosUrl
      },
      encryptionKeys: keys,
      concurrency: settings.concurrency,
      retentionDays: settings.retentionDays,
      maxPayload: settings.maxPayload,
      disableAfterMs: settings.disableAfterMs,
      alertUrl: settings.alertUrl,
      egress: { allow: settings.egressAllow },
      traceDeliveries: settings.traceDeliveries,
      listen: settings.listen,
      cluster: settings.cluster && {
        address: settings.cluster,
        listen: settings.clusterListen,
        token: settings.clusterToken
      }
    }))
    if (made !== undefined) {
      yield* Effect.logInfo(
        `made the key ${keys[0].id} in ${made}, which encrypts secrets in the database: back it up, and give it to ` +
          "every process on this database"
      )
    }
    const { address } = Context.get(service, HttpServer.HttpServer)
    yield* Effect.logInfo(`Truss Webhooks ${version} is ready on ${HttpServer.formatAddress(address)}`)
    yield* giveIdleMemoryBack
    return yield* Effect.never
  }))

/** `truss-webhooks serve` */
export const serveCommand = Command.make(
  "serve",
  { ...listenFlags, ...databaseFlags },
  (flags) => untilStopped(withSettings(flags, serve, { to: "stdout", level: "Info" }))
).pipe(
  Command.withDescription(
    "Run the service: capture, delivery and the REST API, on DATABASE_URL or an embedded PostgreSQL, until SIGTERM or SIGINT"
  ),
  Command.withShortDescription("Run the service"),
  Command.withExamples([
    { command: "truss-webhooks serve", description: "On an embedded PostgreSQL, kept in .truss" },
    { command: "truss-webhooks serve --database-url postgres://app:secret@db.example/app" },
    { command: "TRUSS_API_KEY=truss_sk_... truss-webhooks serve --host 0.0.0.0 --port 80" }
  ])
)
