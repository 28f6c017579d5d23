import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { lstatSync } from "node:fs"
import { join } from "node:path"
import { type DatabaseOptions, layerDatabase } from "../services/Database.ts"
import { EmbeddedPostgres } from "../services/EmbeddedPostgres.ts"
import type { SettingsShape } from "../services/Settings.ts"
import { CommandFailed } from "./Failure.ts"

/** Failures that another data folder, or another state of it, would mend. */
const ofFolder = new Set(["DataFolder", "VersionMismatch", "Busy"])

const openEmbedded = Effect.fnUntraced(function*(dataDir: string) {
  const { url, version } = yield* EmbeddedPostgres.start({ dataDir }).pipe(
    Effect.mapError(({ message, reason }) =>
      new CommandFailed({ lines: [ofFolder.has(reason) ? `TRUSS_DATA_DIR: ${message}` : message] })
    )
  )
  const { host, pathname, username } = new URL(url)
  yield* Effect.logInfo(
    `DATABASE_URL is not set: PostgreSQL ${version}, embedded, is at ${username}@${host}${pathname}, ` +
      `its password in ${join(dataDir, "postgres", "password")}`
  )
  return Redacted.make(url)
})

/** The database that the settings name: `DATABASE_URL`, or an embedded PostgreSQL for as long as the scope. */
export const openDatabase = Effect.fnUntraced(function*(settings: SettingsShape) {
  const url = settings.databaseUrl ?? (yield* openEmbedded(settings.dataDir))
  return {
    url,
    listenUrl: settings.databaseListenUrl,
    prepare: settings.databasePrepare,
    maxPayload: settings.maxPayload
  } satisfies DatabaseOptions
})

/** The clients of that database, for commands that end: it must answer now. */
export const layerSource = (settings: SettingsShape) =>
  Layer.unwrap(Effect.gen(function*() {
    const clients = layerDatabase({ ...(yield* openDatabase(settings)), maxConnections: 2 })
    return Layer.provideMerge(Layer.effectDiscard(Effect.flatMap(PgClient.PgClient, (sql) => sql`SELECT 1`)), clients)
  }))

/** Like `layerSource`, for commands that look at what is there: no embedded PostgreSQL is made for them. */
export const layerExisting = (settings: SettingsShape) =>
  Layer.unwrap(Effect.gen(function*() {
    yield* requireDatabase(settings)
    return layerSource(settings)
  }))

/** Fails where the settings name no database, and none was made in the data folder. */
export const requireDatabase = ({ databaseUrl, dataDir }: SettingsShape) =>
  databaseUrl !== undefined || lstatSync(join(dataDir, "postgres"), { throwIfNoEntry: false }) !== undefined
    ? Effect.void
    : Effect.fail(
      new CommandFailed({
        lines: [`DATABASE_URL is not set, and there is no embedded PostgreSQL in ${dataDir}: say which database`]
      })
    )
