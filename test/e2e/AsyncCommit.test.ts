import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { alterSystem, ownPostgres } from "../support/OwnPostgres.ts"
import { waitFor } from "../support/ServiceProcess.ts"
import { sceneOn } from "./Scene.ts"
import { ledger, newSeed, report, write } from "./Workload.ts"

describe("PostgreSQL with synchronous_commit = off", () => {
  it.live("loses nothing that is committed after a crash of PostgreSQL", () =>
    Effect.scoped(Effect.gen(function*() {
      const postgres = yield* ownPostgres
      yield* postgres.start
      yield* alterSystem(postgres.url, "synchronous_commit", "off")
      const { endpoint, sql } = yield* sceneOn(postgres.url)
      const seed = newSeed()
      const load = { commits: 0, tried: new Set<string>() }
      const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 1500, pauseMs: 5, load }))
      for (const at of [300, 600, 900]) {
        yield* waitFor(`${at} commits`, Effect.sync(() => load.commits >= at))
        yield* postgres.crash
        yield* postgres.start
      }
      yield* Fiber.join(writers)
      const committed = yield* ledger(sql)
      const missing = () => [...committed].filter((change) => !endpoint.byChange().has(change)).length
      yield* waitFor("every committed change", Effect.sync(() => missing() === 0)).pipe(Effect.ignore)
      yield* report("asynchronous commits, crashes", { committed: committed.size, lost: missing() })
      assert.strictEqual(missing(), 0)
    })))
})
