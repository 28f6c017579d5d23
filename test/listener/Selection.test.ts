import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Capture } from "../../src/services/Capture.ts"
import { Cursors, type Position } from "../../src/services/Cursors.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService, until } from "../support/RunningService.ts"

const layer = Layer.merge(RunningService.layer(), Receiver.layer)

const ids = (requests: ReadonlyArray<{ readonly body: { readonly row: Readonly<Record<string, unknown>> | null } }>) =>
  requests.map(({ body }) => body.row?.["id"] as number).toSorted((a, b) => a - b)

/** Whether the stored position has nothing of what was committed before ahead of it. */
const isThrough = Effect.fnUntraced(function*(id: string) {
  const sql = yield* Application
  const [row] = yield* sql<{ through: boolean }>`
    SELECT c.target IS NULL AND NOT EXISTS (
      SELECT FROM truss.events e WHERE e.table_id = w.table_id AND NOT pg_visible_in_snapshot(e.xid, c.seen)
    ) AS through
    FROM truss.cursors c JOIN truss.webhooks w ON w.id = c.webhook_id WHERE w.id = ${id}::text::uuid`
  return row!.through
})

it.layer(layer, { excludeTestServices: true })("a webhook that selects", (it) => {
  it.effect("gets what matches and nothing else", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      yield* run("CREATE TABLE orders (id int PRIMARY KEY, status text, note text)")
      const filtered = yield* service.create({
        table_name: "orders",
        url: receiver.url("/filtered"),
        filter: [{ column: "status", op: "in", value: ["paid", "shipped"] }]
      })
      yield* service.create({
        table_name: "orders",
        url: receiver.url("/columns"),
        events: ["UPDATE"],
        columns: ["status"],
        concurrency: 1
      })
      yield* run(
        "INSERT INTO orders VALUES (1, 'new'), (2, 'paid')",
        "UPDATE orders SET note = 'x'",
        "UPDATE orders SET status = 'shipped' WHERE id = 1",
        "UPDATE orders SET status = 'done' WHERE id = 2",
        "DELETE FROM orders",
        "TRUNCATE orders"
      )
      yield* service.log(filtered.id, 5)
      const requests = yield* receiver.waitFor("/filtered", 5)
      assert.sameDeepMembers(
        requests.map((
          { body }
        ) => [body.event, (body.row ?? body.old_row)?.["id"], (body.row ?? body.old_row)?.["status"]]),
        [
          ["INSERT", 2, "paid"],
          ["UPDATE", 2, "paid"],
          ["UPDATE", 1, "shipped"],
          ["DELETE", 1, "shipped"],
          ["TRUNCATE", undefined, undefined]
        ]
      )
      const changed = yield* receiver.waitFor("/columns", 2)
      assert.deepStrictEqual(changed.map(({ body }) => body.row?.["status"]), ["shipped", "done"])
    }))

  it.effect("gets through a backlog of which little matches, whole and without the bodies of the rest", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const cursors = yield* Cursors
      yield* run("CREATE TABLE backlog (id int PRIMARY KEY, kind int)")
      const webhook = yield* service.create({
        table_name: "backlog",
        url: receiver.url("/backlog"),
        filter: [{ column: "kind", op: "eq", value: 7 }],
        concurrency: 64
      })
      // One statement is one transaction: the whole backlog becomes visible at once.
      yield* run("INSERT INTO backlog SELECT i, i % 100 FROM generate_series(1, 20000) i")
      const requests = yield* receiver.waitFor("/backlog", 200, 60_000)
      assert.deepStrictEqual(ids(requests), Array.from({ length: 200 }, (_, i) => i * 100 + 7))
      yield* service.log(webhook.id, 200)
      yield* run("INSERT INTO backlog VALUES (30000, 1), (30001, 7)")
      yield* receiver.waitFor("/backlog", 201)
      yield* until("everything was considered", isThrough(webhook.id), (through) => through)
      assert.lengthOf(receiver.at("/backlog"), 201)

      // The pages as the session reads them, from the start; the last is the look for what came meanwhile.
      const lease = yield* cursors.acquire(webhook.id)
      if (lease === undefined || typeof lease === "string") return assert.fail("it is there")
      const sql = yield* Application
      const [first] = yield* sql<{ seen: string }>`
        SELECT xid::text || ':' || xid::text || ':' AS seen FROM truss.events ORDER BY seq DESC OFFSET 2 LIMIT 1`
      let position: Position = {
        seen: first!.seen,
        target: null as string | null,
        afterSeq: 0,
        gaps: [] as ReadonlyArray<string>
      }
      const sizes: Array<number> = []
      const fresh = { ...lease, boundary: 0 }
      for (let more = true; more;) {
        const page = yield* cursors.page(fresh, position)
        if (typeof page === "string") return assert.fail(page)
        sizes.push(page.events.length)
        position = page.next
        more = page.more
      }
      assert.deepStrictEqual(sizes, [50, 50, 50, 50, 1, 0])
    }))

  it.effect(
    "goes on where nothing matches for pages, and takes a page that matches whole in parts",
    () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        yield* run("CREATE TABLE late (id int PRIMARY KEY)")
        const late = yield* service.create({
          table_name: "late",
          url: receiver.url("/late"),
          filter: [{ column: "id", op: "gt", value: 17000 }],
          concurrency: 256
        })
        yield* run("INSERT INTO late SELECT i FROM generate_series(1, 19500) i")
        yield* receiver.waitFor("/late", 2500, 60_000)
        yield* until("everything was written", service.log(late.id, 2500), (entries) => entries.length >= 2500)
        assert.deepStrictEqual(ids(receiver.at("/late")), Array.from({ length: 2500 }, (_, i) => 17001 + i))
      }),
    60_000
  )

  it.effect("loses nothing when the type of a column is dropped: it waits until its function is made anew", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const capture = yield* Capture
      yield* run("CREATE TYPE stage AS ENUM ('open', 'shut')", "CREATE TABLE retyped (id int PRIMARY KEY, stage stage)")
      yield* service.create({
        table_name: "retyped",
        url: receiver.url("/retyped"),
        filter: [{ column: "stage", op: "eq", value: "shut" }]
      })
      yield* run("INSERT INTO retyped VALUES (1, 'shut')")
      yield* receiver.waitFor("/retyped", 1)
      yield* run(
        "ALTER TABLE retyped ALTER stage TYPE text",
        "DROP TYPE stage",
        "INSERT INTO retyped VALUES (2, 'shut'), (3, 'x')"
      )
      yield* capture.reconcile
      yield* receiver.waitFor("/retyped", 2)
      assert.deepStrictEqual(ids(receiver.at("/retyped")), [1, 2])
    }))

  it.effect("takes a new filter, and none, while it runs", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      yield* run("CREATE TABLE patched (id int PRIMARY KEY)")
      const webhook = yield* service.create({
        table_name: "patched",
        url: receiver.url("/patched"),
        filter: [{ column: "id", op: "lt", value: 10 }]
      })
      yield* run("INSERT INTO patched VALUES (1), (11)")
      yield* receiver.waitFor("/patched", 1)
      yield* service.patch(webhook.id, { filter: [{ column: "id", op: "gte", value: 20 }] })
      yield* run("INSERT INTO patched VALUES (2), (22)")
      yield* receiver.waitFor("/patched", 2)
      yield* service.patch(webhook.id, { filter: null })
      yield* run("INSERT INTO patched VALUES (3)")
      yield* receiver.waitFor("/patched", 3)
      yield* service.patch(webhook.id, { columns: ["id"] })
      yield* run("UPDATE patched SET id = id WHERE id = 3", "UPDATE patched SET id = 4 WHERE id = 3")
      yield* receiver.waitFor("/patched", 4)
      assert.deepStrictEqual(ids(receiver.at("/patched")), [1, 3, 4, 22])
    }))
})
