import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync } from "node:fs"
import { withDatabase } from "../e2e/Scene.ts"
import { TestDatabase } from "../support/Database.ts"
import { startService, waitFor } from "../support/ServiceProcess.ts"

const reason = process.versions["bun"] !== undefined
  ? " (skipped: Bun has another collector)"
  : existsSync("/proc/self/status")
  ? ""
  : " (skipped: there is no /proc)"

describe.skipIf(reason !== "")(`an idle service${reason}`, () => {
  it.live("gives back the memory that its start has left behind", () =>
    withDatabase(Effect.gen(function*() {
      const { url } = yield* TestDatabase
      const service = yield* startService(url)
      yield* service.ready()
      const started = yield* service.memory
      assert.isAbove(started, 50)
      yield* waitFor("memory to be given back", Effect.map(service.memory, (now) => now < started - 20), {
        within: 60_000,
        describe: service.output
      })
      yield* service.health(200)
    })))
})
