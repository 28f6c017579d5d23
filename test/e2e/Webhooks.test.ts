import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { changeOf } from "../support/Recorder.ts"
import { waitFor } from "../support/ServiceProcess.ts"
import { createWebhook, scene, withDatabase } from "./Scene.ts"
import { delivered, judge, ledger, newSeed, report, write } from "./Workload.ts"

describe("webhooks while changes flow", { concurrent: true }, () => {
  it.live("delivers to a healthy endpoint without waiting for one that hangs", () =>
    withDatabase(Effect.gen(function*() {
      // Far fewer permits than the hanging one could hold.
      const { endpoint, recorder, service, sql, webhook } = yield* scene({ TRUSS_CONCURRENCY: "24" })
      const hanging = recorder.endpoint("/hanging")
      hanging.behave("hang")
      yield* createWebhook(service, hanging.url, { name: "hanging", timeout_ms: 60_000 })
      const seed = newSeed()
      const startedAt = Date.now()
      yield* write(sql, { seed, transactions: 300 })
      yield* delivered(sql, endpoint, webhook.id, { within: 15_000, describe: service.output })
      const { twice } = yield* judge("a healthy endpoint beside one that hangs", sql, endpoint, webhook.id, {
        "all after (ms)": Date.now() - startedAt,
        "at the hanging one": hanging.received().length,
        seed
      })
      assert.strictEqual(twice, 0)
      assert.isAtLeast(hanging.received().length, 1)
      yield* service.kill
    })))

  it.live("polls with TRUSS_LISTEN=off, and leaves PREPARE TRANSACTION possible", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, webhook } = yield* scene({ TRUSS_LISTEN: "off" })
      yield* service.ready("poll")
      const { reserve } = sql
      yield* Effect.scoped(Effect.gen(function*() {
        const connection = yield* reserve
        for (
          const statement of [
            "BEGIN",
            "INSERT INTO orders VALUES (1, 'two-phase')",
            "INSERT INTO ledger VALUES ('INSERT:two-phase')",
            "PREPARE TRANSACTION 'two-phase'"
          ]
        ) yield* connection.executeUnprepared(statement, [], undefined)
      }))
      // It is prepared and not committed: nothing of it may arrive, whatever commits meanwhile.
      yield* write(sql, { seed: 1, transactions: 100 })
      yield* delivered(sql, endpoint, webhook.id, { describe: service.output })
      assert.isFalse(endpoint.byChange().has("INSERT:two-phase"))
      const committedAt = Date.now()
      yield* sql`COMMIT PREPARED 'two-phase'`
      yield* delivered(sql, endpoint, webhook.id, { describe: service.output })
      const { twice } = yield* judge("polling and two-phase commit", sql, endpoint, webhook.id, {
        "delivered after COMMIT PREPARED (ms)": endpoint.byChange().get("INSERT:two-phase")![0]!.at - committedAt
      })
      assert.strictEqual(twice, 0)
    })))

  it.live("does what a webhook asks for while it is created, changed, paused and deleted", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, recorder, service, sql, webhook } = yield* scene()
      const seed = newSeed()
      const load = { commits: 0, tried: new Set<string>() }
      const patch = (id: string, change: object) =>
        Effect.flatMap(
          service.ask("PATCH", `/api/webhooks/${id}`, change),
          ({ body, status }) => Effect.sync(() => assert.strictEqual(status, 200, JSON.stringify(body)))
        )
      const commits = (count: number) => {
        const until = load.commits + count
        return waitFor(`${count} more commits`, Effect.sync(() => load.commits >= until))
      }
      const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 100_000, pauseMs: 10, load }))
      yield* commits(50)

      // Created while changes flow: from its creation on, everything.
      const [a, b] = [recorder.endpoint("/a"), recorder.endpoint("/b")]
      const moving = yield* createWebhook(service, a.url, { name: "moving" })
      const created = yield* ledger(sql)
      yield* commits(100)

      // Another address: each change goes to one of the two, and none to both.
      yield* patch(moving.id, { url: b.url })
      const toldAt = Date.now()
      yield* waitFor("deliveries at the new address", Effect.sync(() => b.received().length > 50))
      const last = a.received().at(-1)!.at - toldAt

      // Paused: what happens then does not fire, neither now nor when it goes on.
      const beforePause = yield* ledger(sql)
      yield* patch(moving.id, { active: false })
      const pausedAt = Date.now()
      const pausedFrom = yield* ledger(sql)
      yield* commits(100)
      const pausedTo = yield* ledger(sql)
      yield* patch(moving.id, { active: true })
      yield* commits(30)

      // Fewer events.
      yield* patch(moving.id, { events: ["DELETE"] })
      const narrowedAt = Date.now()
      yield* commits(100)

      // Deleted: nothing any more.
      const { status } = yield* service.ask("DELETE", `/api/webhooks/${moving.id}`)
      assert.strictEqual(status, 204)
      const deletedAt = Date.now()
      yield* commits(300)
      yield* Fiber.interrupt(writers)
      yield* delivered(sql, endpoint, webhook.id, { describe: service.output })
      yield* judge("the webhook beside it", sql, endpoint, webhook.id, { seed })

      // A change of a webhook holds within a second.
      const came = [...a.received(), ...b.received()]
      const changes = new Set(came.map(changeOf))
      const mustCome = [...beforePause].filter((change) => !created.has(change))
      const inPause = new Set([...pausedTo].filter((change) => !pausedFrom.has(change)))
      const facts = {
        "arrived at its first address": a.received().length,
        "at its second": b.received().length,
        "at the first after the change for (ms)": last,
        "while paused": inPause.size,
        twice: came.length - changes.size,
        lost: mustCome.filter((change) => !changes.has(change)).length,
        "in spite of the pause": came.filter((request) =>
          inPause.has(changeOf(request)) && request.at > pausedAt + 1_000
        ).length,
        "not asked for any more": came.filter((request) =>
          request.body.event !== "DELETE" && request.at > narrowedAt + 1_000
        ).length,
        "after its deletion": came.filter((request) => request.at > deletedAt + 1_000).length
      }
      yield* report("a webhook that changes", facts)
      const output = service.output()
      assert.strictEqual(facts.twice, 0, output)
      assert.strictEqual(facts.lost, 0, output)
      assert.strictEqual(facts["in spite of the pause"], 0, output)
      assert.strictEqual(facts["not asked for any more"], 0, output)
      assert.strictEqual(facts["after its deletion"], 0, output)
      assert.isBelow(last, 1_000)
    })))
})
