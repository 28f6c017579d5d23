import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { startService, waitFor } from "../support/ServiceProcess.ts"
import { scene, withDatabase } from "./Scene.ts"
import { connect, delivered, judge, newSeed, report, write } from "./Workload.ts"

describe("a service that is killed", { concurrent: true }, () => {
  it.live("loses nothing of 2,000 commits when it is killed with -9 three times among them", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, url, webhook } = yield* scene()
      const seed = newSeed()
      const load = { commits: 0, tried: new Set<string>() }
      const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 2000, load }))
      let current = service
      for (const at of [400, 900, 1400]) {
        yield* waitFor(`${at} commits`, Effect.sync(() => load.commits >= at && endpoint.received().length > 0))
        yield* current.kill
        current = yield* startService(url)
      }
      yield* Fiber.join(writers)
      yield* delivered(sql, endpoint, webhook.id, { describe: current.output })
      const { committed } = yield* judge("kill -9 three times", sql, endpoint, webhook.id, {
        commits: load.commits,
        "rolled back": load.tried.size - (yield* Effect.map(sql`SELECT FROM ledger`, (rows) => rows.length)),
        seed
      })
      assert.isAbove(load.tried.size, committed)
    })))

  it.live("goes on where it was after it was stopped (SIGSTOP) for 3 seconds", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, webhook } = yield* scene()
      const seed = newSeed()
      const load = { commits: 0, tried: new Set<string>() }
      const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 1000, pauseMs: 15, load }))
      yield* waitFor("200 commits", Effect.sync(() => load.commits >= 200))
      yield* service.signal("SIGSTOP")
      const stoppedAt = endpoint.received().length
      yield* Effect.sleep("3 seconds")
      const whileStopped = endpoint.received().length - stoppedAt
      yield* service.signal("SIGCONT")
      yield* Fiber.join(writers)
      yield* delivered(sql, endpoint, webhook.id, { describe: service.output })
      yield* judge("SIGSTOP for 3 s", sql, endpoint, webhook.id, { "arrived while stopped": whileStopped, seed })
    })))

  it.live("delivers what a transaction committed that was open across the restart", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, url, webhook } = yield* scene()
      const holder = yield* connect(url, 1)
      let go = false
      const open = yield* Effect.forkScoped(holder.withTransaction(Effect.gen(function*() {
        yield* holder`INSERT INTO orders VALUES (1, 'held')`
        yield* holder`INSERT INTO ledger VALUES ('INSERT:held')`
        yield* waitFor("the restart", Effect.sync(() => go))
      })))
      yield* waitFor(
        "the transaction to be open",
        Effect.map(
          sql`SELECT FROM pg_stat_activity WHERE state = 'idle in transaction'
          AND datname = current_database()`,
          (rows) => rows.length > 0
        )
      )
      // Later ones commit before it, are delivered, and move the position beyond its numbers.
      yield* write(sql, { seed: 1, transactions: 50 })
      yield* waitFor("the others to arrive", Effect.sync(() => endpoint.received().length >= 50))
      yield* service.stop
      yield* write(sql, { seed: 2, transactions: 50, name: "x" })
      const next = yield* startService(url)
      yield* next.ready()
      yield* write(sql, { seed: 3, transactions: 50, name: "y" })
      go = true
      yield* Fiber.join(open)
      const committedAt = Date.now()
      yield* delivered(sql, endpoint, webhook.id, { describe: next.output })
      const held = endpoint.byChange().get("INSERT:held")
      yield* judge("a transaction open across a restart", sql, endpoint, webhook.id, {
        "delivered after its commit (ms)": held![0]!.at - committedAt
      })
      assert.strictEqual(held!.length, 1)
    })))

  it.live("drains a backlog of 20,000 changes that was made while it was stopped, in bounded memory", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, url, webhook } = yield* scene()
      yield* service.stop
      for (let i = 0; i < 20; i++) {
        yield* sql.withTransaction(Effect.andThen(
          sql`INSERT INTO orders SELECT g, 'b' || g FROM generate_series(${i * 1000 + 1}::int, ${
            i * 1000 + 1000
          }::int) g`,
          sql`INSERT INTO ledger SELECT 'INSERT:b' || g FROM generate_series(${i * 1000 + 1}::int, ${
            i * 1000 + 1000
          }::int) g`
        ))
      }
      const next = yield* startService(url)
      yield* next.ready()
      const idle = yield* next.memory
      const startedAt = Date.now()
      let most = 0
      yield* waitFor(
        "the backlog to arrive",
        Effect.map(next.memory, (now) => {
          most = Math.max(most, now)
          return endpoint.received().length >= 20_000
        }),
        { within: 60_000, describe: next.output }
      )
      const seconds = (Date.now() - startedAt) / 1000
      yield* delivered(sql, endpoint, webhook.id)
      yield* judge("a backlog of 20,000", sql, endpoint, webhook.id, {
        seconds: seconds.toFixed(1),
        "MB at start": idle.toFixed(0),
        "MB at most": most.toFixed(0)
      })
      assert.isBelow(most, 400)
      yield* report("rate", { "per second": Math.round(20_000 / seconds) })
    })))
})
