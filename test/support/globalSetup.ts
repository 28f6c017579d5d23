import { Effect, Exit, Scope } from "effect"
import { chmod, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TestProject } from "vitest/node"
import { EmbeddedPostgres } from "../../src/services/EmbeddedPostgres.ts"

declare module "vitest" {
  export interface ProvidedContext {
    /** A superuser's url to the test run's PostgreSQL; see `TestDatabase`. */
    postgresUrl: string
  }
}

interface Shared {
  users: number
  readonly url: Promise<string>
  readonly stop: () => Promise<void>
}

const start = (): Shared => {
  const given = process.env["TRUSS_TEST_DATABASE_URL"]
  if (given !== undefined) return { users: 0, url: Promise.resolve(given), stop: async () => {} }
  const scope = Scope.makeUnsafe()
  const folder = mkdtemp(join(tmpdir(), "truss-test-"))
  const url = folder.then(async (dataDir) => {
    // The server runs as nobody where the tests run as root.
    await chmod(dataDir, 0o711)
    const server = await EmbeddedPostgres.start({
      dataDir,
      database: "postgres",
      settings: { max_connections: "300", shared_buffers: "256MB", max_prepared_transactions: "10" }
    }).pipe(Scope.provide(scope), Effect.runPromise)
    process.env["TRUSS_TEST_DATABASE_URL"] = server.url
    return server.url
  })
  const stop = async () => {
    delete process.env["TRUSS_TEST_DATABASE_URL"]
    await Effect.runPromise(Scope.close(scope, Exit.void))
    await rm(await folder, { recursive: true, force: true })
  }
  return { users: 0, url, stop }
}

// Each vitest project loads this module anew, in one process: the server is shared through the process.
const registry: { [key: symbol]: Shared | undefined } = globalThis as never
const key = Symbol.for("truss/test/postgres")

/** One PostgreSQL for the whole run, or the one that TRUSS_TEST_DATABASE_URL names. */
export default async function setup(project: TestProject) {
  const shared = registry[key] ??= start()
  shared.users++
  project.provide("postgresUrl", await shared.url)
  return async () => {
    if (--shared.users > 0) return
    registry[key] = undefined
    await shared.stop()
  }
}
