import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted } from "effect"
import { type DatabaseOptions, layerDatabase } from "../services/Database.ts"
import { EmbeddedPostgres } from "../services/EmbeddedPostgres.ts"
import type { SettingsShape } from "../services/Settings.ts"

/** The database that the settings name: `DATABASE_URL`, or an embedded PostgreSQL for as long as the scope. */
export const openDatabase = Effect.fnUntraced(function*(settings: SettingsShape) {
  const url = settings.databaseUrl ??
    Redacted.make((yield* EmbeddedPostgres.start({ dataDir: settings.dataDir })).url)
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
