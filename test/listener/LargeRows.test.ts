import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { isMainThread } from "node:worker_threads"
import { Receiver } from "../support/Receiver.ts"
import { Application, RunningService } from "../support/RunningService.ts"

const megabytes = 100
const layer = Layer.merge(RunningService.layer(), Receiver.layer)

it.layer(layer, { excludeTestServices: true })("a row of 100 MB", (it) => {
  it.effect("is delivered as its primary key, and costs the service neither its connection nor memory", () =>
    Effect.gen(function*() {
      const sql = yield* Application
      const service = yield* RunningService
      const receiver = yield* Receiver
      yield* sql`CREATE TABLE large (id int PRIMARY KEY, content text)`
      const webhook = yield* service.create({ table_name: "large", url: receiver.url("/large") })
      const before = process.memoryUsage().rss
      yield* sql`INSERT INTO large VALUES (1, repeat('x', ${megabytes} * 1048576)), (2, 'small')`
      const requests = yield* receiver.waitFor("/large", 2)
      const bodies = requests.map(({ body }) => body).toSorted((a, b) => Number(a.row!["id"]) - Number(b.row!["id"]))
      assert.deepInclude(bodies[0], { row: { id: 1 }, old_row: null, truncated: true })
      assert.deepInclude(bodies[1], { row: { id: 2, content: "small" }, old_row: null })
      // On Bun the process is that of other tests, too.
      if (isMainThread) assert.isBelow((process.memoryUsage().rss - before) / 1048576, megabytes)
      assert.lengthOf(yield* service.log(webhook.id, 2), 2)
    }))
})
