import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { createWebhook, scene, sceneOn, withDatabase } from "../e2e/Scene.ts"
import { delivered, judge, loggedDeliveries, newSeed, write } from "../e2e/Workload.ts"
import { ownPostgres } from "../support/OwnPostgres.ts"
import { deliveryIdOf } from "../support/Recorder.ts"
import { startService, waitFor } from "../support/ServiceProcess.ts"

/** What a webhook has unless it is given. */
const concurrency = 16

describe("a second process on the same database", { concurrent: true }, () => {
  for (
    const [signal, title] of [
      ["SIGKILL", "is killed with -9"],
      ["SIGTERM", "is stopped"]
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
        assert.isBelow(tookOver, 10_000)
        if (signal === "SIGTERM") {
          assert.strictEqual(code, 0)
          assert.strictEqual(verdict.twice + verdictOther.twice, 0)
        }
      })))
  }

  it.live("takes over when the first is frozen (SIGSTOP), which sends and writes nothing when it wakes up", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, url, webhook } = yield* scene()
      const standby = yield* startService(url)
      yield* standby.ready("standby")
      const seed = newSeed()
      const load = { commits: 0, tried: new Set<string>() }
      const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 1500, pauseMs: 15, load }))
      yield* waitFor("300 commits", Effect.sync(() => load.commits >= 300))
      // Every lane has a request that is answered while the process is frozen; behind them wait more events.
      const held: Array<string> = []
      endpoint.behave((request) => {
        held.push(deliveryIdOf(request))
        return { slowMs: 3_000 }
      })
      yield* waitFor("every lane to wait for its answer", Effect.sync(() => held.length === concurrency))

      yield* service.signal("SIGSTOP")
      const frozenAt = Date.now()
      endpoint.behave("ok")
      const before = endpoint.received().length
      yield* waitFor("a delivery by the other one", Effect.sync(() => endpoint.received().length > before))
      const tookOver = endpoint.received()[before]!.at - frozenAt
      yield* standby.ready("notify")
      yield* delivered(sql, endpoint, webhook.id, { describe: standby.output })
      const epochs = Effect.map(
        sql<{ epoch: number }>`SELECT epoch::float8 AS epoch FROM truss.cursors`,
        (rows) => rows[0]!.epoch
      )
      const epoch = yield* epochs

      const wokenAt = Date.now()
      yield* service.signal("SIGCONT")
      yield* service.ready("standby")
      const steppedDown = Date.now() - wokenAt
      yield* Fiber.join(writers)
      yield* delivered(sql, endpoint, webhook.id, { describe: standby.output })
      const log = yield* loggedDeliveries(sql, webhook.id)
      const sent = endpoint.received().filter((request) => request.at > wokenAt && !log.has(deliveryIdOf(request)))
      const written = held.filter((id) => log.has(id))
      const { unlogged } = yield* judge("the first one is frozen", sql, endpoint, webhook.id, {
        "taken over after (ms)": tookOver,
        "stepped down after (ms)": steppedDown,
        "in flight when it was frozen": held.length,
        "sent by the thawed one": sent.length,
        "written by the thawed one": written.length,
        "webhooks taken back by the thawed one": (yield* epochs) - epoch,
        seed
      })
      assert.isBelow(tookOver, 10_000)
      assert.strictEqual(sent.length, 0)
      assert.strictEqual(unlogged, held.length)
      assert.deepStrictEqual(written, [])
      assert.strictEqual(yield* epochs, epoch)

      // The place comes back to it when the other one is stopped.
      yield* standby.stop
      yield* write(sql, { seed: 1, transactions: 20, name: "back" })
      yield* delivered(sql, endpoint, webhook.id, { within: 5_000, describe: service.output })
    })))

  it.live("delivers, or the first does, when PostgreSQL was restarted or killed while both live", () =>
    Effect.scoped(Effect.gen(function*() {
      const postgres = yield* ownPostgres
      yield* postgres.start
      const { endpoint, service, sql, url, webhook } = yield* sceneOn(postgres.url)
      const standby = yield* startService(url)
      yield* standby.ready("standby")
      const seed = newSeed()
      const load = { commits: 0, tried: new Set<string>() }
      const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 900, pauseMs: 10, load }))
      const facts: Record<string, unknown> = {}
      const modeOf = (process: typeof service) =>
        Effect.map(process.ask("GET", "/health/ready"), ({ body }) => (body as { mode?: string } | undefined)?.mode)
      for (const [how, at] of [["stop", 200], ["crash", 500]] as const) {
        yield* waitFor(`${at} commits`, Effect.sync(() => load.commits >= at))
        yield* postgres[how]
        yield* service.health(503)
        const arrived = endpoint.received().length
        yield* postgres.start
        const startedAt = Date.now()
        yield* waitFor("a delivery", Effect.sync(() => endpoint.received().length > arrived), {
          within: 15_000,
          describe: () => service.output() + standby.output()
        })
        facts[`delivering again after a ${how} (ms)`] = Date.now() - startedAt
        yield* waitFor(
          "one to deliver and one to stand by",
          Effect.map(
            Effect.all([modeOf(service), modeOf(standby)]),
            (modes) => modes.includes("notify") && modes.includes("standby")
          )
        )
      }
      yield* Fiber.join(writers)
      yield* delivered(sql, endpoint, webhook.id, { describe: () => service.output() + standby.output() })
      yield* judge("PostgreSQL restarted under two", sql, endpoint, webhook.id, { ...facts, seed })
    })))
})
