import { Effect, Layer, Metric } from "effect"
import { liveMetric } from "./LiveMetric.ts"
import { version } from "./Version.ts"

const residentMemory = Metric.gauge("process_resident_memory_bytes", { description: "Resident memory of the process" })

const heapUsed = Metric.gauge("truss_heap_used_bytes", { description: "Memory in use on the JavaScript heap" })

const startTime = Metric.gauge("process_start_time_seconds", {
  description: "When the process started, in seconds since 1970"
})

const cpuSeconds = Metric.counter("process_cpu_seconds_total", {
  description: "User and system CPU time that the process has spent",
  incremental: true
})

const buildInfo = Metric.gauge("truss_build_info", {
  description: "Always 1; the labels say which version of the service runs on which runtime"
})

const eventLoopLag = Metric.histogram("truss_event_loop_lag_seconds", {
  description: "How late a timer fires that is set twice a second: what everything else in the process waits for",
  boundaries: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
})

const lookEveryMs = 500

const bun = process.versions["bun"]

/** What Prometheus's client libraries tell of a process, and how busy its one thread is. */
export const layerProcessMetrics = Layer.effectDiscard(Effect.gen(function*() {
  const context = yield* Effect.context<never>()
  const startedAt = (Date.now() - performance.now()) / 1000
  yield* liveMetric(residentMemory, () => ({ value: process.memoryUsage.rss() }))
  yield* liveMetric(heapUsed, () => ({ value: process.memoryUsage().heapUsed }))
  yield* liveMetric(startTime, () => ({ value: startedAt }))
  yield* liveMetric(cpuSeconds, () => {
    const { system, user } = process.cpuUsage()
    return { count: (user + system) / 1_000_000, incremental: true }
  })
  const runtime = bun === undefined ? `node ${process.versions.node}` : `bun ${bun}`
  yield* liveMetric(Metric.withAttributes(buildInfo, { version, runtime }), () => ({ value: 1 }))
  eventLoopLag.valueUnsafe(context)
  let due = performance.now() + lookEveryMs
  const look = () => {
    const now = performance.now()
    eventLoopLag.updateUnsafe(Math.max(0, now - due) / 1000, context)
    due = now + lookEveryMs
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => setInterval(look, lookEveryMs).unref()),
    (timer) => Effect.sync(() => clearInterval(timer))
  )
}))
