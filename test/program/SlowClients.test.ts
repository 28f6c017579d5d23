import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Ref } from "effect"
import { readdir, readlink } from "node:fs/promises"
import { scene, withDatabase } from "../e2e/Scene.ts"
import { delivered, report, write } from "../e2e/Workload.ts"
import { rawClient } from "../support/RawClient.ts"
import { waitFor } from "../support/ServiceProcess.ts"

/** Sockets that a process has open; undefined where that cannot be read. */
const sockets = (pid: number) =>
  Effect.promise(async () => {
    try {
      const files = await readdir(`/proc/${pid}/fd`)
      const links = await Promise.all(files.map((file) => readlink(`/proc/${pid}/fd/${file}`).catch(() => "")))
      return links.filter((link) => link.startsWith("socket:")).length
    } catch {
      return undefined
    }
  })

describe("200 slow clients", () => {
  it.live("are cut, while others are served and changes are delivered", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, webhook } = yield* scene()
      // A log whose first page is larger than what the kernel takes from the service.
      yield* sql.unsafe("CREATE TABLE large (id int PRIMARY KEY, note text)")
      const large = yield* service.createWebhook({
        name: "large",
        table_name: "large",
        events: ["INSERT"],
        url: endpoint.url
      })
      yield* sql.unsafe("INSERT INTO large SELECT n, repeat('x', 500000) FROM generate_series(1, 30) n")
      yield* waitFor("the large entries", Effect.sync(() => endpoint.received().length >= 30))
      const port = Number(new URL(service.url).port)
      const before = yield* sockets(service.pid)
      const head = "host: localhost\r\ncontent-type: application/json\r\n"
      const kinds = [
        () => rawClient(port, ""),
        () => rawClient(port, "GET /api/webhooks HTTP/1.1\r\n", { trickle: { text: "a: b\r\n", everyMs: 500 } }),
        () =>
          rawClient(port, `POST /api/webhooks HTTP/1.1\r\n${head}content-length: 100000\r\n\r\n{`, {
            trickle: { text: " ", everyMs: 500 }
          }),
        () => rawClient(port, `GET /api/webhooks/${large.id}/logs HTTP/1.1\r\n${head}\r\n`, { deaf: true }),
        () =>
          rawClient(
            port,
            `GET /api/webhooks/${large.id}/logs/stream HTTP/1.1\r\n${head}last-event-id: dlv_0_0\r\n\r\n`,
            { deaf: true }
          )
      ]
      const clients = yield* Effect.forEach(Array.from({ length: 200 }), (_, n) => kinds[n % kinds.length]!(), {
        concurrency: 50
      })
      const slowest = yield* Ref.make(0)
      const asking = yield* Effect.forkScoped(Effect.forever(Effect.gen(function*() {
        const start = Date.now()
        const answer = yield* service.ask("GET", "/api/webhooks")
        assert.strictEqual(answer.status, 200)
        yield* Ref.update(slowest, (ms) => Math.max(ms, Date.now() - start))
        yield* Effect.sleep(100)
      })))
      yield* write(sql, { seed: 1, transactions: 200, pauseMs: 50 })
      yield* delivered(sql, endpoint, webhook.id, { describe: service.output })
      const heard = clients.filter((_, n) => n % kinds.length < 3)
      yield* Effect.forEach(heard, ({ closed }) => closed, { concurrency: "unbounded" })
      if (before !== undefined) {
        yield* waitFor(
          "the connections to go",
          Effect.map(sockets(service.pid), (now) => now! <= before + 10),
          { within: 100_000 }
        )
      }
      const memory = yield* service.memory
      assert.isBelow(memory, 700)
      const { status } = yield* service.ask("GET", "/api/webhooks")
      assert.strictEqual(status, 200)
      assert.isUndefined(asking.pollUnsafe())
      yield* Fiber.interrupt(asking)
      assert.isBelow(yield* Ref.get(slowest), 10_000)
      yield* report("200 slow clients", {
        "memory (MB)": memory,
        "slowest answer to others (ms)": yield* Ref.get(slowest)
      })
    })), 120_000)
})
