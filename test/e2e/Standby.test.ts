import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { startService, waitFor } from "../support/ServiceProcess.ts"
import { createWebhook, scene, withDatabase } from "./Scene.ts"
import { delivered, judge, newSeed, write } from "./Workload.ts"

describe("a second process on the same database", { concurrent: true }, () => {
  for (
    const [signal, title, within] of [
      ["SIGKILL", "is killed with -9", 10_000],
      ["SIGTERM", "is stopped", 2_000]
    ] as const
  ) {
    it.live(`answers the API, delivers nothing, and takes over when the first ${title}`, () =>
      withDatabase(Effect.gen(function*() {
        const { endpoint, recorder, service, sql, url, webhook } = yield* scene()
        const standby = yield* startService(url)
        yield* standby.ready("standby")

        // What the standby's API creates, the first one delivers.
        const other = recorder.endpoint("/other")
        const createdAt = Date.now()
        const second = yield* createWebhook(standby, other.url, { name: "through the standby" })
        yield* write(sql, { seed: 1, transactions: 5, name: "c" })
        yield* waitFor("the new webhook's deliveries", Effect.sync(() => other.received().length > 0), {
          within: 5_000,
          describe: () => service.output() + standby.output()
        })
        const heardAfter = Date.now() - createdAt
        yield* standby.health(200)
        assert.include(JSON.stringify((yield* standby.ask("GET", "/health/ready")).body), "standby")

        const seed = newSeed()
        const load = { commits: 0, tried: new Set<string>() }
        const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 700, pauseMs: 15, load }))
        yield* waitFor("300 commits", Effect.sync(() => load.commits >= 300))
        const goneAt = Date.now()
        yield* service.signal(signal)
        const { code } = yield* service.ended
        const endedAt = Date.now()
        yield* standby.ready("notify")
        yield* waitFor("a delivery by the other one", Effect.sync(() => endpoint.received().at(-1)!.at > endedAt + 1))
        const tookOver = Date.now() - endedAt
        yield* Fiber.join(writers)
        yield* delivered(sql, endpoint, webhook.id, { describe: standby.output })
        yield* delivered(sql, other, second.id, { describe: standby.output })
        const verdict = yield* judge(`the first one ${title}`, sql, endpoint, webhook.id, {
          "taken over after (ms)": tookOver,
          "ended after (ms)": endedAt - goneAt,
          "a webhook of the standby was delivered after (ms)": heardAfter,
          seed
        })
        const verdictOther = yield* judge("the webhook made through the standby", sql, other, second.id)
        assert.isBelow(tookOver, within)
        if (signal === "SIGTERM") {
          assert.strictEqual(code, 0)
          assert.strictEqual(verdict.twice + verdictOther.twice, 0)
        }
      })))
  }
})
