import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { apply, fold, initial } from "../../src/domain/DeliveryState.ts"
import { type Received, Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService, until } from "../support/RunningService.ts"

const layer = Layer.merge(RunningService.layer(), Receiver.layer)

const watched = Effect.fnUntraced(function*(table: string, more: Readonly<Record<string, unknown>>) {
  const service = yield* RunningService
  const receiver = yield* Receiver
  yield* run(`CREATE TABLE ${table} (id int PRIMARY KEY, version int NOT NULL)`)
  return yield* service.create({ table_name: table, url: receiver.url(`/${table}`), ...more })
})

interface Layout {
  readonly parts: number
  readonly alone: boolean
}

const layoutOf = (id: string) =>
  Effect.flatMap(Application, (sql) =>
    Effect.map(
      sql<Layout>`SELECT coalesce((layout ->> 'n')::int, 1) AS parts, alone
        FROM truss.cursors WHERE webhook_id = ${id}::text::uuid`,
      (rows) => rows[0]!
    ))

const splitInto = (id: string, n: number) =>
  until(`it is split into ${n}`, layoutOf(id), ({ alone, parts }) => parts === n && !alone)

const due = (id: string) =>
  Effect.flatMap(Application, (sql) =>
    Effect.map(
      sql<{ waiting: number; parked: number; parts: number }>`SELECT count(*)::int AS waiting,
        count(*) FILTER (WHERE at = 'infinity')::int AS parked, count(DISTINCT part)::int AS parts
        FROM truss.due WHERE webhook_id = ${id}::text::uuid`,
      (rows) => rows[0]!
    ))

/** Lets what is to be tried again later be tried now. */
const hasten = (id: string) =>
  run(
    `UPDATE truss.due SET at = clock_timestamp() WHERE webhook_id = '${id}' AND at < 'infinity'`,
    `NOTIFY truss, 'webhook ${id}'`
  )

const rowOf = ({ body }: Received) => (body.row ?? body.old_row)!
const idOf = (request: Received) => Number(rowOf(request)["id"])
const versionOf = (request: Received) => Number(rowOf(request)["version"])

/** Fails unless each row's versions came once each, in their order. */
const assertOrder = (requests: ReadonlyArray<Received>, rows: number, versions: number) => {
  const byRow = Map.groupBy(requests, idOf)
  assert.strictEqual(byRow.size, rows)
  for (const [id, own] of byRow) {
    assert.deepStrictEqual(own.map(versionOf), Array.from({ length: versions }, (_, i) => i), `row ${id}`)
  }
}

const nothingWaits = Effect.fnUntraced(function*(id: string) {
  const service = yield* RunningService
  yield* until("nothing waits", service.get(id), ({ backlog }) => backlog === 0)
})

it.layer(layer, { excludeTestServices: true })("a webhook with partitions", (it) => {
  it.effect("delivers by several parts, each row's events in their order, each once", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      receiver.respond("/shared", () => ({ after: new Promise((resolve) => setTimeout(resolve, 1)) }))
      const webhook = yield* watched("shared", { ordering: "row", partitions: 4 })
      assert.strictEqual(webhook.partitions, 4)
      yield* splitInto(webhook.id, 4)
      yield* run("INSERT INTO shared SELECT i, 0 FROM generate_series(1, 200) i")
      for (let version = 1; version < 10; version++) yield* run(`UPDATE shared SET version = ${version}`)
      yield* receiver.waitFor("/shared", 2000)
      yield* service.log(webhook.id, 2000)
      yield* nothingWaits(webhook.id)
      assertOrder(receiver.at("/shared"), 200, 10)
      assert.isAtMost(Math.max(...receiver.at("/shared").map(({ open }) => open)), 16)
      const sql = yield* Application
      const moved =
        yield* sql`SELECT FROM truss.cursor_parts WHERE webhook_id = ${webhook.id}::text::uuid AND commits > 0`
      assert.lengthOf(moved, 3)
    }))

  for (const ordering of ["row", "none"] as const) {
    it.effect(
      `is split otherwise while it runs, and loses, repeats and reorders nothing: ${ordering}`,
      () =>
        Effect.gen(function*() {
          const service = yield* RunningService
          const receiver = yield* Receiver
          const table = `resplit_${ordering}`
          const webhook = yield* watched(table, { ordering, partitions: 1, concurrency: 64 })
          let over = false
          const writer = yield* Effect.forkChild(Effect.gen(function*() {
            yield* run(`INSERT INTO ${table} SELECT i, 0 FROM generate_series(1, 20) i`)
            let version = 1
            for (; !over && version < 1_500; version++) {
              yield* Effect.sleep("20 millis")
              for (const half of [0, 1]) yield* run(`UPDATE ${table} SET version = ${version} WHERE id % 2 = ${half}`)
            }
            return version
          }))
          for (const partitions of [4, 2, 64, 3, 1, 5, 1]) {
            yield* service.patch(webhook.id, { partitions })
            yield* splitInto(webhook.id, partitions)
            const before = receiver.at(`/${table}`).length
            yield* receiver.waitFor(`/${table}`, before + 200)
          }
          over = true
          const versions = yield* Fiber.join(writer)
          yield* receiver.waitFor(`/${table}`, 20 * versions)
          yield* nothingWaits(webhook.id)
          const requests = receiver.at(`/${table}`)
          assert.lengthOf(requests, 20 * versions)
          if (ordering === "row") assertOrder(requests, 20, versions)
          else assert.strictEqual(new Set(requests.map(({ headers }) => headers["webhook-id"])).size, 20 * versions)
          const { text } = yield* service.ask("GET", `/webhooks/${webhook.id}/reconcile`)
          assert.deepInclude(JSON.parse(text), {
            matched: 20 * versions,
            delivered: 20 * versions,
            failed: 0,
            pending: 0,
            never_attempted: 0
          })
        }),
      60_000
    )
  }

  it.effect(
    "keeps the order of rows whose primary key changes to one of another part, and around TRUNCATE",
    () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        const webhook = yield* watched("rekeyed", { ordering: "row", partitions: 8 })
        receiver.respond("/rekeyed", () => ({ after: new Promise((resolve) => setTimeout(resolve, 1)) }))
        yield* splitInto(webhook.id, 8)
        yield* run("INSERT INTO rekeyed SELECT i, 0 FROM generate_series(1, 40) i")
        // Each row goes on as another one, whose own past is over.
        for (let version = 1; version <= 8; version++) {
          yield* run(
            `UPDATE rekeyed SET version = ${2 * version - 1}`,
            `UPDATE rekeyed SET id = id + 40, version = ${2 * version}`
          )
        }
        yield* run("TRUNCATE rekeyed", "INSERT INTO rekeyed SELECT i, 100 FROM generate_series(1, 400) i")
        yield* receiver.waitFor("/rekeyed", 40 + 8 * 80 + 1 + 400)
        yield* splitInto(webhook.id, 8)
        yield* nothingWaits(webhook.id)
        const requests = receiver.at("/rekeyed")
        assert.lengthOf(requests, 40 + 8 * 80 + 1 + 400)
        const at = requests.findIndex(({ body }) => body.event === "TRUNCATE")
        assert.strictEqual(at, 40 + 8 * 80)
        // By what the rows were in the end of it all.
        const lives = Map.groupBy(requests.slice(0, at), (request) => idOf(request) % 40)
        assert.strictEqual(lives.size, 40)
        for (const [life, own] of lives) {
          assert.deepStrictEqual(own.map(versionOf), Array.from({ length: 17 }, (_, i) => i), `row ${life}`)
        }
      }),
    60_000
  )

  it.effect(
    "stays one while a change of a primary key waits for its next attempt, and is split again after",
    () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        let broken = true
        const isMove = ({ body }: Received) => body.event === "UPDATE" && body.row!["id"] !== body.old_row!["id"]
        receiver.respond("/waiting_move", (request) => broken && isMove(request) ? { status: 500 } : {})
        const webhook = yield* watched("waiting_move", { ordering: "row", partitions: 8 })
        yield* splitInto(webhook.id, 8)
        yield* run(
          "INSERT INTO waiting_move SELECT i, 0 FROM generate_series(1, 5) i",
          "UPDATE waiting_move SET id = id + 100, version = 1",
          "UPDATE waiting_move SET version = 2",
          "INSERT INTO waiting_move SELECT i, 0 FROM generate_series(1, 5) i"
        )
        yield* until("all moves have failed, and what follows waits", due(webhook.id), ({ waiting }) => waiting === 15)
        assert.deepInclude(yield* layoutOf(webhook.id), { parts: 1, alone: true })
        assert.deepInclude(yield* service.get(webhook.id), { partitions: 8, backlog: 15 })
        broken = false
        yield* hasten(webhook.id)
        yield* until("nothing is due", due(webhook.id), ({ waiting }) => waiting === 0)
        yield* splitInto(webhook.id, 8)
        const accepted = receiver.at("/waiting_move").slice(10)
        for (const [id, own] of Map.groupBy(accepted.filter((request) => idOf(request) > 100), idOf)) {
          assert.deepStrictEqual(own.map(versionOf), [1, 2], `row ${id}`)
        }
        assert.lengthOf(accepted, 15)
      }),
    60_000
  )

  it.effect(
    "lets rows that fail hold back themselves alone, each by its part, over another split",
    () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        const refused = new Set<Received>()
        let broken = true
        receiver.respond("/parts_poisoned", (request) => {
          if (!broken || idOf(request) > 5) return {}
          refused.add(request)
          return { status: 500 }
        })
        const webhook = yield* watched("parts_poisoned", { ordering: "row", partitions: 4 })
        yield* splitInto(webhook.id, 4)
        yield* run("INSERT INTO parts_poisoned SELECT i, 0 FROM generate_series(1, 40) i")
        for (let version = 1; version < 10; version++) yield* run(`UPDATE parts_poisoned SET version = ${version}`)
        yield* receiver.waitFor("/parts_poisoned", 35 * 10 + 5)
        yield* until("the others wait", due(webhook.id), ({ parked }) => parked === 45)
        assert.isAbove((yield* due(webhook.id)).parts, 1)
        const [first] = yield* service.log(
          webhook.id,
          (entries) => entries.some(({ outcome }) => outcome === "retrying")
        )
          .pipe(Effect.map((entries) => entries.filter(({ outcome }) => outcome === "retrying")))
        const skipped = yield* service.ask("POST", `/webhooks/${webhook.id}/skip/${first!.event_id}`)
        assert.strictEqual(skipped.status, 200)
        yield* service.patch(webhook.id, { partitions: 7 })
        yield* splitInto(webhook.id, 7)
        broken = false
        yield* hasten(webhook.id)
        yield* until("nothing is due", due(webhook.id), ({ waiting }) => waiting === 0)
        const gone = first!.payload as { readonly row: { readonly id: number } }
        const accepted = receiver.at("/parts_poisoned").filter((request) => !refused.has(request))
        for (const [id, own] of Map.groupBy(accepted, idOf)) {
          const from = id === gone.row.id ? 1 : 0
          assert.deepStrictEqual(own.map(versionOf), Array.from({ length: 10 - from }, (_, i) => i + from), `row ${id}`)
        }
      }),
    60_000
  )

  it.effect(
    "has one circuit: one probe at a time for all parts, and all go on when it closes",
    () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        let broken = true
        let most = 0
        let open = 0
        receiver.respond("/parts_down", () => {
          if (!broken) return {}
          most = Math.max(most, ++open)
          return {
            status: 500,
            after: new Promise<void>((resolve) => setTimeout(resolve, 300)).then(() => void open--)
          }
        })
        const webhook = yield* watched("parts_down", { partitions: 8, concurrency: 16 })
        yield* splitInto(webhook.id, 8)
        yield* run("INSERT INTO parts_down SELECT i, 0 FROM generate_series(1, 400) i")
        yield* until("it is open", service.get(webhook.id), ({ circuit }) => circuit !== "closed")
        yield* until("nothing but probes is sent", Effect.sync(() => open), (now) => now === 0)
        most = 0
        const before = receiver.at("/parts_down").length
        yield* receiver.waitFor("/parts_down", before + 3)
        assert.strictEqual(most, 1)
        const now = yield* service.get(webhook.id)
        broken = false
        yield* receiver.waitFor("/parts_down", (all) => new Set(all.map(idOf)).size === 400)
        yield* until("it is closed", service.get(webhook.id), ({ circuit }) => circuit === "closed")
        yield* hasten(webhook.id)
        yield* nothingWaits(webhook.id)
        const entries = yield* service.log(webhook.id, (all) =>
          new Set(
            all.filter(({ outcome }) => outcome === "success").map(({ event_id }) => event_id)
          ).size === 400)
        const state = apply(
          initial,
          fold(entries.map((entry) => ({
            eventType: entry.event_type,
            success: entry.outcome === "success",
            createdAt: 0,
            endedAt: 0
          })))
        )
        assert.isAtLeast(now.fail_count, 10)
        assert.strictEqual(state.failCount, 0)
        assert.strictEqual((yield* service.get(webhook.id)).fail_count, 0)
      }),
    60_000
  )

  it.effect(
    "does not send what happened while it was paused, and recovers that by all its parts",
    () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        const webhook = yield* watched("parts_paused", { ordering: "row", partitions: 4 })
        yield* splitInto(webhook.id, 4)
        const since = new Date(Date.now() - 60_000).toISOString()
        yield* run("INSERT INTO parts_paused SELECT i, 0 FROM generate_series(1, 50) i")
        yield* receiver.waitFor("/parts_paused", 50)
        yield* nothingWaits(webhook.id)
        yield* service.patch(webhook.id, { active: false })
        yield* run("UPDATE parts_paused SET version = 1")
        yield* service.patch(webhook.id, { active: true, partitions: 3 })
        yield* run("UPDATE parts_paused SET version = 2")
        yield* receiver.waitFor("/parts_paused", 100)
        yield* nothingWaits(webhook.id)
        assert.notInclude(receiver.at("/parts_paused").map(versionOf), 1)
        const answer = yield* service.ask("POST", `/webhooks/${webhook.id}/recover`, { since })
        assert.deepInclude(JSON.parse(answer.text), { matched: 50 })
        const jobs = Effect.map(
          service.ask("GET", `/webhooks/${webhook.id}/jobs`),
          ({ text }) => (JSON.parse(text) as { data: ReadonlyArray<{ state: string; done: number }> }).data
        )
        yield* until("the recovery is done", jobs, ([job]) => job!.state === "done")
        assert.strictEqual((yield* jobs)[0]!.done, 50)
        assert.lengthOf(receiver.at("/parts_paused").filter((request) => versionOf(request) === 1), 50)
        assert.lengthOf(receiver.at("/parts_paused"), 150)
        const replay = yield* service.ask("POST", `/webhooks/${webhook.id}/replay`, { outcome: "success" })
        assert.deepInclude(JSON.parse(replay.text), { matched: 150 })
        yield* until("the replay is done", jobs, ([job]) => job!.state === "done" && job!.done === 150)
        assert.lengthOf(yield* receiver.waitFor("/parts_paused", 300), 300)
      }),
    60_000
  )

  it.effect("keeps the rate of the whole, and has no more parts than it allows", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const webhook = yield* watched("parts_rated", { partitions: 8, rate_limit: 40 })
      yield* splitInto(webhook.id, 8)
      yield* run("INSERT INTO parts_rated SELECT i, 0 FROM generate_series(1, 120) i")
      const requests = yield* receiver.waitFor("/parts_rated", 120)
      // A burst of one second's, then the rate: no second has more than two seconds' worth.
      for (const { at } of requests) {
        assert.isAtMost(requests.filter((other) => other.at >= at && other.at < at + 1000).length, 81)
      }
      const service = yield* RunningService
      yield* service.patch(webhook.id, { rate_limit: 2 })
      yield* splitInto(webhook.id, 2)
      yield* service.patch(webhook.id, { rate_limit: null, concurrency: 3 })
      yield* splitInto(webhook.id, 3)
    }), 60_000)

  it.effect("is from 1 to 64, not with strict, and not without a primary key", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const webhook = yield* watched("parts_valid", {})
      assert.strictEqual(webhook.partitions, 1)
      for (const partitions of [0, 65, 1.5, "2", null]) {
        assert.strictEqual((yield* service.ask("PATCH", `/webhooks/${webhook.id}`, { partitions })).status, 400)
      }
      const refused = Effect.fnUntraced(function*(input: unknown) {
        const { status, text } = yield* service.ask("PATCH", `/webhooks/${webhook.id}`, input)
        assert.strictEqual(status, 422)
        assert.strictEqual(JSON.parse(text).errors[0].path, "partitions")
      })
      yield* refused({ partitions: 2, ordering: "strict" })
      yield* service.patch(webhook.id, { partitions: 64 })
      yield* refused({ ordering: "strict" })
      yield* service.patch(webhook.id, { partitions: 1, ordering: "strict" })
      yield* refused({ partitions: 2 })
      yield* run("CREATE TABLE keyless (id int)")
      const { status } = yield* service.ask("POST", "/webhooks", {
        name: "keyless",
        table_name: "keyless",
        events: ["INSERT"],
        url: "http://127.0.0.1:9/",
        partitions: 2
      })
      assert.strictEqual(status, 422)
    }))
})
