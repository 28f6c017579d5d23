import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Effect, PubSub } from "effect"
import type { WebhookId } from "../../src/domain/Webhook.ts"
import { type JobPage, Jobs } from "../../src/services/Jobs.ts"
import { WebhookChanges } from "../../src/services/WebhookChanges.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { attempted, eventsOf, installed, passedAll } from "../support/Installed.ts"
import { layerInstalled, run } from "../support/RunningService.ts"

const seqs = (page: JobPage | undefined) => page?.events.map(({ ref }) => ref.seq)

const stateOf = Effect.fnUntraced(function*(id: WebhookId) {
  const jobs = yield* Jobs
  const { data } = yield* jobs.list(id, { limit: 1 })
  const { done, matched, state } = data[0]!
  return { state, matched, done }
})

/** Takes a webhook's jobs to their end as an actor would that sends nothing: what was on each page. */
const drain = Effect.fnUntraced(function*(id: WebhookId, limit: number) {
  const jobs = yield* Jobs
  const pages: Array<JobPage> = []
  for (let page = yield* jobs.next(id, limit); page !== undefined; page = yield* jobs.next(id, limit)) {
    pages.push(page)
    yield* jobs.advance(page.jobId, page.lastSeq, page.events.length, page.last)
  }
  return pages
})

it.layer(layerInstalled(), { excludeTestServices: true })("a bulk replay", (it) => {
  it.effect("is about the events whose last attempt matches, and no test", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const webhook = yield* installed("matching")
      yield* run("INSERT INTO matching SELECT g FROM generate_series(1, 4) g", "DELETE FROM matching WHERE id = 4")
      const [mended, broken, old, fine, deleted] = yield* eventsOf("matching")
      const noon = Date.parse("2025-01-15T12:00:00Z")
      yield* attempted(webhook.id, mended!, "failed", noon)
      yield* attempted(webhook.id, mended!, "success", noon + 1000)
      yield* attempted(webhook.id, broken!, "success", noon)
      yield* attempted(webhook.id, broken!, "failed", noon + 1000)
      yield* attempted(webhook.id, old!, "failed", noon - 1000)
      yield* attempted(webhook.id, fine!, "success", noon)
      yield* attempted(webhook.id, deleted!, "failed", noon)
      yield* attempted(
        webhook.id,
        { ...fine!, eventType: "TEST", ref: { ...fine!.ref, seq: 1_000_000 } },
        "failed",
        noon
      )
      const matched = (criteria: Parameters<typeof jobs.replay>[1]) =>
        Effect.map(jobs.replay(webhook.id, criteria), (job) => job.matched)
      assert.strictEqual(yield* matched({}), 5)
      assert.strictEqual(yield* matched({ outcome: "failed" }), 3)
      assert.strictEqual(yield* matched({ outcome: "success" }), 2)
      assert.strictEqual(yield* matched({ outcome: "failed", from: new Date(noon) }), 2)
      assert.strictEqual(yield* matched({ outcome: "failed", to: new Date(noon) }), 1)
      assert.strictEqual(yield* matched({ outcome: "failed", event_type: "DELETE" }), 1)
      assert.strictEqual(yield* matched({ from: new Date(noon), to: new Date(noon + 1000) }), 2)
    }))

  it.effect("comes in pages in the order of the events, each with the attempt that it repeats", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const webhook = yield* installed("in_pages")
      yield* run("INSERT INTO in_pages SELECT g FROM generate_series(1, 25) g")
      const events = yield* eventsOf("in_pages")
      const nonces = new Map<number, number>()
      for (const event of events.toReversed()) {
        yield* attempted(webhook.id, event, "retrying")
        nonces.set(event.ref.seq, yield* attempted(webhook.id, event, "failed"))
      }
      assert.strictEqual((yield* jobs.replay(webhook.id, { outcome: "failed" })).matched, 25)
      const first = yield* jobs.next(webhook.id, 10)
      assert.deepStrictEqual(seqs(first), events.slice(0, 10).map(({ ref }) => ref.seq))
      assert.deepStrictEqual([first!.kind, first!.last, first!.lastSeq], ["replay", false, events[9]!.ref.seq])
      assert.deepStrictEqual(yield* jobs.next(webhook.id, 10), first, "until it has advanced")
      yield* jobs.advance(first!.jobId, first!.lastSeq, 10, false)
      assert.deepStrictEqual(yield* stateOf(webhook.id), { state: "running", matched: 25, done: 10 })
      const pages = [first!, ...yield* drain(webhook.id, 10)]
      const sent = pages.flatMap((page) => page.events)
      assert.deepStrictEqual(sent.map(({ replayOf: _, ...event }) => event), [...events])
      assert.deepStrictEqual(sent.map(({ ref, replayOf }) => [ref.seq, replayOf]), [...nonces].toReversed())
      assert.strictEqual(pages.at(-1)!.last, true)
      assert.deepStrictEqual(yield* stateOf(webhook.id), { state: "done", matched: 25, done: 25 })
      assert.isUndefined(yield* jobs.next(webhook.id, 10))
    }))

  it.effect("sends nothing twice after a crash, and nothing that is due or past retention", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const sql = yield* PgClient.PgClient
      const webhook = yield* installed("crashed")
      yield* run("INSERT INTO crashed SELECT g FROM generate_series(1, 6) g")
      const events = yield* eventsOf("crashed")
      for (const event of events.slice(0, 5)) yield* attempted(webhook.id, event, "failed")
      yield* attempted(webhook.id, events[5]!, "retrying")
      yield* jobs.replay(webhook.id, {})
      const sent = yield* attempted(webhook.id, events[0]!, "success")
      assert.isAbove(sent, 0)
      yield* attempted(webhook.id, events[1]!, "retrying")
      yield* sql`DELETE FROM truss.events WHERE seq = ${String(events[2]!.ref.seq)}::text::int8`
      const page = yield* jobs.next(webhook.id, 10)
      assert.deepStrictEqual(seqs(page), [events[3]!.ref.seq, events[4]!.ref.seq])
      assert.isTrue(page!.last)
    }))

  it.effect("looks for few among many a piece at a time", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const webhook = yield* installed("sparse")
      yield* run("INSERT INTO sparse SELECT g FROM generate_series(1, 200) g")
      const events = yield* eventsOf("sparse")
      const few = [events[0]!, events[150]!, events[199]!]
      for (const event of events) {
        yield* attempted(webhook.id, event, few.includes(event) ? "failed" : "success")
      }
      assert.strictEqual((yield* jobs.replay(webhook.id, { outcome: "failed" })).matched, 3)
      const pages = yield* drain(webhook.id, 2)
      assert.deepStrictEqual(pages.flatMap((page) => seqs(page)!), few.map(({ ref }) => ref.seq))
      assert.isAbove(pages.filter((page) => page.events.length === 0).length, 0)
      assert.strictEqual((yield* stateOf(webhook.id)).state, "done")
    }))

  it.effect("has pages of some megabytes at most", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const webhook = yield* installed("large")
      yield* run("INSERT INTO large SELECT g, repeat('x', 1000000) FROM generate_series(1, 12) g")
      for (const event of yield* eventsOf("large")) yield* attempted(webhook.id, event, "failed")
      yield* jobs.replay(webhook.id, {})
      const pages = yield* drain(webhook.id, 100)
      assert.isAtLeast(pages.length, 3)
      assert.strictEqual(new Set(pages.flatMap((page) => seqs(page)!)).size, 12)
    }))

  it.effect("of nothing is done at once", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const webhook = yield* installed("nothing")
      assert.strictEqual((yield* jobs.replay(webhook.id, {})).matched, 0)
      assert.strictEqual((yield* jobs.recover(webhook.id, new Date(0))).matched, 0)
      assert.deepStrictEqual(yield* stateOf(webhook.id), { state: "done", matched: 0, done: 0 })
      assert.isUndefined(yield* jobs.next(webhook.id, 10))
    }))

  it.effect("is announced, and stays cancelled", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const webhook = yield* installed("cancelled")
      yield* run("INSERT INTO cancelled VALUES (1), (2)")
      for (const event of yield* eventsOf("cancelled")) yield* attempted(webhook.id, event, "failed")
      const changes = yield* PubSub.subscribe(yield* WebhookChanges)
      const { job_id } = yield* jobs.replay(webhook.id, {})
      assert.strictEqual(yield* PubSub.take(changes), webhook.id)
      const page = yield* jobs.next(webhook.id, 1)
      yield* jobs.cancel(webhook.id, job_id)
      assert.isUndefined(yield* jobs.next(webhook.id, 1))
      yield* jobs.advance(job_id, page!.lastSeq, 1, false)
      yield* jobs.advance(job_id, page!.lastSeq + 1, 1, true)
      assert.deepStrictEqual(yield* stateOf(webhook.id), { state: "cancelled", matched: 2, done: 2 })
      yield* jobs.cancel(webhook.id, job_id)
    }).pipe(Effect.scoped))

  it.effect("waits for the one before it, and repeats nothing of it", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const webhook = yield* installed("in_turn")
      yield* run("INSERT INTO in_turn VALUES (1), (2)")
      const [one, two] = yield* eventsOf("in_turn")
      yield* attempted(webhook.id, one!, "failed")
      yield* attempted(webhook.id, two!, "failed")
      const first = yield* jobs.replay(webhook.id, {})
      const second = yield* jobs.replay(webhook.id, {})
      const page = yield* jobs.next(webhook.id, 10)
      assert.strictEqual(page!.jobId, first.job_id)
      yield* attempted(webhook.id, one!, "success")
      yield* jobs.advance(first.job_id, page!.lastSeq, 2, true)
      const next = yield* jobs.next(webhook.id, 10)
      assert.deepStrictEqual([next!.jobId, seqs(next)], [second.job_id, [two!.ref.seq]])
    }))
})

it.layer(layerInstalled(), { excludeTestServices: true })("a recovery", (it) => {
  it.effect("is about what a pause left out, and nothing that comes by itself", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const webhooks = yield* Webhooks
      const webhook = yield* installed("left_out")
      yield* run("INSERT INTO left_out VALUES (1)")
      yield* webhooks.patch(webhook.id, { active: false })
      yield* run("INSERT INTO left_out VALUES (2), (3)")
      yield* webhooks.patch(webhook.id, { active: true })
      yield* run("INSERT INTO left_out VALUES (4)")
      const events = yield* eventsOf("left_out")
      yield* jobs.recover(webhook.id, new Date(0))
      const page = yield* jobs.next(webhook.id, 10)
      assert.deepStrictEqual(seqs(page), [events[1]!.ref.seq, events[2]!.ref.seq])
      assert.deepStrictEqual(page!.events.map(({ replayOf }) => replayOf), [null, null])
      yield* attempted(webhook.id, events[1]!, "success")
      yield* attempted(webhook.id, events[2]!, "retrying")
      assert.deepStrictEqual(seqs(yield* jobs.next(webhook.id, 10)), [])
      assert.deepStrictEqual((yield* drain(webhook.id, 10)).length, 1)
      assert.deepStrictEqual(yield* stateOf(webhook.id), { state: "done", matched: 2, done: 2 })
      assert.strictEqual((yield* jobs.recover(webhook.id, new Date(0))).matched, 0)
    }))

  it.effect("is about what is left out by a pause that lasts, up to now", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const webhooks = yield* Webhooks
      const webhook = yield* installed("lasting")
      yield* webhooks.patch(webhook.id, { active: false })
      yield* run("INSERT INTO lasting VALUES (1), (2)")
      assert.strictEqual((yield* jobs.recover(webhook.id, new Date(0))).matched, 2)
      yield* run("INSERT INTO lasting VALUES (3)")
      const events = yield* eventsOf("lasting")
      assert.deepStrictEqual((yield* drain(webhook.id, 1)).flatMap((page) => seqs(page)!), [
        events[0]!.ref.seq,
        events[1]!.ref.seq
      ])
    }))

  it.effect("is about what was there before the webhook, since the time that is given", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      yield* installed("earlier")
      yield* run("INSERT INTO earlier VALUES (1)", "INSERT INTO earlier VALUES (2)", "UPDATE earlier SET note = 'a'")
      const events = yield* eventsOf("earlier")
      const webhook = yield* installed("earlier", { events: ["INSERT"] })
      const since = new Date(Math.ceil(events[0]!.ref.at / 1000))
      const expected = events.filter(({ eventType, ref }) => eventType === "INSERT" && ref.at >= since.getTime() * 1000)
      assert.strictEqual((yield* jobs.recover(webhook.id, since)).matched, expected.length)
      assert.strictEqual((yield* jobs.recover(webhook.id, new Date(0))).matched, 2)
      assert.strictEqual((yield* jobs.recover(webhook.id, new Date(Date.now() + 60_000))).matched, 0)
    }))

  it.effect("asks the selection", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      yield* installed("choosy")
      yield* run("INSERT INTO choosy SELECT g, 'a' FROM generate_series(1, 30) g")
      const events = yield* eventsOf("choosy")
      const webhook = yield* installed("choosy", { filter: [{ column: "id", op: "gt", value: 27 }] })
      assert.strictEqual((yield* jobs.recover(webhook.id, new Date(0))).matched, 3)
      const pages = yield* drain(webhook.id, 2)
      assert.deepStrictEqual(pages.flatMap((page) => seqs(page)!), events.slice(27).map(({ ref }) => ref.seq))
    }))

  it.effect("ends when its webhook has moved to another table", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const webhooks = yield* Webhooks
      yield* installed("moved_from")
      yield* run("CREATE TABLE moved_to (id int PRIMARY KEY)", "INSERT INTO moved_from VALUES (1)")
      const webhook = yield* installed("moved_from")
      assert.strictEqual((yield* jobs.recover(webhook.id, new Date(0))).matched, 1)
      yield* webhooks.patch(webhook.id, { table_name: "moved_to" })
      const page = yield* jobs.next(webhook.id, 10)
      assert.deepStrictEqual([page!.events.length, page!.last], [0, true])
    }))

  it.effect("is not misled by what the cursor has passed without an attempt", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const webhook = yield* installed("passed")
      yield* run("INSERT INTO passed VALUES (1), (2)")
      assert.strictEqual((yield* jobs.recover(webhook.id, new Date(0))).matched, 0)
      yield* passedAll(webhook.id)
      assert.strictEqual((yield* jobs.recover(webhook.id, new Date(0))).matched, 2)
    }))
})

it.layer(layerInstalled(), { excludeTestServices: true })("the list of jobs", (it) => {
  it.effect("is newest first, and paged", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const webhook = yield* installed("listed")
      const created: Array<string> = []
      for (let i = 0; i < 5; i++) created.unshift((yield* jobs.replay(webhook.id, {})).job_id)
      const ids: Array<string> = []
      let cursor: string | undefined
      do {
        const page = yield* jobs.list(webhook.id, { limit: 2, cursor })
        ids.push(...page.data.map(({ id }) => id))
        cursor = page.next_cursor ?? undefined
      } while (cursor !== undefined)
      assert.deepStrictEqual(ids, created)
      const wrong = yield* Effect.flip(jobs.list(webhook.id, { limit: 2, cursor: "nonsense" }))
      assert.strictEqual(wrong._tag, "InvalidParameter")
    }))

  it.effect("has no job of another webhook", () =>
    Effect.gen(function*() {
      const jobs = yield* Jobs
      const one = yield* installed("one_of_two")
      const other = yield* installed("one_of_two")
      const { job_id } = yield* jobs.replay(one.id, {})
      assert.deepStrictEqual((yield* jobs.list(other.id, { limit: 10 })).data, [])
      for (const id of [job_id, crypto.randomUUID(), "x"]) {
        assert.strictEqual((yield* Effect.flip(jobs.cancel(other.id, id)))._tag, "JobNotFound")
      }
      assert.strictEqual((yield* Effect.flip(jobs.list("x", { limit: 1 })))._tag, "WebhookNotFound")
      assert.strictEqual((yield* Effect.flip(jobs.replay(crypto.randomUUID(), {})))._tag, "WebhookNotFound")
      assert.strictEqual((yield* Effect.flip(jobs.recover(crypto.randomUUID(), new Date())))._tag, "WebhookNotFound")
    }))
})
