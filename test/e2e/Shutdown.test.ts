import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { deliveryIdOf } from "../support/Recorder.ts"
import { startService, waitFor } from "../support/ServiceProcess.ts"
import { scene, withDatabase } from "./Scene.ts"
import { delivered, judge, ledger, loggedDeliveries, newSeed, report, write } from "./Workload.ts"

describe("a service that is told to stop", { concurrent: true }, () => {
  it.live("ends with 0 after SIGTERM when the attempts in flight have ended, and has each of them in its log", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, url, webhook } = yield* scene()
      endpoint.behave({ slowMs: 300 })
      const seed = newSeed()
      const load = { commits: 0, tried: new Set<string>() }
      const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 150, pauseMs: 10, load }))
      yield* waitFor("deliveries in flight", Effect.sync(() => endpoint.received().length >= 30))
      const startedAt = Date.now()
      const { code } = yield* service.stop
      const ms = Date.now() - startedAt
      const log = yield* loggedDeliveries(sql, webhook.id)
      const made = endpoint.received().map(deliveryIdOf)
      const unlogged = made.filter((id) => !log.has(id)).length
      yield* Fiber.join(writers)
      const left = (yield* ledger(sql)).size - made.length
      yield* report("SIGTERM with attempts of 300 ms in flight", {
        "exit code": code,
        "after (ms)": ms,
        attempts: made.length,
        "not in the log": unlogged,
        "left for the next start": left
      })
      assert.strictEqual(code, 0, service.output())
      assert.isBelow(ms, 12_000)
      assert.strictEqual(unlogged, 0)
      endpoint.behave("ok")
      const next = yield* startService(url)
      yield* delivered(sql, endpoint, webhook.id, { describe: next.output })
      const verdict = yield* judge("after the next start", sql, endpoint, webhook.id, { seed })
      assert.strictEqual(verdict.twice, 0)
    })))

  it.live("ends within 12 s although an endpoint hangs, and delivers that event after the next start", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, url, webhook } = yield* scene()
      endpoint.behave("hang")
      yield* write(sql, { seed: 1, transactions: 3, writers: 1 })
      yield* waitFor("the attempts", Effect.sync(() => endpoint.received().length > 0))
      const startedAt = Date.now()
      const { code } = yield* service.stop
      const ms = Date.now() - startedAt
      yield* report("SIGTERM while an endpoint hangs", { "exit code": code, "after (ms)": ms })
      assert.strictEqual(code, 0, service.output())
      assert.isBelow(ms, 12_000)
      assert.isAbove(ms, 9_000, "attempts in flight have 10 s")
      endpoint.behave("ok")
      const next = yield* startService(url)
      yield* delivered(sql, endpoint, webhook.id, { describe: next.output })
      yield* judge("after the next start", sql, endpoint, webhook.id)
    })))

  it.live("ends at once at a second SIGTERM, and loses nothing", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, url, webhook } = yield* scene()
      endpoint.behave("hang")
      yield* write(sql, { seed: 1, transactions: 3, writers: 1 })
      yield* waitFor("the attempts", Effect.sync(() => endpoint.received().length > 0))
      yield* service.signal("SIGTERM")
      // An echo of the first signal counts as the same one for 200 ms.
      yield* Effect.sleep("400 millis")
      const startedAt = Date.now()
      const { code } = yield* service.stop
      yield* report("a second SIGTERM", { "exit code": code, "after (ms)": Date.now() - startedAt })
      assert.isBelow(Date.now() - startedAt, 1_000)
      assert.strictEqual(code, 143)
      endpoint.behave("ok")
      const next = yield* startService(url)
      yield* delivered(sql, endpoint, webhook.id, { describe: next.output })
      yield* judge("after the next start", sql, endpoint, webhook.id)
    })))
})
