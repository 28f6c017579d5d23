import { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { open, rm } from "node:fs/promises"
import { cpus, loadavg, platform, release, totalmem } from "node:os"
import { join } from "node:path"
import { attempt } from "./BenchError.ts"
import { median } from "./Statistics.ts"

/** What the numbers were measured on. */
export interface Machine {
  readonly at: string
  readonly cores: number
  readonly cpu: string
  readonly memoryGb: number
  readonly os: string
  readonly node: string
  readonly postgres: string
  readonly settings: Readonly<Record<string, string>>
  /** Median of 50 writes of 8 KiB that are made durable one by one: what a commit costs at least. */
  readonly syncMs: number
  /** Processes that wanted to run before the benchmark did anything, on average over a minute. */
  readonly loadBefore: number
}

const loadBefore = loadavg()[0] ?? 0

const shown = ["fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_connections"]

const measureSync = (folder: string) =>
  attempt("cannot measure the disk", async () => {
    const path = join(folder, "sync")
    const file = await open(path, "w")
    const page = Buffer.alloc(8192, 1)
    const times: Array<number> = []
    for (let n = 0; n < 50; n++) {
      const start = performance.now()
      await file.write(page)
      await file.datasync()
      times.push(performance.now() - start)
    }
    await file.close()
    await rm(path)
    return median(times)
  })

export const describeMachine = Effect.fnUntraced(function*(folder: string) {
  const sql = yield* PgClient.PgClient
  const settings = yield* sql<{ name: string; setting: string }>`
    SELECT name, current_setting(name) AS setting FROM pg_settings
    WHERE name = ANY (${shown}) OR name = 'server_version' ORDER BY name`
  const byName = Object.fromEntries(settings.map(({ name, setting }) => [name, setting]))
  const { server_version: postgres = "", ...others } = byName
  const [cpu] = cpus()
  return {
    at: new Date().toISOString(),
    cores: cpus().length,
    cpu: cpu?.model.trim() ?? "unknown",
    memoryGb: Math.round(totalmem() / 1024 ** 3),
    os: `${platform()} ${release()}`,
    node: process.version,
    postgres,
    settings: others,
    syncMs: yield* measureSync(folder),
    loadBefore
  } satisfies Machine
})

export const machineLine = (machine: Machine): string =>
  [
    `${machine.cores} cores of ${machine.cpu}, ${machine.memoryGb} GB, ${machine.os}`,
    `Node ${machine.node}, PostgreSQL ${machine.postgres}, fsync ${machine.settings["fsync"]}, ` +
    `synchronous_commit ${machine.settings["synchronous_commit"]}, a durable write ${machine.syncMs.toFixed(2)} ms`,
    `load before the run ${machine.loadBefore.toFixed(1)}${
      machine.loadBefore > 0.5 ? ": something else was running" : ""
    }`
  ].join("\n")
