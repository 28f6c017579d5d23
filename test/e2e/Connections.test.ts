import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { ownPostgres } from "../support/OwnPostgres.ts"
import { startRecorder } from "../support/Recorder.ts"
import { startService, waitFor } from "../support/ServiceProcess.ts"
import { createWebhook, scene, sceneOn, withDatabase } from "./Scene.ts"
import { connect, createTables, delivered, judge, newSeed, report, write } from "./Workload.ts"

describe("a service whose connections end", { concurrent: true }, () => {
  it.live("goes on by itself when all of its sessions are terminated, five times under load", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, webhook } = yield* scene()
      const seed = newSeed()
      const load = { commits: 0, tried: new Set<string>() }
      const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 1500, pauseMs: 8, load }))
      let terminated = 0
      for (const at of [200, 450, 700, 950, 1200]) {
        yield* waitFor(`${at} commits`, Effect.sync(() => load.commits >= at))
        const rows = yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'truss-webhooks'`
        terminated += rows.length
      }
      yield* Fiber.join(writers)
      yield* delivered(sql, endpoint, webhook.id, { describe: service.output })
      yield* judge("pg_terminate_backend five times", sql, endpoint, webhook.id, { terminated, seed })
      assert.isAtLeast(terminated, 10)
      yield* service.ready("notify")
      // It is rung again: a single change arrives at once, not with the next look.
      const before = Date.now()
      yield* write(sql, { seed: 1, transactions: 1, writers: 1, name: "last" })
      yield* delivered(sql, endpoint, webhook.id, { within: 5_000 })
      yield* report("a change after that", { ms: Date.now() - before })
    })))

  it.live("goes on by itself when PostgreSQL is restarted, and when it is killed with -9, under load", () =>
    Effect.scoped(Effect.gen(function*() {
      const postgres = yield* ownPostgres
      yield* postgres.start
      const { endpoint, service, sql, webhook } = yield* sceneOn(postgres.url)
      const seed = newSeed()
      const load = { commits: 0, tried: new Set<string>() }
      const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 1000, pauseMs: 5, load }))
      const back: Record<string, number> = {}
      for (const [how, at] of [["stop", 200], ["crash", 450], ["crash", 700]] as const) {
        yield* waitFor(`${at} commits`, Effect.sync(() => load.commits >= at))
        yield* postgres[how]
        yield* service.health(503)
        yield* postgres.start
        const startedAt = Date.now()
        const arrived = endpoint.received().length
        yield* service.ready("notify")
        yield* waitFor("a delivery", Effect.sync(() => endpoint.received().length > arrived), {
          within: 10_000,
          describe: service.output
        })
        back[`delivering again after a ${how} at ${at} (ms)`] = Date.now() - startedAt
      }
      yield* Fiber.join(writers)
      yield* delivered(sql, endpoint, webhook.id, { describe: service.output })
      yield* judge("PostgreSQL restarted and killed", sql, endpoint, webhook.id, { ...back, seed })
    })))

  it.live("waits with 503 for a database that comes 3 seconds after it", () =>
    Effect.scoped(Effect.gen(function*() {
      const postgres = yield* ownPostgres
      const startedAt = Date.now()
      const service = yield* startService(postgres.url)
      yield* service.health(503)
      const saidAt = Date.now()
      const answer = yield* service.ask("GET", "/api/webhooks")
      yield* Effect.sleep(Math.max(0, 3_000 - (Date.now() - startedAt)))
      yield* service.health(503)
      const upAt = Date.now()
      yield* postgres.start
      yield* service.ready("notify")
      yield* report("a database that comes later", {
        "503 after (ms)": saidAt - startedAt,
        "the API meanwhile": answer.status,
        "ready after PostgreSQL's start (ms)": Date.now() - upAt
      })
      assert.strictEqual(answer.status, 503)
      const sql = yield* connect(postgres.url)
      yield* createTables(sql)
      const endpoint = (yield* startRecorder).endpoint("/all")
      const webhook = yield* createWebhook(service, endpoint.url)
      yield* write(sql, { seed: 1, transactions: 20 })
      yield* delivered(sql, endpoint, webhook.id, { within: 10_000, describe: service.output })
      yield* judge("its first changes", sql, endpoint, webhook.id)
    })))
})
