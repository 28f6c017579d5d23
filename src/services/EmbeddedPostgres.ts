import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted, Schedule } from "effect"
import type { Scope } from "effect"
import { open } from "node:fs/promises"
import { createServer } from "node:net"
import { EmbeddedPostgresError } from "./EmbeddedPostgresError.ts"
import { openFolder } from "./EmbeddedPostgresFolder.ts"
import { findServer, readLockFile, readText, spawnServer, stopServer } from "./EmbeddedPostgresProcess.ts"

/** How to start the embedded PostgreSQL. */
export interface EmbeddedPostgresOptions {
  /** The service's data folder, made if missing; PostgreSQL keeps to `postgres` in it. */
  readonly dataDir: string
  /** The database that `url` names, made if missing. Default `truss`. */
  readonly database?: string | undefined
  /** Server settings on top of the defaults, such as `{ max_connections: "200" }`. */
  readonly settings?: Readonly<Record<string, string>> | undefined
  /** Another npm package, or the absolute path of its folder, to take PostgreSQL from. */
  readonly package?: string | undefined
}

type Folder = Effect.Success<ReturnType<typeof openFolder>>

const defaults: Readonly<Record<string, string>> = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  max_connections: "100",
  timezone: "UTC",
  log_timezone: "UTC",
  log_checkpoints: "off",
  jit: "off"
}

const busy = (message: string) => new EmbeddedPostgresError({ reason: "Busy", message })

// Reasons that pass by themselves: backends that outlive a killed postmaster for a moment, another process that starts
// on the same folder, and a port taken between our look and the server's.
const passing = /pre-existing shared memory block|lock file ".*" already exists|could not create any TCP\/IP sockets/

const freePort = Effect.callback<number, EmbeddedPostgresError>((resume) => {
  const probe = createServer()
  probe.once("error", (error) => resume(busy(`there is no free port on 127.0.0.1 (${error.message})`)))
  probe.listen(0, "127.0.0.1", () => {
    const address = probe.address()
    probe.close(() => resume(Effect.succeed(typeof address === "object" ? address?.port ?? 0 : 0)))
  })
})

const urlOf = (folder: Folder, port: number, database: string) =>
  `postgres://postgres:${folder.password}@127.0.0.1:${port}/${encodeURIComponent(database)}`
