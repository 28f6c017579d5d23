import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestDatabase } from "../support/Database.ts"
import { type DeliveryBody, Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService, until } from "../support/RunningService.ts"
import { watched } from "../support/Watched.ts"

const layer = Layer.merge(RunningService.layer(), Receiver.layer)

interface Job {
  readonly id: string
  readonly kind: string
  readonly state: string
  readonly matched: number
  readonly done: number
}

const post = Effect.fnUntraced(function*(path: string, body: unknown) {
  const service = yield* RunningService
  const answer = yield* service.ask("POST", path, body)
  assert.strictEqual(answer.status, 202, answer.text)
  return JSON.parse(answer.text) as { readonly job_id: string; readonly matched: number }
})

const job = Effect.fnUntraced(function*(webhook: string, id: string) {
  const service = yield* RunningService
  const { text } = yield* service.ask("GET", `/webhooks/${webhook}/jobs`)
  return (JSON.parse(text) as { readonly data: ReadonlyArray<Job> }).data.find((job) => job.id === id)!
})

const ended = (webhook: string, id: string) =>
  until("the job has ended", job(webhook, id), ({ state }) => state !== "running")

it.layer(layer, { excludeTestServices: true })("a job", (it) => {
  it.effect("replays every event whose last attempt failed, once, and says how far it is", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      let broken = true
      receiver.respond("/replayed", ({ body }) => broken && Number(body.row!["id"]) % 2 === 0 ? { status: 400 } : {})
      const webhook = yield* watched("replayed", { max_attempts: 1 })
      yield* run("INSERT INTO replayed SELECT i FROM generate_series(1, 1000) i")
      const before = yield* service.log(webhook.id, 1000)
      broken = false
      const { job_id, matched } = yield* post(`/webhooks/${webhook.id}/replay`, { outcome: "failed" })
      assert.strictEqual(matched, 500)
      assert.deepInclude(yield* ended(webhook.id, job_id), { kind: "replay", state: "done", matched: 500, done: 500 })
      const entries = (yield* service.log(webhook.id, 1500)).slice(1000)
      assert.lengthOf(entries, 500)
      const failed = new Map(
        before.filter(({ outcome }) => outcome === "failed").map((entry) => [entry.event_id, entry])
      )
      for (const entry of entries) {
        const original = failed.get(entry.event_id)!
        assert.deepInclude(entry, { replay_of: original.id, outcome: "success", attempt: 1 })
        assert.deepStrictEqual(entry.payload, original.payload)
        failed.delete(entry.event_id)
      }
      assert.strictEqual(failed.size, 0)
    }))

  it.effect("tries a replay that fails again, like any delivery", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const webhook = yield* watched("retried")
      yield* run("INSERT INTO retried VALUES (1)")
      const [first] = yield* service.log(webhook.id, 1)
      receiver.respond("/retried", () => ({ status: 500 }))
      const { job_id } = yield* post(`/webhooks/${webhook.id}/replay`, {})
      yield* ended(webhook.id, job_id)
      const second = (yield* service.log(webhook.id, 2))[1]!
      assert.deepInclude(second, { attempt: 1, outcome: "retrying", replay_of: first!.id })
      receiver.respond("/retried", () => ({}))
      yield* run(`UPDATE truss.due SET at = now()`, `NOTIFY truss, 'webhook ${webhook.id}'`)
      const third = (yield* service.log(webhook.id, 3))[2]!
      assert.deepInclude(third, { attempt: 2, outcome: "success", replay_of: first!.id })
    }))

  it.effect("recovers what was committed while the webhook was paused, and nothing that it attempted", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const webhook = yield* watched("recovered")
      const since = new Date(Date.now() - 60_000).toISOString()
      yield* run("INSERT INTO recovered SELECT i FROM generate_series(1, 10) i")
      yield* service.log(webhook.id, 10)
      yield* service.patch(webhook.id, { active: false })
      yield* run("INSERT INTO recovered SELECT i FROM generate_series(11, 800) i")
      const waiting = yield* post(`/webhooks/${webhook.id}/recover`, { since })
      assert.strictEqual(waiting.matched, 790)
      yield* service.patch(webhook.id, { active: true })
      yield* run("INSERT INTO recovered SELECT i FROM generate_series(801, 810) i")
      assert.deepInclude(yield* ended(webhook.id, waiting.job_id), { state: "done", matched: 790, done: 790 })
      const requests = yield* receiver.waitFor("/recovered", 810)
      assert.deepStrictEqual(
        requests.map(({ body }) => Number(body.row!["id"])).toSorted((a, b) => a - b),
        Array.from({ length: 810 }, (_, i) => i + 1)
      )
      const again = yield* post(`/webhooks/${webhook.id}/recover`, { since })
      assert.strictEqual(again.matched, 0)
      const proof = JSON.parse((yield* service.ask("GET", `/webhooks/${webhook.id}/reconcile`)).text)
      assert.deepInclude(proof, {
        matched: 810,
        delivered: 810,
        failed: 0,
        pending: 0,
        filtered: 0,
        never_attempted: 0
      })
    }))

  it.effect("goes out behind live events, and stops when it is cancelled", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const webhook = yield* watched("behind", { concurrency: 1 })
      yield* run("INSERT INTO behind SELECT i FROM generate_series(1, 2000) i")
      yield* service.log(webhook.id, 2000)
      let answer = () => {}
      const answered = new Promise<void>((resolve) => (answer = resolve))
      receiver.respond("/behind", (_, i) => i === 2000 ? { after: answered } : {})
      const { job_id } = yield* post(`/webhooks/${webhook.id}/replay`, { outcome: "success" })
      yield* receiver.waitFor("/behind", 2001)
      yield* run("INSERT INTO behind SELECT i FROM generate_series(2001, 2400) i")
      yield* until(
        "the new events wait",
        service.get(webhook.id),
        ({ backlog }) => backlog === 400
      )
      const { status } = yield* service.ask("DELETE", `/webhooks/${webhook.id}/jobs/${job_id}`)
      assert.strictEqual(status, 204)
      answer()
      const requests = yield* receiver.waitFor("/behind", (all) => all.some(({ body }) => body.row!["id"] === 2400))
      const bulk = requests.slice(2000).filter(({ body }) => Number(body.row!["id"]) <= 2000)
      assert.isBelow(bulk.length, 300)
      assert.strictEqual((yield* job(webhook.id, job_id)).state, "cancelled")
    }))

  it.effect("shows how far it is, and sends nothing that waits in memory when it is cancelled", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const webhook = yield* watched("stopped", { concurrency: 1 })
      yield* run("INSERT INTO stopped SELECT i FROM generate_series(1, 300) i")
      yield* service.log(webhook.id, 300)
      receiver.respond("/stopped", () => ({ after: new Promise((resolve) => setTimeout(resolve, 20)) }))
      const { job_id } = yield* post(`/webhooks/${webhook.id}/replay`, {})
      const part = yield* until("a part is done", job(webhook.id, job_id), ({ done }) => done > 0)
      assert.deepInclude(part, { state: "running", matched: 300 })
      assert.isBelow(part.done, 300)
      assert.strictEqual((yield* service.ask("DELETE", `/webhooks/${webhook.id}/jobs/${job_id}`)).status, 204)
      yield* service.patch(webhook.id, { url: receiver.url("/live") })
      for (let i = 1; i <= 20; i++) {
        // If it went on, it would send one between any two of these.
        yield* run(`INSERT INTO stopped VALUES (${1_000 + i})`)
        yield* until(
          "it is in the log",
          service.logs(webhook.id),
          ({ data }) => data.some(({ payload }) => (payload as DeliveryBody).row!["id"] === 1_000 + i)
        )
      }
      assert.isBelow(receiver.at("/live").filter(({ body }) => Number(body.row!["id"]) <= 300).length, 10)
      const now = yield* job(webhook.id, job_id)
      assert.strictEqual(now.state, "cancelled")
      assert.isBelow(now.done, 300)
    }))

  it.effect("of an ordered webhook keeps the order of each row", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const service = yield* RunningService
      const webhook = yield* watched("ordered", { ordering: "row" })
      yield* run("INSERT INTO ordered SELECT i, '0' FROM generate_series(1, 30) i")
      for (let i = 1; i < 20; i++) yield* run(`UPDATE ordered SET note = '${i}'`)
      yield* service.log(webhook.id, 600)
      const { job_id, matched } = yield* post(`/webhooks/${webhook.id}/replay`, {})
      assert.strictEqual(matched, 600)
      yield* ended(webhook.id, job_id)
      const requests = (yield* receiver.waitFor("/ordered", 1200)).slice(600)
      for (let id = 1; id <= 30; id++) {
        assert.deepStrictEqual(
          requests.flatMap(({ body }) => body.row!["id"] === id ? [Number(body.row!["note"])] : []),
          Array.from({ length: 20 }, (_, i) => i)
        )
      }
    }))
})

it.layer(Layer.merge(Receiver.layer, TestDatabase.layerUrl), { excludeTestServices: true })("a job", (it) => {
  it.effect("goes on where it was when the service begins again, and sends nothing twice", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const begun = Effect.gen(function*() {
        const service = yield* RunningService
        const webhook = yield* watched("resumed", { concurrency: 2 })
        yield* run("INSERT INTO resumed SELECT i FROM generate_series(1, 3000) i")
        yield* service.log(webhook.id, 3000)
        receiver.respond("/resumed", () => ({ after: new Promise((resolve) => setTimeout(resolve, 1)) }))
        const { job_id } = yield* post(`/webhooks/${webhook.id}/replay`, {})
        yield* receiver.waitFor("/resumed", 3300)
        return { webhook: webhook.id, job_id }
      })
      const { job_id, webhook } = yield* Effect.provide(
        begun,
        Layer.fresh(
          RunningService.layerOn().pipe(
            Layer.provideMerge(Application.layer)
          )
        )
      )
      yield* Effect.provide(
        ended(webhook, job_id),
        Layer.fresh(
          RunningService.layerOn().pipe(
            Layer.provideMerge(Application.layer)
          )
        )
      )
      const replays = (yield* receiver.waitFor("/resumed", 6000)).slice(3000)
      assert.lengthOf(replays, 3000)
      assert.strictEqual(new Set(replays.map(({ headers }) => headers["webhook-id"])).size, 3000)
    }))
})
