import { assert, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber, Layer } from "effect"
import { createHmac } from "node:crypto"
import type { LogEntry } from "../../src/domain/Attempt.ts"
import { Partitions } from "../../src/services/Partitions.ts"
import { TestDatabase } from "../support/Database.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, type LogPage, run, RunningService, until } from "../support/RunningService.ts"
import { watched } from "../support/Watched.ts"

const layer = Layer.merge(RunningService.layer(), Receiver.layer)

const epoch = Effect.fnUntraced(function*(id: string) {
  const sql = yield* Application
  const [row] = yield* sql<
    { epoch: number }
  >`SELECT epoch::float8 AS epoch FROM truss.cursors WHERE webhook_id = ${id}::text::uuid`
  return row!.epoch
})

/** Pauses a webhook and waits until its actor has noticed. */
const pause = Effect.fnUntraced(function*(id: string) {
  const service = yield* RunningService
  const before = yield* epoch(id)
  yield* service.patch(id, { active: false })
  yield* until("the actor has paused", epoch(id), (now) => now > before)
})

const resume = (id: string) => Effect.flatMap(RunningService, (service) => service.patch(id, { active: true }))

/** Lets what is to be tried again later be tried now. */
const retryNow = Effect.fnUntraced(function*(id: string) {
  yield* pause(id)
  yield* run(`UPDATE truss.due SET at = now() WHERE webhook_id = '${id}'`)
  yield* resume(id)
})

/** `fail_count` as the log tells it: failures since the last success, tests aside. */
const folded = (entries: ReadonlyArray<LogEntry>) => {
  const counted = entries.filter((entry) => entry.event_type !== "TEST")
  return counted.length - 1 - counted.findLastIndex((entry) => entry.outcome === "success")
}

/**
 * Rotates until only these partitions are left, with every webhook's position at the newest snapshot. A transaction of
 * another database on the server holds that back, too.
 */
const rotateUntil = Effect.fnUntraced(function*(expected: ReadonlyArray<number>) {
  const sql = yield* Application
  const partitions = yield* Partitions
  const rotated = Effect.gen(function*() {
    yield* sql`UPDATE truss.cursors SET seen = pg_current_snapshot()`
    yield* partitions.rotate(7)
    return (yield* sql<{ slot: number }>`SELECT slot::int FROM truss.slots ORDER BY slot`).map(({ slot }) => slot)
  })
  yield* until(`${expected} are left`, rotated, (slots) => String(slots) === String(expected))
})

it.layer(layer, { excludeTestServices: true })("a delivery", (it) => {
  it.effect("carries the stored bytes, says what it is, is signed, and is in the log", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const secret = `whsec_${Buffer.alloc(24, 7).toString("base64")}`
      const webhook = yield* watched("basic", { secret, headers: { "X-Team": "a b\u00e9", Authorization: "Bearer t" } })
      assert.deepStrictEqual(webhook.headers, { "X-Team": "***", Authorization: "***" })
      yield* run(
        "INSERT INTO basic VALUES (1, 'é 🎉 \"')",
        "UPDATE basic SET note = NULL",
        "DELETE FROM basic",
        "TRUNCATE basic"
      )
      const requests = yield* receiver.waitFor("/basic", 4)
      const entries = yield* service.log(webhook.id, 4)
      assert.lengthOf(entries, 4)
      for (const request of requests) {
        assert.strictEqual(request.method, "POST")
        assert.strictEqual(request.headers["content-type"], "application/json")
        assert.match(request.headers["user-agent"] ?? "", /^Truss-Webhooks\/\d+\.\d+\.\d+/)
        assert.strictEqual(request.headers["x-truss-event"], request.body.event)
        assert.strictEqual(request.headers["x-team"], "a b\u00e9")
        assert.strictEqual(request.headers["authorization"], "Bearer t")
        assert.strictEqual(request.headers["host"], `127.0.0.1:${receiver.port}`)
        assert.strictEqual(request.headers["content-length"], String(request.bytes.length))
        assert.strictEqual(
          request.headers["x-truss-signature"],
          createHmac("sha256", secret).update(request.bytes).digest("hex")
        )
        const id = request.headers["webhook-id"]
        const timestamp = request.headers["webhook-timestamp"]
        assert.isBelow(Math.abs(Number(timestamp) * 1000 - request.at), 5_000)
        assert.strictEqual(
          request.headers["webhook-signature"],
          "v1," +
            createHmac("sha256", Buffer.alloc(24, 7)).update(`${id}.${timestamp}.`).update(request.bytes).digest(
              "base64"
            )
        )
        const entry = entries.find((entry) => entry.event_id === id)
        assert.isDefined(entry)
        assert.strictEqual(entry!.id, request.headers["x-truss-delivery"])
        assert.strictEqual(entry!.webhook_id, webhook.id)
        assert.strictEqual(entry!.event_type, request.body.event)
        assert.deepStrictEqual(entry!.payload, request.body)
        assert.deepInclude(entry, {
          attempt: 1,
          status_code: 200,
          response_body: "ok",
          error: null,
          outcome: "success",
          next_attempt_at: null,
          replay_of: null
        })
        assert.isAbove(entry!.latency_ms, 0)
      }
      assert.sameMembers(requests.map(({ body }) => body.event), ["INSERT", "UPDATE", "DELETE", "TRUNCATE"])
      const now = yield* service.get(webhook.id)
      assert.strictEqual(now.fail_count, 0)
      assert.strictEqual(now.last_status_code, 200)
      assert.isBelow(Math.abs(Date.parse(now.last_delivery_at ?? "") - (yield* Clock.currentTimeMillis)), 10_000)
    }))

  it.effect("keeps every digit on its way and in the log, and each of 200 kB", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      yield* run("CREATE TABLE digits (n numeric, b bigint, t text)")
      const webhook = yield* service.create({ table_name: "digits", url: receiver.url("/digits") })
      yield* run(
        "INSERT INTO digits VALUES (12345678901234567890.1234567890000, 9223372036854775807, repeat('x', 200000))"
      )
      const [request] = yield* receiver.waitFor("/digits", 1)
      const expected = `"row":{"n":12345678901234567890.1234567890000,"b":9223372036854775807,"t":"${
        "x".repeat(200_000)
      }"}`
      assert.include(request!.text, expected)
      const [entry] = yield* service.log(webhook.id, 1)
      const single = yield* service.ask("GET", `/webhooks/${webhook.id}/logs/${entry!.id}`)
      const list = yield* service.ask("GET", `/webhooks/${webhook.id}/logs`)
      for (const { text } of [single, list]) assert.include(text, `"payload":${request!.text}`)
    }))

  it.effect("never is of a change that was rolled back", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const sql = yield* Application
      yield* watched("undone")
      for (let i = 0; i < 20; i++) {
        yield* sql.withTransaction(Effect.andThen(
          sql`INSERT INTO undone VALUES (${i}, 'no')`,
          i % 2 === 0 ? Effect.fail("rolled back") : Effect.void
        )).pipe(Effect.ignore)
      }
      yield* run("INSERT INTO undone VALUES (1000, 'last')")
      yield* receiver.waitFor("/undone", (all) => all.some(({ body }) => body.row!["id"] === 1000))
      const ids = (yield* receiver.waitFor("/undone", 11)).map(({ body }) => body.row!["id"])
      assert.sameMembers(ids, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 1000])
    }))

  it.effect("goes to every webhook of the table, each for its kinds of change, once", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      yield* watched("shared", { events: ["INSERT"] })
      yield* service.create({ table_name: "shared", url: receiver.url("/shared_too"), events: ["DELETE", "INSERT"] })
      yield* run(
        "INSERT INTO shared SELECT i FROM generate_series(1, 50) i",
        "UPDATE shared SET note = 'x'",
        "DELETE FROM shared"
      )
      const all = yield* receiver.waitFor("/shared_too", 100)
      const inserts = yield* receiver.waitFor("/shared", 50)
      assert.lengthOf(inserts, 50)
      assert.isTrue(inserts.every(({ body }) => body.event === "INSERT"))
      assert.lengthOf(all, 100)
      assert.strictEqual(new Set(all.map(({ headers }) => headers["webhook-id"])).size, 100)
      assert.isTrue(all.every(({ body }) => body.event !== "UPDATE"))
    }))

  it.effect("is made once of each row of a large burst, at most `concurrency` at a time", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const gate = yield* Deferred.make<void>()
      const opened = Effect.runPromise(Deferred.await(gate))
      const webhook = yield* watched("burst", { concurrency: 5 })
      receiver.respond("/burst", (_, i) => i < 5 ? { after: opened } : {})
      yield* run("INSERT INTO burst SELECT i FROM generate_series(1, 3500) i")
      yield* receiver.waitFor("/burst", 5)
      yield* Deferred.succeed(gate, undefined)
      const requests = yield* receiver.waitFor("/burst", 3500)
      const entries = yield* service.log(webhook.id, 3500)
      assert.lengthOf(requests, 3500)
      assert.lengthOf(entries, 3500)
      assert.strictEqual(new Set(requests.map(({ body }) => body.row!["id"])).size, 3500)
      assert.strictEqual(Math.max(...requests.map(({ open }) => open)), 5)
    }))

  it.effect("to a hanging endpoint delays no other webhook", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      yield* watched("hanging", { concurrency: 256, timeout_ms: 60_000 })
      receiver.respond("/hanging", () => ({ fault: "hang" }))
      yield* watched("healthy")
      yield* run("INSERT INTO hanging SELECT i FROM generate_series(1, 180) i")
      yield* receiver.waitFor("/hanging", 180)
      for (let i = 0; i < 20; i++) {
        const before = yield* Clock.currentTimeMillis
        yield* run(`INSERT INTO healthy VALUES (${i})`)
        yield* receiver.waitFor("/healthy", i + 1)
        assert.isBelow((yield* Clock.currentTimeMillis) - before, 1_000)
      }
    }))
})

it.layer(layer, { excludeTestServices: true })("a failed attempt", (it) => {
  it.effect("is made again with the same bytes and webhook-id under a new delivery id, until one succeeds", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      receiver.respond("/again", (_, i) => ({ status: i < 2 ? 500 + i : 200, body: `answer ${i}` }))
      const webhook = yield* watched("again")
      yield* run("INSERT INTO again VALUES (1, 'x')")
      const [first] = yield* service.log(webhook.id, 1)
      assert.deepInclude(first, {
        attempt: 1,
        status_code: 500,
        outcome: "retrying",
        response_body: "answer 0",
        error: null
      })
      const wait = Date.parse(first!.next_attempt_at ?? "") - Date.parse(first!.created_at)
      assert.isAbove(wait, 3_900)
      assert.isBelow(wait, 6_500)
      assert.strictEqual((yield* service.get(webhook.id)).fail_count, 1)

      // The first is waited for, the second hurried.
      const second = (yield* service.log(webhook.id, 2))[1]!
      assert.deepInclude(second, { attempt: 2, status_code: 501, outcome: "retrying" })
      assert.isAbove(Date.parse(second.created_at) - Date.parse(first!.next_attempt_at!), -5)
      const longer = Date.parse(second.next_attempt_at ?? "") - Date.parse(second.created_at)
      assert.isAbove(longer, 23_900)
      assert.isBelow(longer, 37_000)
      assert.strictEqual((yield* service.get(webhook.id)).fail_count, 2)
      yield* retryNow(webhook.id)
      const entries = yield* service.log(webhook.id, 3)
      assert.deepInclude(entries[2], { attempt: 3, status_code: 200, outcome: "success", next_attempt_at: null })
      assert.strictEqual((yield* service.get(webhook.id)).fail_count, 0)

      const requests = receiver.at("/again")
      assert.strictEqual(new Set(requests.map(({ headers }) => headers["webhook-id"])).size, 1)
      assert.strictEqual(new Set(requests.map(({ text }) => text)).size, 1)
      assert.deepStrictEqual(requests.map(({ headers }) => headers["x-truss-delivery"]), entries.map(({ id }) => id))
      assert.strictEqual(new Set(entries.map(({ id }) => id)).size, 3)
      const due = yield* Effect.flatMap(
        Application,
        (sql) => sql`SELECT FROM truss.due WHERE webhook_id = ${webhook.id}::text::uuid`
      )
      assert.deepStrictEqual(due, [])
    }))

  it.effect("is the last after `max_attempts`, and the event ends as failed", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      receiver.respond("/last", () => ({ status: 404 }))
      const webhook = yield* watched("last", { max_attempts: 3 })
      yield* run("INSERT INTO last VALUES (1)")
      for (const made of [1, 2]) {
        yield* service.log(webhook.id, made)
        yield* retryNow(webhook.id)
      }
      const entries = yield* service.log(webhook.id, 3)
      assert.deepStrictEqual(entries.map(({ attempt, outcome }) => [attempt, outcome]), [
        [1, "retrying"],
        [2, "retrying"],
        [3, "failed"]
      ])
      assert.isNull(entries[2]!.next_attempt_at)
      yield* retryNow(webhook.id)
      // The next event is delivered, so the actor has been at work since.
      receiver.respond("/last", () => ({}))
      yield* run("INSERT INTO last VALUES (2)")
      const all = yield* service.log(webhook.id, 4)
      assert.deepStrictEqual(all.map(({ attempt }) => attempt), [1, 2, 3, 1])
    }))

  it.effect("is made again when the endpoint asks for it, if that is later", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const cases = [
        { status: 503, header: "100", least: 99_000, most: 105_000 },
        { status: 429, header: "1", least: 3_900, most: 6_500 },
        { status: 429, header: "99999999", least: 21_599_000, most: 21_605_000 },
        { status: 500, header: "100", least: 3_900, most: 6_500 },
        { status: 503, header: "soon", least: 3_900, most: 6_500 }
      ]
      const webhook = yield* watched("asking")
      receiver.respond("/asking", ({ body }) => {
        const { header, status } = cases[Number(body.row!["id"])]!
        return { status, headers: { "retry-after": header } }
      })
      yield* run(`INSERT INTO asking SELECT i FROM generate_series(0, ${cases.length - 1}) i`)
      const entries = yield* service.log(webhook.id, cases.length)
      for (const entry of entries) {
        const { header, least, most, status } = cases[Number((entry.payload as { row: { id: number } }).row.id)]!
        const wait = Date.parse(entry.next_attempt_at ?? "") - Date.parse(entry.created_at)
        assert.isAbove(wait, least, `${status} ${header}`)
        assert.isBelow(wait, most, `${status} ${header}`)
      }
    }))

  it.effect("counts in fail_count until one succeeds, always as the log says, tests and replays included", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const seed = Math.floor(Math.random() * 2 ** 31)
      let state = seed
      const random = () => (state = Math.imul(state, 1103515245) + 12345 >>> 0) / 2 ** 32
      receiver.respond("/counting", () => ({ status: random() < 0.7 ? 500 : 200 }))
      const webhook = yield* watched("counting", { max_attempts: 1 })
      for (let round = 1; round <= 6; round++) {
        yield* run(`INSERT INTO counting SELECT i FROM generate_series(${round * 1000}, ${round * 1000 + 60}) i`)
        yield* service.ask("POST", `/webhooks/${webhook.id}/test`)
        const [newest] = (yield* service.logs(webhook.id, { outcome: "failed", limit: 1 })).data
        if (newest !== undefined) yield* service.ask("POST", `/webhooks/${webhook.id}/replay/${newest.id}`)
        const wanted = round * 61
        const entries = yield* service.log(
          webhook.id,
          (all) => all.filter((entry) => entry.replay_of === null && entry.event_type !== "TEST").length >= wanted
        )
        assert.strictEqual((yield* service.get(webhook.id)).fail_count, folded(entries), `seed ${seed}`)
      }
    }))

  it.effect("tells in the log why no answer came", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const webhook = yield* watched("reasons", { max_attempts: 1, timeout_ms: 300, concurrency: 1 })
      const faults = ["hang", "hangInBody", "reset", "resetInBody"] as const
      receiver.respond("/reasons", (_, i) =>
        i === 4 ? { status: 302, headers: { location: receiver.url("/elsewhere") } } : { fault: faults[i]! })
      yield* run("INSERT INTO reasons SELECT i FROM generate_series(1, 5) i")
      const entries = yield* service.log(webhook.id, 5)
      assert.deepStrictEqual(entries.map(({ error, outcome, status_code }) => [error, status_code, outcome]), [
        ["timeout", null, "failed"],
        ["timeout", null, "failed"],
        ["connection_reset", null, "failed"],
        ["connection_reset", null, "failed"],
        ["redirect", 302, "failed"]
      ])
      assert.isAbove(entries[0]!.latency_ms, 290)
      assert.isBelow(entries[0]!.latency_ms, 2_000)
      assert.deepStrictEqual(receiver.at("/elsewhere"), [])
    }))
})

it.layer(layer, { excludeTestServices: true })("a webhook", (it) => {
  it.effect("that is paused fires nothing, and sends nothing of that time when it is resumed", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const webhook = yield* watched("paused")
      yield* run("INSERT INTO paused VALUES (1)")
      yield* receiver.waitFor("/paused", 1)
      yield* pause(webhook.id)
      assert.strictEqual((yield* service.get(webhook.id)).disabled_reason, "paused")
      yield* run("INSERT INTO paused VALUES (2)", "UPDATE paused SET note = 'x'")
      yield* resume(webhook.id)
      yield* run("INSERT INTO paused VALUES (3)")
      yield* receiver.waitFor("/paused", 2)
      // And again, so that a second gap follows the first.
      yield* pause(webhook.id)
      yield* run("INSERT INTO paused VALUES (4)")
      yield* resume(webhook.id)
      yield* run("INSERT INTO paused VALUES (5)")
      const requests = yield* receiver.waitFor("/paused", 3)
      yield* service.log(webhook.id, 3)
      assert.deepStrictEqual(requests.map(({ body }) => body.row!["id"]), [1, 3, 5])
      assert.isNull((yield* service.get(webhook.id)).disabled_reason)
    }))

  it.effect("that is paused with a backlog sends what was committed before the pause when it is resumed", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const gate = yield* Deferred.make<void>()
      const opened = Effect.runPromise(Deferred.await(gate))
      const webhook = yield* watched("backlog", { concurrency: 1 })
      receiver.respond("/backlog", (_, i) => i === 0 ? { after: opened } : {})
      yield* run("INSERT INTO backlog SELECT i FROM generate_series(1, 1500) i")
      yield* receiver.waitFor("/backlog", 1)
      const pausing = yield* Effect.forkChild(pause(webhook.id))
      yield* until("the pause is written", service.get(webhook.id), (now) => !now.active)
      yield* run("INSERT INTO backlog SELECT i FROM generate_series(2001, 2100) i")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(pausing)
      const before = receiver.at("/backlog").length
      yield* run("INSERT INTO backlog SELECT i FROM generate_series(2101, 2200) i")
      yield* resume(webhook.id)
      yield* run("INSERT INTO backlog VALUES (3000)")
      yield* receiver.waitFor("/backlog", (all) => all.some(({ body }) => body.row!["id"] === 3000))
      const entries = yield* service.log(webhook.id, 1501)
      assert.isBelow(before, 1500)
      assert.deepStrictEqual(
        receiver.at("/backlog").map(({ body }) => body.row!["id"]),
        [...Array.from({ length: 1500 }, (_, i) => i + 1), 3000]
      )
      assert.lengthOf(entries, 1501)
    }))

  it.effect("that was created paused begins when it is activated", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const webhook = yield* watched("later", { active: false })
      yield* run("INSERT INTO later VALUES (1)")
      yield* resume(webhook.id)
      yield* run("INSERT INTO later VALUES (2)")
      const requests = yield* receiver.waitFor("/later", 1)
      assert.deepStrictEqual(requests.map(({ body }) => body.row!["id"]), [2])
    }))

  it.effect("takes over a new url, new events and a new table", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      yield* run("CREATE TABLE moved_to (id int)")
      const webhook = yield* watched("moving", { events: ["INSERT"] })
      yield* run("INSERT INTO moving VALUES (1)")
      yield* receiver.waitFor("/moving", 1)
      yield* run("DELETE FROM moving")
      yield* service.patch(webhook.id, { events: ["INSERT", "DELETE"], url: receiver.url("/moved") })
      yield* run("INSERT INTO moving VALUES (2)", "DELETE FROM moving")
      const moved = yield* receiver.waitFor("/moved", 2)
      assert.sameMembers(moved.map(({ body }) => body.event), ["INSERT", "DELETE"])
      yield* service.patch(webhook.id, { table_name: "moved_to" })
      yield* run("INSERT INTO moving VALUES (3)", "INSERT INTO moved_to VALUES (4)")
      yield* receiver.waitFor("/moved", 3)
      yield* run("INSERT INTO moved_to VALUES (5)")
      const requests = yield* receiver.waitFor("/moved", 4)
      assert.deepStrictEqual(requests.slice(2).map(({ body }) => [body.table, body.row!["id"]]), [["moved_to", 4], [
        "moved_to",
        5
      ]])
      assert.lengthOf(receiver.at("/moving"), 1)
    }))

  it.effect("that was asked for more kinds of change gets none from before", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const webhook = yield* watched("widened", { events: ["INSERT"] })
      yield* service.create({ table_name: "widened", url: receiver.url("/widened_all") })
      yield* run("INSERT INTO widened VALUES (1)", "UPDATE widened SET note = 'before'")
      yield* receiver.waitFor("/widened_all", 2)
      yield* service.log(webhook.id, 1)
      yield* service.patch(webhook.id, { events: ["INSERT", "UPDATE"] })
      yield* run("UPDATE widened SET note = 'after'")
      yield* receiver.waitFor("/widened", 2)
      assert.deepStrictEqual(receiver.at("/widened").map(({ body }) => body.row!["note"]), [null, "after"])
    }))

  it.effect("that is deleted fires no more, and its log is gone", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const webhook = yield* watched("deleted")
      yield* service.create({ table_name: "deleted", url: receiver.url("/deleted_not") })
      yield* run("INSERT INTO deleted VALUES (1)")
      yield* service.log(webhook.id, 1)
      yield* service.remove(webhook.id)
      yield* run("INSERT INTO deleted VALUES (2)")
      yield* receiver.waitFor("/deleted_not", 2)
      assert.lengthOf(receiver.at("/deleted"), 1)
      assert.strictEqual((yield* service.ask("GET", `/webhooks/${webhook.id}/logs`)).status, 404)
      const sql = yield* Application
      yield* until(
        "the log is gone",
        sql`SELECT FROM truss.attempts WHERE webhook_id = ${webhook.id}::text::uuid`,
        (rows) => rows.length === 0
      )
    }))
})

it.layer(layer, { excludeTestServices: true })("a test and a replay", (it) => {
  it.effect("send a TEST event shaped like the table and tell what came of it", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      yield* run(
        "CREATE TYPE mood AS ENUM ('sad', 'fine')",
        "CREATE DOMAIN day AS date",
        "CREATE TABLE shaped (id int, flag boolean, at timestamptz, data jsonb, tags text[], name text, u uuid, raw bytea, mood mood, day day)"
      )
      const webhook = yield* service.create({ table_name: "shaped", url: receiver.url("/shaped"), secret: "s" })
      receiver.respond("/shaped", () => ({ status: 418, body: "a\0b" }))
      const answer = yield* service.ask("POST", `/webhooks/${webhook.id}/test`)
      assert.strictEqual(answer.status, 200)
      const result = JSON.parse(answer.text)
      const [request] = yield* receiver.waitFor("/shaped", 1)
      assert.deepInclude(result, {
        log_id: request!.headers["x-truss-delivery"],
        status_code: 418,
        response_body: "a\ufffdb",
        error: null
      })
      assert.strictEqual(request!.headers["x-truss-event"], "TEST")
      assert.strictEqual(
        request!.headers["x-truss-signature"],
        createHmac("sha256", "s").update(request!.bytes).digest("hex")
      )
      assert.deepInclude(request!.body, { event: "TEST", schema: "public", table: "shaped", old_row: null })
      const { timestamp } = request!.body
      assert.deepStrictEqual(request!.body.row, {
        id: 0,
        flag: false,
        at: timestamp.replace("Z", "+00:00"),
        data: {},
        tags: [],
        name: "test",
        u: "00000000-0000-0000-0000-000000000000",
        raw: "\\x",
        mood: "sad",
        day: timestamp.slice(0, 10)
      })
      const [entry] = (yield* service.logs(webhook.id)).data
      assert.deepInclude(entry, {
        id: result.log_id,
        event_type: "TEST",
        status_code: 418,
        outcome: "failed",
        next_attempt_at: null
      })
      assert.strictEqual((yield* service.get(webhook.id)).fail_count, 0)

      yield* service.patch(webhook.id, { url: "http://127.0.0.1:1/" })
      const refused = JSON.parse((yield* service.ask("POST", `/webhooks/${webhook.id}/test`)).text)
      assert.deepInclude(refused, { status_code: null, response_body: null, error: "connection_refused" })
    }))

  it.effect("repeat the exact bytes in a new entry that says what it repeats", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const webhook = yield* watched("replayed", { max_attempts: 1 })
      receiver.respond("/replayed", (_, i) => ({ status: i === 0 ? 500 : 200 }))
      yield* run("INSERT INTO replayed VALUES (1, '9007199254740993.10')")
      const [original] = yield* service.log(webhook.id, 1)
      assert.strictEqual((yield* service.get(webhook.id)).fail_count, 1)
      yield* pause(webhook.id)
      const answer = yield* service.ask("POST", `/webhooks/${webhook.id}/replay/${original!.id}`)
      assert.strictEqual(answer.status, 200)
      const entry: LogEntry = JSON.parse(answer.text)
      assert.deepInclude(entry, {
        replay_of: original!.id,
        event_id: original!.event_id,
        event_type: "INSERT",
        status_code: 200,
        outcome: "success"
      })
      assert.notStrictEqual(entry.id, original!.id)
      const [first, second] = yield* receiver.waitFor("/replayed", 2)
      assert.strictEqual(second!.text, first!.text)
      assert.strictEqual(second!.headers["webhook-id"], first!.headers["webhook-id"])
      assert.strictEqual(second!.headers["x-truss-delivery"], entry.id)
      assert.strictEqual((yield* service.get(webhook.id)).fail_count, 0)
      assert.lengthOf(yield* service.log(webhook.id, 2), 2)
      const of = (id: string) => service.ask("POST", `/webhooks/${webhook.id}/replay/${id}`)
      assert.strictEqual((yield* of(`${original!.id}x`)).status, 404)
      assert.strictEqual((yield* of("dlv_zzz_1")).status, 404)
    }))
})

it.layer(layer, { excludeTestServices: true })("the log", (it) => {
  it.effect("is filtered by each of its parameters, and paged steadily while entries are added", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const webhook = yield* watched("logged", { max_attempts: 1, concurrency: 1 })
      receiver.respond("/logged", ({ body }) => ({ status: body.event === "DELETE" ? 500 : 201 }))
      yield* run("INSERT INTO logged SELECT i FROM generate_series(1, 40) i", "DELETE FROM logged WHERE id <= 10")
      const entries = yield* service.log(webhook.id, 50)
      const ids = entries.map(({ id }) => id).toReversed()
      const of = (query: Readonly<Record<string, string | number>>) =>
        Effect.map(service.logs(webhook.id, { limit: 500, ...query }), (page) => page.data.length)
      assert.strictEqual(yield* of({ event_type: "DELETE" }), 10)
      assert.strictEqual(yield* of({ outcome: "failed" }), 10)
      assert.strictEqual(yield* of({ outcome: "retrying" }), 0)
      assert.strictEqual(yield* of({ status_code: 201 }), 40)
      assert.strictEqual(yield* of({ event_id: entries[7]!.event_id }), 1)
      assert.strictEqual(yield* of({ event_id: "evt_nonsense" }), 0)
      assert.strictEqual(yield* of({ status_code: 201, event_type: "DELETE" }), 0)
      const times = entries.map(({ created_at }) => created_at).toSorted()
      const middle = times[25]!
      assert.strictEqual(yield* of({ from: middle }), times.filter((time) => time >= middle).length)
      assert.strictEqual(yield* of({ to: middle }), times.filter((time) => time < middle).length)

      const paged: Array<string> = []
      let cursor: string | null = null
      let added = 100
      do {
        const page: LogPage = yield* service.logs(webhook.id, { limit: 7, ...(cursor === null ? {} : { cursor }) })
        paged.push(...page.data.map(({ id }) => id))
        cursor = page.next_cursor
        yield* run(`INSERT INTO logged SELECT i FROM generate_series(${added}, ${added + 2}) i`)
        added += 3
        yield* receiver.waitFor("/logged", 50 + added - 100)
      } while (cursor !== null)
      assert.deepStrictEqual(paged, ids)
      assert.strictEqual((yield* service.ask("GET", `/webhooks/${webhook.id}/logs?cursor=%00`)).status, 400)
    }))

  it.effect("ends a page early that would be too large, and leaves no entry out, even where a payload is gone", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const sql = yield* Application
      const webhook = yield* watched("heavy", { concurrency: 1 })
      yield* run("INSERT INTO heavy SELECT i, repeat('x', 1000000) FROM generate_series(1, 20) i")
      yield* receiver.waitFor("/heavy", 20)
      yield* until(
        "all are in the log",
        sql`SELECT FROM truss.attempts WHERE webhook_id = ${webhook.id}::text::uuid`,
        (rows) => rows.length === 20
      )
      yield* sql`DELETE FROM truss.events WHERE seq = (
        SELECT min(event_seq) FROM truss.attempts WHERE webhook_id = ${webhook.id}::text::uuid)`
      const first = yield* service.logs(webhook.id)
      assert.isBelow(first.data.length, 20)
      const second = yield* service.logs(webhook.id, { cursor: first.next_cursor! })
      assert.isNull(second.next_cursor)
      assert.lengthOf([...first.data, ...second.data], 20)
      assert.isNull(second.data.at(-1)!.payload)
    }))

  it.effect("and the deliveries go on while partitions open, and after an old one was dropped", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const sql = yield* Application
      const webhook = yield* watched("rotating")
      yield* run("INSERT INTO rotating SELECT i FROM generate_series(1, 10) i")
      yield* receiver.waitFor("/rotating", 10)
      const open = Effect.gen(function*() {
        const [row] = yield* sql<{ slot: number }>`SELECT max(slot)::int AS slot FROM truss.slots`
        return row!.slot
      })
      const first = yield* open
      const partitions = yield* Partitions
      const writing = yield* Effect.forEach(
        Array.from({ length: 100 }, (_, i) => i),
        (i) => run(`INSERT INTO rotating SELECT i FROM generate_series(${100 + i * 10}, ${109 + i * 10}) i`),
        { concurrency: 4 }
      ).pipe(Effect.forkChild)
      for (let i = 0; i < 4; i++) {
        const before = receiver.at("/rotating").length
        yield* partitions.open
        yield* receiver.waitFor("/rotating", (all) => all.length > before || all.length >= 1010)
      }
      yield* Fiber.join(writing)
      yield* receiver.waitFor("/rotating", 1010)
      const entries = yield* service.log(webhook.id, 1010)
      assert.strictEqual(new Set(entries.map(({ event_id }) => event_id)).size, 1010)
      assert.strictEqual(yield* open, first + 4)

      // A month later everything but the open one is past retention.
      yield* sql`UPDATE truss.slots SET opened_at = opened_at - interval '30 days'`
      yield* rotateUntil([first + 4, first + 5])
      yield* run("INSERT INTO rotating VALUES (5000)")
      yield* receiver.waitFor("/rotating", 1011, 5_000)
      const left = yield* service.log(
        webhook.id,
        (all) => all.some(({ payload }) => (payload as { row?: { id: number } } | null)?.row?.id === 5000)
      )
      assert.isBelow(left.length, 1011)
    }))
})

it.layer(layer, { excludeTestServices: true })("retention", (it) => {
  it.effect("that drops the oldest of few partitions stops no webhook", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const sql = yield* Application
      const partitions = yield* Partitions
      yield* watched("kept")
      yield* run("INSERT INTO kept VALUES (1)")
      yield* receiver.waitFor("/kept", 1)
      yield* partitions.open
      yield* run("INSERT INTO kept VALUES (2)")
      yield* receiver.waitFor("/kept", 2)
      yield* sql`UPDATE truss.slots SET opened_at = opened_at - interval '30 days'`
      yield* rotateUntil([2, 3])
      yield* run("INSERT INTO kept VALUES (3)")
      yield* receiver.waitFor("/kept", 3, 5_000)
    }))
})

it.layer(Layer.mergeAll(Receiver.layer, Layer.provideMerge(Application.layer, TestDatabase.layerUrl)), {
  excludeTestServices: true
})("a service that ends and begins again", (it) => {
  it.effect("delivers what was committed meanwhile, each once, and logs what was in flight", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const gate = yield* Deferred.make<void>()
      const opened = Effect.runPromise(Deferred.await(gate))
      receiver.respond("/restarted", ({ body }) => body.row!["id"] === 7 ? { after: opened } : {})
      const webhook = yield* Effect.gen(function*() {
        const webhook = yield* watched("restarted", { concurrency: 8 })
        yield* run("INSERT INTO restarted SELECT i FROM generate_series(1, 500) i")
        yield* receiver.waitFor("/restarted", 20)
        // The end waits for what is in flight.
        yield* Effect.forkDetach(Effect.andThen(
          receiver.waitFor("/restarted", (all) => all.some(({ body }) => body.row!["id"] === 7)),
          Deferred.succeed(gate, undefined)
        ))
        return webhook
      }).pipe(Effect.provide(Layer.fresh(RunningService.layerOn())))
      yield* run("INSERT INTO restarted SELECT i FROM generate_series(501, 600) i")
      yield* Effect.gen(function*() {
        const service = yield* RunningService
        yield* receiver.waitFor("/restarted", (all) => new Set(all.map(({ body }) => body.row!["id"])).size === 600)
        const entries = yield* service.log(webhook.id, 600)
        assert.lengthOf(entries, 600)
        assert.lengthOf(receiver.at("/restarted"), 600)
      }).pipe(Effect.provide(Layer.fresh(RunningService.layerOn())))
    }))

  it.effect("stands by while another one delivers, answers meanwhile, and takes over when it is gone", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const ready = (baseUrl: string) =>
        Effect.promise(() => fetch(`${baseUrl}/health/ready`).then((response) => response.text()))
      yield* Effect.gen(function*() {
        const second = yield* RunningService
        const webhook = yield* Effect.gen(function*() {
          const first = yield* RunningService
          yield* until(
            "one of them listens",
            Effect.zipWith(ready(first.baseUrl), ready(second.baseUrl), (a, b) => a + b),
            (text) => text.includes("notify")
          )
          const webhook = yield* watched("taken_over")
          yield* run("INSERT INTO taken_over VALUES (1)")
          yield* receiver.waitFor("/taken_over", 1)
          assert.strictEqual((yield* second.get(webhook.id)).id, webhook.id)
          return webhook
        }).pipe(Effect.provide(Layer.fresh(RunningService.layerOn())))
        yield* run("INSERT INTO taken_over VALUES (2)")
        yield* receiver.waitFor("/taken_over", 2)
        assert.lengthOf(yield* second.log(webhook.id, 2), 2)
      }).pipe(Effect.provide(Layer.fresh(RunningService.layerOn())))
    }))
})
