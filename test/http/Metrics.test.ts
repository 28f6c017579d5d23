import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric } from "effect"
import { createServer, type Socket } from "node:net"
import { type Family, parseExposition } from "../support/Exposition.ts"
import { Receiver } from "../support/Receiver.ts"
import { run, RunningService, until } from "../support/RunningService.ts"
import { startService } from "../support/ServiceProcess.ts"
import { watched } from "../support/Watched.ts"

const scrape = (baseUrl: string) =>
  Effect.promise(async () => parseExposition(await (await fetch(`${baseUrl}/metrics`)).text()))

const value = (
  families: ReadonlyMap<string, Family>,
  name: string,
  labels: Readonly<Record<string, string>> = {}
): number | undefined =>
  families.get(name.replace(/_(count|sum)$/, ""))?.samples.find((sample) =>
    sample.name === name && Object.entries(labels).every(([label, of]) => sample.labels[label] === of)
  )?.value ?? families.get(name)?.samples.find((sample) =>
    Object.entries(labels).every(([label, of]) =>
      sample.labels[label] === of
    )
  )?.value

/** Accepts connections and never says anything. */
const hangingServer = Effect.acquireRelease(
  Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
    const sockets = new Set<Socket>()
    const server = createServer((socket) => sockets.add(socket))
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resume(Effect.succeed({
        port: typeof address === "object" ? address?.port ?? 0 : 0,
        close: () => {
          for (const socket of sockets) socket.destroy()
          server.close()
        }
      }))
    })
  }),
  ({ close }) => Effect.sync(close)
).pipe(Effect.map(({ port }) => port))

/** Every series that is counted in this process has its own registry: other services of the run are not in it. */
const ownRegistry = Layer.sync(Metric.MetricRegistry, () => new Map())

const layerService = (options?: Parameters<typeof RunningService.layer>[0]) =>
  Layer.merge(RunningService.layer(options), Receiver.layer).pipe(Layer.provide(ownRegistry), Layer.fresh)

it.layer(layerService(), { excludeTestServices: true })("a scrape of a service that delivers", (it) => {
  it.effect("tells what was delivered, by outcome, how long it took and how long after the change it began", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const webhook = yield* watched("metered", { max_attempts: 1 })
      receiver.respond("/metered", (_, index) => ({ status: index === 2 ? 500 : 200 }))
      yield* run("INSERT INTO metered SELECT n, 'x' FROM generate_series(1, 5) n")
      yield* service.log(webhook.id, 5)
      yield* service.ask("POST", `/webhooks/${webhook.id}/test`)
      const families = yield* until(
        "the sixth attempt to be counted",
        scrape(service.baseUrl),
        (families) => value(families, "truss_delivery_duration_seconds_count") === 6
      )
      assert.strictEqual(value(families, "truss_deliveries_total", { outcome: "success" }), 5)
      assert.strictEqual(value(families, "truss_deliveries_total", { outcome: "failed" }), 1)
      assert.strictEqual(value(families, "truss_deliveries_total", { outcome: "retrying" }), 0)
      // Not the test: nobody changed anything.
      assert.strictEqual(value(families, "truss_commit_to_request_seconds_count"), 5)
      const seconds = value(families, "truss_commit_to_request_seconds_sum")! / 5
      assert.isTrue(seconds > 0 && seconds < 20, String(seconds))
      assert.strictEqual(value(families, "truss_listener_mode", { mode: "notify" }), 1)
      assert.strictEqual(value(families, "truss_listener_mode", { mode: "standby" }), 0)
      assert.strictEqual(value(families, "truss_database_up"), 1)
      assert.strictEqual(value(families, "truss_ready"), 1)
      assert.strictEqual(value(families, "truss_attempts_in_flight_limit"), 256)
      const { heapUsed, rss } = process.memoryUsage()
      assert.isAbove(value(families, "process_resident_memory_bytes")!, rss / 3)
      assert.isAbove(value(families, "truss_heap_used_bytes")!, heapUsed / 5)
      assert.closeTo(value(families, "process_start_time_seconds")!, Date.now() / 1000 - process.uptime(), 5)
    }))

  it.effect("tells what waits, for how long, and whose circuit is open", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      receiver.respond("/stuck", () => ({ status: 500 }))
      const webhook = yield* watched("stuck")
      yield* watched("idle", { active: false })
      yield* run("INSERT INTO stuck SELECT n, 'x' FROM generate_series(1, 25) n")
      const families = yield* until(
        "the circuit to be open in the metrics",
        scrape(service.baseUrl),
        (families) => value(families, "truss_circuit_open") === 1
      )
      assert.strictEqual(value(families, "truss_backlog_events"), 25)
      const age = value(families, "truss_oldest_pending_seconds")!
      assert.isTrue(age > 0 && age < 30, String(age))
      assert.strictEqual(value(families, "truss_webhooks", { state: "paused" }), 1)
      receiver.respond("/stuck", () => ({}))
      const well = yield* until(
        "nothing to wait any more in the metrics",
        scrape(service.baseUrl),
        (families) => value(families, "truss_backlog_events") === 0 && value(families, "truss_circuit_open") === 0
      )
      assert.strictEqual(value(well, "truss_oldest_pending_seconds"), 0)
      yield* service.remove(webhook.id)
    }))

  it.effect("has names and units by convention, and no label whose values are without bound", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      for (const path of ["/webhooks/x", "/webhooks/y", "/nothing/1", "/nothing/2"]) yield* service.ask("GET", path)
      const families = yield* scrape(service.baseUrl)
      const bounded = new Set(["outcome", "le", "mode", "state", "method", "route", "status", "version", "runtime"])
      for (const { help, name, samples, type } of families.values()) {
        assert.match(name, /^(truss|process)_[a-z_]+[a-z]$/)
        assert.strictEqual(name.endsWith("_total"), type === "counter", name)
        if (type === "histogram") assert.match(name, /_seconds$/)
        assert.notMatch(name, /_(ms|milliseconds|minutes|kb|mb|megabytes|percent)$/)
        assert.isAbove(help.length, 10, name)
        for (const sample of samples) for (const label of Object.keys(sample.labels)) assert.include(bounded, label)
      }
      const routes = families.get("truss_http_requests_total")!.samples.map(({ labels }) => labels["route"])
      assert.include(routes, "/api/webhooks/:id")
      assert.include(routes, "none")
      for (const route of routes) assert.notMatch(route!, /x$|y$|[0-9a-f]{8}-|nothing/)
    }))
})

describe("a scrape", () => {
  it.live("of a standby tells what waits as that of whoever delivers does, and that it stands by", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      receiver.respond("/shared", () => ({ fault: "hang" }))
      yield* watched("shared", { concurrency: 1 })
      yield* run("INSERT INTO shared SELECT n, 'x' FROM generate_series(1, 7) n")
      yield* receiver.waitFor("/shared", 1)
      yield* Effect.gen(function*() {
        const standby = yield* RunningService
        const waits = (families: ReadonlyMap<string, Family>) => value(families, "truss_backlog_events") === 7
        const there = yield* until("the backlog at the standby", scrape(standby.baseUrl), waits)
        yield* until("the backlog at the leader", scrape(service.baseUrl), waits)
        assert.strictEqual(value(there, "truss_listener_mode", { mode: "standby" }), 1)
        assert.strictEqual(value(there, "truss_attempts_in_flight"), 0)
        assert.strictEqual(value(there, "truss_actors"), 0)
      }).pipe(Effect.provide(Layer.fresh(RunningService.layerOn()).pipe(Layer.provide(ownRegistry), Layer.fresh)))
    }).pipe(Effect.scoped, Effect.provide(layerService())))

  it.live("comes in time while the database hangs, and says that it is away", () =>
    Effect.gen(function*() {
      const port = yield* hangingServer
      const service = yield* startService(`postgres://app:hunter2@127.0.0.1:${port}/app`)
      yield* service.health(503)
      const started = performance.now()
      const families = yield* scrape(service.url)
      assert.isBelow(performance.now() - started, 5_000)
      assert.strictEqual(value(families, "truss_database_up"), 0)
      assert.strictEqual(value(families, "truss_ready"), 0)
      assert.isUndefined(value(families, "truss_backlog_events"))
    }).pipe(Effect.scoped))
})
