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
      if (process.env["WALDELAY"]) yield* alterSystem(postgres.url, "wal_writer_delay", process.env["WALDELAY"])
      const { endpoint, service, sql, webhook } = yield* sceneOn(postgres.url)
      const seed = newSeed()
      const load = { commits: 0, tried: new Set<string>() }
      const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 1500, pauseMs: 5, load }))
      for (const at of [300, 600, 900]) {
        yield* waitFor(`${at} commits`, Effect.sync(() => load.commits >= at))
        yield* postgres.crash
        yield* postgres.start
      }
      yield* Fiber.join(writers)
      yield* Effect.sleep("3 seconds")
      const committed = yield* ledger(sql)
      const arrived = endpoint.byChange()
      const lost = [...committed].filter((c) => !arrived.has(c))
      yield* report("async commits, crashes", {
        committed: committed.size,
        lost: lost.length,
        extra: [...arrived.keys()].filter((c) => !committed.has(c)).length
      })
      const [row] = yield* sql<{ skipped: number; now: string; seen: string }>`
        SELECT count(*)::int AS skipped, min(c.seen::text) AS seen, pg_current_snapshot()::text AS now FROM truss.events e, truss.cursors c
        WHERE pg_visible_in_snapshot(e.xid, c.seen) AND NOT EXISTS (SELECT FROM truss.attempts a
          WHERE a.webhook_id = c.webhook_id AND a.event_seq = e.seq AND a.event_at = e.created_at)`
      yield* report("events that the stored position counts as seen, without an attempt in the log", { ...row })
      assert.strictEqual(lost.length, 0)
      void webhook
    })))
})
