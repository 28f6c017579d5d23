import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { type Received, Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService, until } from "../support/RunningService.ts"

const layer = Layer.merge(RunningService.layer(), Receiver.layer)

/** A table whose rows have a version that grows, and a webhook with an order. */
const watched = Effect.fnUntraced(function*(
  table: string,
  ordering: "row" | "strict",
  more?: Readonly<Record<string, unknown>>
) {
  const service = yield* RunningService
  const receiver = yield* Receiver
  yield* run(`CREATE TABLE ${table} (id int PRIMARY KEY, version int NOT NULL)`)
  return yield* service.create({ table_name: table, url: receiver.url(`/${table}`), ordering, ...more })
})

/** Lets what is to be tried again later be tried now. */
const hasten = (id: string) =>
  run(
    `UPDATE truss.due SET at = clock_timestamp() WHERE webhook_id = '${id}' AND at < 'infinity'`,
    `NOTIFY truss, 'webhook ${id}'`
  )

const waiting = (id: string) =>
  Effect.flatMap(Application, (sql) =>
    Effect.map(
      sql<{ waiting: number; parked: number }>`SELECT count(*)::int AS waiting,
        count(*) FILTER (WHERE at = 'infinity')::int AS parked FROM truss.due WHERE webhook_id = ${id}::text::uuid`,
      (rows) => rows[0]!
    ))

const idOf = ({ body }: Received) => Number((body.row ?? body.old_row)!["id"])
const versionOf = ({ body }: Received) => Number((body.row ?? body.old_row)!["version"])

/** The versions of a row in the order in which they were accepted. */
const accepted = (requests: ReadonlyArray<Received>, refused: ReadonlySet<Received>, id: number) =>
  requests.filter((request) => idOf(request) === id && !refused.has(request)).map(versionOf)

it.layer(layer, { excludeTestServices: true })("a webhook with the order `row`", (it) => {
  it.effect("delivers the events of each row in the order of their commits, different rows at once", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      receiver.respond("/rows", () => ({ after: new Promise((resolve) => setTimeout(resolve, 2)) }))
      yield* watched("rows", "row")
      yield* run("INSERT INTO rows SELECT i, 0 FROM generate_series(1, 40) i")
      for (let version = 1; version <= 20; version++) yield* run(`UPDATE rows SET version = ${version}`)
      yield* run("DELETE FROM rows")
      const requests = yield* receiver.waitFor("/rows", 40 * 22)
      assert.lengthOf(requests, 40 * 22)
      for (let id = 1; id <= 40; id++) {
        const own = requests.filter((request) => idOf(request) === id)
        assert.deepStrictEqual(own.map(versionOf), [...Array.from({ length: 21 }, (_, i) => i), 20])
        assert.strictEqual(own.at(-1)!.body.event, "DELETE")
      }
      assert.isAbove(Math.max(...requests.map(({ open }) => open)), 1)
    }))

  it.effect("lets a row that fails hold back itself alone, and delivers what waited in its order", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const refused = new Set<Received>()
      let broken = true
      receiver.respond("/poisoned", (request) => {
        if (!broken || idOf(request) !== 1) return {}
        refused.add(request)
        return { status: 500 }
      })
      const webhook = yield* watched("poisoned", "row")
      yield* run("INSERT INTO poisoned VALUES (1, 0), (2, 0)")
      for (let version = 1; version <= 30; version++) yield* run(`UPDATE poisoned SET version = ${version}`)
      yield* receiver.waitFor("/poisoned", (all) => all.filter((request) => idOf(request) === 2).length === 31)
      yield* until("the others wait", waiting(webhook.id), ({ parked }) => parked === 30)
      assert.strictEqual(refused.size, 1)
      yield* hasten(webhook.id)
      yield* service.log(webhook.id, (entries) => entries.some(({ attempt }) => attempt === 2))
      assert.strictEqual(refused.size, 2)
      assert.strictEqual((yield* waiting(webhook.id)).parked, 30)
      broken = false
      yield* run("UPDATE poisoned SET version = 31")
      yield* hasten(webhook.id)
      const requests = yield* receiver.waitFor("/poisoned", 2 * 32 + 2)
      yield* until("nothing waits", waiting(webhook.id), (now) => now.waiting === 0)
      for (const id of [1, 2]) {
        assert.deepStrictEqual(accepted(requests, refused, id), Array.from({ length: 32 }, (_, i) => i))
      }
      const attempts = (yield* service.log(webhook.id, 2 * 32 + 2)).filter((entry) => entry.attempt > 1)
      assert.deepStrictEqual(attempts.map(({ attempt, outcome }) => [attempt, outcome]), [
        [2, "retrying"],
        [3, "success"]
      ])
    }))

  it.effect("keeps the order of both rows when a primary key changes", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const refused = new Set<Received>()
      receiver.respond("/renamed", (request) => {
        if (idOf(request) !== 1 || refused.size > 0) return {}
        refused.add(request)
        return { status: 500 }
      })
      const webhook = yield* watched("renamed", "row")
      yield* run(
        "INSERT INTO renamed VALUES (1, 0), (2, 0)",
        "DELETE FROM renamed WHERE id = 2",
        "UPDATE renamed SET id = 2, version = 1 WHERE id = 1",
        "UPDATE renamed SET version = 2",
        "INSERT INTO renamed VALUES (1, 3), (5, 0)"
      )
      yield* receiver.waitFor("/renamed", (all) => all.some((request) => idOf(request) === 5))
      yield* until("what follows waits", waiting(webhook.id), ({ parked }) => parked === 3)
      yield* hasten(webhook.id)
      yield* until("nothing waits", waiting(webhook.id), (now) => now.waiting === 0)
      const order = receiver.at("/renamed").filter((request) => !refused.has(request))
        .map((request) => `${request.body.event} ${idOf(request)}:${versionOf(request)}`)
      const after = (first: string, then: string) =>
        assert.isBelow(order.indexOf(first), order.indexOf(then), `${first} before ${then} in ${order}`)
      assert.lengthOf(order, 7)
      after("INSERT 1:0", "UPDATE 2:1")
      after("INSERT 2:0", "DELETE 2:0")
      after("DELETE 2:0", "UPDATE 2:1")
      after("UPDATE 2:1", "UPDATE 2:2")
      after("UPDATE 2:1", "INSERT 1:3")
    }))

  it.effect("delivers TRUNCATE after all that was before it and before all that is after it", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const refused = new Set<Received>()
      receiver.respond("/emptied", (request) => {
        if (request.body.event === "TRUNCATE" || idOf(request) !== 7 || refused.size > 0) return {}
        refused.add(request)
        return { status: 500 }
      })
      const webhook = yield* watched("emptied", "row")
      yield* run(
        "INSERT INTO emptied SELECT i, 0 FROM generate_series(1, 20) i",
        "TRUNCATE emptied",
        "INSERT INTO emptied SELECT i, 1 FROM generate_series(1, 20) i"
      )
      yield* receiver.waitFor("/emptied", 20)
      yield* until("one waits", waiting(webhook.id), (now) => now.waiting === 1)
      assert.notInclude(receiver.at("/emptied").map(({ body }) => body.event), "TRUNCATE")
      yield* hasten(webhook.id)
      const requests = (yield* receiver.waitFor("/emptied", 42)).filter((request) => !refused.has(request))
      const at = requests.findIndex(({ body }) => body.event === "TRUNCATE")
      assert.strictEqual(at, 20)
      assert.isTrue(requests.slice(0, at).every((request) => versionOf(request) === 0))
    }))

  it.effect("goes on past an event when it is told to skip it", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      receiver.respond("/skipping", (request) => versionOf(request) === 0 ? { status: 500 } : {})
      const webhook = yield* watched("skipping", "row")
      yield* run("INSERT INTO skipping VALUES (1, 0)")
      const [first] = yield* service.log(webhook.id, 1)
      yield* run("UPDATE skipping SET version = 1", "UPDATE skipping SET version = 2")
      yield* until("two wait", waiting(webhook.id), ({ parked }) => parked === 2)
      const { status, text } = yield* service.ask("POST", `/webhooks/${webhook.id}/skip/${first!.event_id}`)
      assert.strictEqual(status, 200)
      assert.deepInclude(JSON.parse(text), {
        event_id: first!.event_id,
        outcome: "failed",
        error: "skipped",
        status_code: null,
        next_attempt_at: null
      })
      const requests = yield* receiver.waitFor("/skipping", 3)
      assert.deepStrictEqual(requests.map(versionOf), [0, 1, 2])
      const again = yield* service.ask("POST", `/webhooks/${webhook.id}/skip/${first!.event_id}`)
      assert.strictEqual(again.status, 404)
      assert.strictEqual((yield* service.ask("POST", `/webhooks/${webhook.id}/skip/evt_nonsense`)).status, 404)
    }))

  it.effect("takes over what waits when the order of a webhook changes", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      let broken = true
      receiver.respond("/changing", () => broken ? { status: 500 } : {})
      const webhook = yield* watched("changing", "row", { ordering: "none" })
      yield* run(
        "INSERT INTO changing VALUES (1, 0), (2, 0)",
        "UPDATE changing SET version = 1",
        "UPDATE changing SET version = 2"
      )
      yield* service.log(webhook.id, 6)
      yield* service.patch(webhook.id, { ordering: "row" })
      yield* until("the later ones wait", waiting(webhook.id), ({ parked }) => parked === 4)
      yield* service.patch(webhook.id, { ordering: "strict" })
      yield* until("none is parked", waiting(webhook.id), ({ parked }) => parked === 0)
      broken = false
      yield* hasten(webhook.id)
      const requests = yield* receiver.waitFor("/changing", 12)
      assert.deepStrictEqual(requests.slice(6).map(versionOf), [0, 0, 1, 1, 2, 2])
    }))
})

it.layer(layer, { excludeTestServices: true })("a webhook with the order `strict`", (it) => {
  it.effect("delivers all in commit order, one at a time, and goes on after a final failure", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      receiver.respond("/strict", (request) => idOf(request) === 50 ? { status: 500 } : {})
      const webhook = yield* watched("strict", "strict", { max_attempts: 1 })
      yield* run("INSERT INTO strict SELECT i, 0 FROM generate_series(1, 200) i")
      const requests = yield* receiver.waitFor("/strict", 200)
      assert.deepStrictEqual(requests.map(idOf), Array.from({ length: 200 }, (_, i) => i + 1))
      assert.strictEqual(Math.max(...requests.map(({ open }) => open)), 1)
      const entries = yield* service.log(webhook.id, 200)
      assert.deepStrictEqual(entries.filter(({ outcome }) => outcome === "failed").length, 1)
    }))

  it.effect("waits for the first that fails, over a pause too, and sends nothing else", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      let broken = true
      receiver.respond("/held", (request) => broken && idOf(request) === 3 ? { status: 503 } : {})
      const webhook = yield* watched("held", "strict")
      yield* run("INSERT INTO held SELECT i, 0 FROM generate_series(1, 3000) i")
      yield* service.log(webhook.id, 3)
      yield* service.patch(webhook.id, { active: false })
      yield* service.patch(webhook.id, { active: true })
      yield* hasten(webhook.id)
      yield* service.log(webhook.id, 4)
      assert.deepStrictEqual(receiver.at("/held").map(idOf), [1, 2, 3, 3])
      broken = false
      yield* hasten(webhook.id)
      const requests = yield* receiver.waitFor("/held", 3002)
      assert.deepStrictEqual(requests.slice(4).map(idOf), Array.from({ length: 2998 }, (_, i) => i + 3))
    }))
})
