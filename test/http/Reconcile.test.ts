import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import type { Reconciliation } from "../../src/domain/Reconciliation.ts"
import { newSeed, randomOf } from "../support/Random.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, connect, run, RunningService, until } from "../support/RunningService.ts"

const watched = Effect.fnUntraced(function*(table: string, more?: Readonly<Record<string, unknown>>) {
  const service = yield* RunningService
  const receiver = yield* Receiver
  yield* run(`CREATE TABLE IF NOT EXISTS ${table} (id int PRIMARY KEY, note text)`)
  return yield* service.create({ table_name: table, url: receiver.url(`/${table}`), ...more })
})

const reconcile = Effect.fnUntraced(function*(id: string, query: Readonly<Record<string, string>> = {}) {
  const service = yield* RunningService
  const answer = yield* service.ask("GET", `/webhooks/${id}/reconcile?${new URLSearchParams(query)}`)
  assert.strictEqual(answer.status, 200, answer.text)
  const counts = JSON.parse(answer.text) as Reconciliation
  const { delivered, failed, filtered, matched, never_attempted, pending } = counts
  assert.strictEqual(delivered + failed + filtered + never_attempted + pending, matched, answer.text)
  return counts
})

const settled = (id: string, query?: Readonly<Record<string, string>>) =>
  until("nothing is pending", reconcile(id, query), ({ pending }) => pending === 0)

const now = Effect.flatMap(
  Application,
  (sql) => Effect.map(sql<{ at: Date }>`SELECT clock_timestamp() AS at`, ([row]) => row!.at)
)

it.layer(Layer.merge(RunningService.layer(), Receiver.layer), { excludeTestServices: true })("reconciling", (it) => {
  it.effect("counts each event in the one state that it is in", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      receiver.respond("/states", ({ body }) => ({ status: body.row?.["note"] === "bad" ? 500 : 200 }))
      yield* watched("states", { name: "other", url: receiver.url("/other") })
      yield* run("INSERT INTO states VALUES (1)")
      const webhook = yield* watched("states", {
        events: ["INSERT", "UPDATE"],
        max_attempts: 1,
        filter: [{ column: "id", op: "lt", value: 100 }]
      })
      yield* run(
        "INSERT INTO states VALUES (2), (3)",
        "INSERT INTO states VALUES (4, 'bad')",
        "INSERT INTO states VALUES (100)",
        "DELETE FROM states WHERE id = 2"
      )
      yield* service.log(webhook.id, 3)
      yield* service.patch(webhook.id, { active: false, max_attempts: 8 })
      yield* run("INSERT INTO states VALUES (5)")
      yield* service.patch(webhook.id, { active: true })
      yield* run("INSERT INTO states VALUES (6, 'bad')")
      yield* service.log(webhook.id, 4)
      const { complete_through: through, gap, ...counts } = yield* reconcile(webhook.id)
      assert.deepStrictEqual(counts, {
        matched: 7,
        delivered: 2,
        failed: 1,
        pending: 1,
        filtered: 1,
        never_attempted: 2
      })
      const [pending] = (yield* service.logs(webhook.id, { outcome: "retrying" })).data
      assert.isAtMost(Date.parse(through), Date.parse(`${(pending!.payload as { timestamp: string }).timestamp}`))
      assert.isNull(gap)
    }))

  it.effect("is complete up to the end of the time when nothing is pending", () =>
    Effect.gen(function*() {
      const webhook = yield* watched("complete")
      const before = yield* now
      yield* run("INSERT INTO complete VALUES (1)")
      const after = yield* now
      yield* run("INSERT INTO complete VALUES (2)")
      const query = { from: before.toISOString(), to: new Date(after.getTime() + 1).toISOString() }
      const some = yield* settled(webhook.id, query)
      assert.isAtLeast(some.matched, 1)
      assert.isAtLeast(Date.parse(some.complete_through), after.getTime() - 1)
      const all = yield* settled(webhook.id)
      assert.deepStrictEqual([all.matched, all.delivered], [2, 2])
      assert.isAbove(Date.parse(all.complete_through), after.getTime())
      const none = yield* reconcile(webhook.id, { to: before.toISOString() })
      assert.deepStrictEqual([none.matched, none.complete_through], [0, before.toISOString()])
    }))

  it.effect("is complete only up to the begin of a transaction that may still add events", () =>
    Effect.gen(function*() {
      const webhook = yield* watched("open_one")
      const sql = yield* connect()
      const started = yield* sql.withTransaction(Effect.gen(function*() {
        const [row] = yield* sql<{ at: Date }>`SELECT now() AS at`
        yield* sql`INSERT INTO open_one VALUES (1)`
        yield* run("INSERT INTO open_one VALUES (2)")
        const open = yield* settled(webhook.id)
        assert.strictEqual(open.delivered, 1)
        assert.isAtMost(Date.parse(open.complete_through), row!.at.getTime())
        return row!.at
      }))
      const closed = yield* until("both are delivered", reconcile(webhook.id), ({ delivered }) => delivered === 2)
      assert.isAbove(Date.parse(closed.complete_through), started.getTime())
    }))

  it.effect("adds up at any moment of any history, and finds nothing missing in the end", () =>
    Effect.gen(function*() {
      const seed = newSeed()
      const next = randomOf(seed)
      const random = (limit: number) => Math.floor(next() * limit)
      const service = yield* RunningService
      const receiver = yield* Receiver
      receiver.respond("/history", ({ body }) => ({ status: body.row?.["note"] === "bad" ? 500 : 200 }))
      const webhooks = [
        yield* watched("history", { max_attempts: 1 }),
        yield* watched("history", { max_attempts: 1, events: ["INSERT"], ordering: "row" }),
        yield* watched("history", { max_attempts: 1, filter: [{ column: "note", op: "neq", value: "dull" }] })
      ]
      const active = webhooks.map(() => true)
      let id = 0
      for (let step = 0; step < 60; step++) {
        const which = random(webhooks.length)
        const webhook = webhooks[which]!
        switch (random(8)) {
          case 0:
            active[which] = !active[which]
            yield* service.patch(webhook.id, { active: active[which] })
            break
          case 1:
            yield* run(`UPDATE history SET note = 'again' WHERE id % 3 = ${random(3)}`)
            break
          case 2:
            yield* run(`DO $$ BEGIN INSERT INTO history VALUES (${++id}, 'undone'); RAISE division_by_zero;
              EXCEPTION WHEN division_by_zero THEN END $$`)
            break
          case 3:
            webhooks.push(yield* watched("history", { max_attempts: 1, url: receiver.url("/history") }))
            active.push(true)
            break
          case 4:
            yield* service.ask("POST", `/webhooks/${webhook.id}/recover`, { since: "2020-01-01" })
            break
          default:
            id++
            yield* run(`INSERT INTO history VALUES (${id}, '${["good", "bad", "dull"][random(3)]}')`)
        }
        yield* reconcile(webhook.id)
      }
      receiver.respond("/history", () => ({}))
      for (const [i, webhook] of webhooks.entries()) {
        if (!active[i]) yield* service.patch(webhook.id, { active: true })
        yield* service.ask("POST", `/webhooks/${webhook.id}/recover`, { since: "2020-01-01" })
      }
      for (const webhook of webhooks) {
        const last = yield* until(
          `everything was attempted (seed ${seed})`,
          reconcile(webhook.id),
          ({ never_attempted, pending }) => never_attempted === 0 && pending === 0
        )
        const log = yield* service.log(webhook.id, 0)
        const events = new Set(log.map((entry) => entry.event_id))
        assert.strictEqual(last.delivered + last.failed, events.size, `seed ${seed}`)
        const delivered = log.filter((entry) => entry.outcome === "success").map((entry) => entry.event_id)
        assert.strictEqual(new Set(delivered).size, delivered.length, `nothing twice, seed ${seed}`)
      }
    }), 120_000)

  it.effect("takes times that are times, and webhooks that are there", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const webhook = yield* watched("asked_well")
      const wrong = yield* service.ask("GET", `/webhooks/${webhook.id}/reconcile?from=yesterday&to=never`)
      assert.strictEqual(wrong.status, 400)
      assert.deepStrictEqual(JSON.parse(wrong.text).errors.map(({ path }: { path: string }) => path), ["from", "to"])
      for (const id of ["x", crypto.randomUUID()]) {
        assert.strictEqual((yield* service.ask("GET", `/webhooks/${id}/reconcile`)).status, 404)
      }
      const future = yield* reconcile(webhook.id, { from: "9999-01-01", to: "0001-01-01" })
      assert.strictEqual(future.matched, 0)
    }))
})

it.layer(Layer.merge(RunningService.layer(), Receiver.layer), { excludeTestServices: true })("bulk repair", (it) => {
  it.effect("answers with the job, lists it and cancels it", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const webhook = yield* watched("bulk")
      yield* run("INSERT INTO bulk VALUES (1)")
      yield* service.log(webhook.id, 1)
      const path = `/webhooks/${webhook.id}`
      const replay = yield* service.ask("POST", `${path}/replay`, {
        from: "2020-01-01",
        outcome: "failed",
        event_type: "INSERT"
      })
      assert.strictEqual(replay.status, 202)
      const { job_id, matched } = JSON.parse(replay.text)
      assert.strictEqual(matched, 0)
      const recover = yield* service.ask("POST", `${path}/recover`, { since: "2020-01-01T00:00:00Z" })
      assert.deepStrictEqual([recover.status, JSON.parse(recover.text).matched], [202, 0])
      const list = yield* service.ask("GET", `${path}/jobs?limit=10`)
      const { data, next_cursor } = JSON.parse(list.text)
      assert.isNull(next_cursor)
      assert.lengthOf(data, 2)
      const { created_at, ...job } = data[1]
      assert.deepStrictEqual(job, { id: job_id, kind: "replay", state: "done", matched: 0, done: 0 })
      assert.isFalse(Number.isNaN(Date.parse(created_at)))
      assert.strictEqual((yield* service.ask("DELETE", `${path}/jobs/${job_id}`)).status, 204)
      assert.strictEqual((yield* service.ask("DELETE", `${path}/jobs/${crypto.randomUUID()}`)).status, 404)
      assert.strictEqual((yield* service.ask("DELETE", `${path}/jobs/x`)).status, 404)
      assert.strictEqual((yield* service.ask("POST", `${path}/replay`)).status, 202)
    }))

  it.effect("refuses what does not fit", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const { id } = yield* watched("misfits")
      const requests = [
        ["replay", { outcome: "lost" }, "outcome"],
        ["replay", { event_type: "TEST" }, "event_type"],
        ["replay", { from: "yesterday" }, "from"],
        ["replay", { until: "2020-01-01" }, "until"],
        ["recover", {}, "since"],
        ["recover", { since: 5 }, "since"],
        ["recover", { since: "2020-01-01", to: "2021-01-01" }, "to"]
      ] as const
      for (const [route, body, member] of requests) {
        const answer = yield* service.ask("POST", `/webhooks/${id}/${route}`, body)
        assert.strictEqual(answer.status, 400, `${route} ${JSON.stringify(body)}`)
        assert.deepStrictEqual(JSON.parse(answer.text).errors.map(({ path }: { path: string }) => path), [member])
      }
      for (const unknown of ["x", crypto.randomUUID()]) {
        assert.strictEqual((yield* service.ask("POST", `/webhooks/${unknown}/replay`, {})).status, 404)
        assert.strictEqual((yield* service.ask("POST", `/webhooks/${unknown}/recover`, { since: "2020" })).status, 400)
        assert.strictEqual((yield* service.ask("GET", `/webhooks/${unknown}/jobs`)).status, 404)
      }
      assert.strictEqual((yield* service.ask("GET", `/webhooks/${id}/jobs?cursor=nonsense`)).status, 400)
    }))
})
