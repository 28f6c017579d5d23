import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { join } from "node:path"
import { type DatabaseOptions, layerDatabase } from "../services/Database.ts"
import { EmbeddedPostgres } from "../services/EmbeddedPostgres.ts"
import type { SettingsShape } from "../services/Settings.ts"

const openEmbedded = Effect.fnUntraced(function*(dataDir: string) {
  const { url, version } = yield* EmbeddedPostgres.start({ dataDir })
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
