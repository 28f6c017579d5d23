import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { scene, withDatabase } from "../e2e/Scene.ts"
import { attribute, type Collector, type Span, startCollector } from "../support/Collector.ts"
import { deliveryIdOf } from "../support/Recorder.ts"
import { waitFor } from "../support/ServiceProcess.ts"

const apiKey = `truss_sk_${"hunter2".repeat(5)}`

const traceparent = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" }

const environment = (collector: Collector, more: Readonly<Record<string, string>> = {}) => ({
  LOG_LEVEL: "debug",
  LOG_FORMAT: "json",
  TRUSS_API_KEY: apiKey,
  OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  ...more
})

const post = (url: string, headers: Readonly<Record<string, string>>) =>
  Effect.promise(async () => {
    const response = await fetch(url, { method: "POST", headers })
    return { status: response.status, headers: response.headers, text: await response.text() }
  })

const childrenOf = (spans: ReadonlyArray<Span>, parent: Span, name: string) =>
  spans.filter((span) => span.parentSpanId === parent.spanId && span.traceId === parent.traceId && span.name === name)

const asked = { "x-api-key": apiKey, "content-type": "application/json" }

describe("telemetry", () => {
  it.live("arrives at a collector: traces from the call to the attempt, metrics and logs, and nothing secret", () =>
    withDatabase(Effect.gen(function*() {
      const collector = yield* startCollector()
      const env = environment(collector, {
        OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20collector-hunter2",
        OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test"
      })
      const { endpoint, service, sql, webhook } = yield* scene(env)
      yield* sql`INSERT INTO orders VALUES (1, 'hunter2-row')`
      yield* waitFor("the delivery", Effect.sync(() => endpoint.received().length === 1))
      const tested = yield* post(`${service.url}/v1/webhooks/${webhook.id}/test?note=hunter2-query`, {
        ...asked,
        "x-request-id": "req:1",
        traceparent: `00-${traceparent.traceId}-${traceparent.spanId}-01`
      })
      assert.strictEqual(tested.status, 200)
      yield* waitFor("metrics", Effect.sync(() => collector.metricNames().has("truss_backlog_events")))
      assert.deepStrictEqual(yield* service.stop, { code: 0, signal: null })

      const spans = collector.spans()
      const server = spans.find(({ name }) => name === "POST /v1/webhooks/:id/test")!
      assert.deepStrictEqual([server.traceId, server.parentSpanId], [traceparent.traceId, traceparent.spanId])
      assert.strictEqual(attribute(server, "http.response.status_code"), 200)
      assert.strictEqual(attribute(server, "http.request.id"), "req:1")
      const tests = spans.filter((span) => span.name === "attempt" && span.traceId === server.traceId)
      assert.strictEqual(tests.length, 1)
      assert.strictEqual(attribute(tests[0]!, "truss.event.type"), "TEST")
      const byId = new Map(spans.map((span) => [span.spanId, span]))
      let above = tests[0]!
      while (above.spanId !== server.spanId) above = byId.get(above.parentSpanId ?? "")!

      const page = spans.find(({ name }) => name === "deliver new")!
      assert.isUndefined(page.parentSpanId)
      assert.strictEqual(attribute(page, "truss.webhook.id"), webhook.id)
      assert.strictEqual(attribute(page, "truss.success"), 1)
      assert.strictEqual(childrenOf(spans, page, "read").length, 1)
      assert.strictEqual(childrenOf(spans, page, "commit").length, 1)
      const [attempt] = childrenOf(spans, page, "attempt")
      assert.strictEqual(attribute(attempt!, "truss.delivery.id"), deliveryIdOf(endpoint.received()[0]!))
      assert.isTrue(BigInt(attempt!.endTimeUnixNano) > BigInt(attempt!.startTimeUnixNano))
      // What the service does of itself, every second and less, is no trace.
      const roots = spans.filter(({ parentSpanId }) => parentSpanId === undefined).map(({ name }) => name)
      assert.deepStrictEqual([...new Set(roots)].toSorted(), ["POST /api/webhooks", "deliver new"])

      assert.isTrue(collector.metricNames().has("truss_deliveries_total"))
      const line = collector.logs().find((log) => attribute(log, "request_id") === "req:1")!
      assert.deepStrictEqual([line.severityText, line.body.stringValue], ["Debug", "HTTP"])
      for (const resource of collector.resources()) {
        assert.strictEqual(attribute(resource, "service.name"), "truss-webhooks")
        assert.strictEqual(attribute(resource, "deployment.environment.name"), "test")
      }
      for (const { headers } of collector.requests) {
        assert.strictEqual(headers.authorization, "Bearer collector-hunter2")
      }
      const lines = service.output().trimEnd().split("\n").map((line) => JSON.parse(line))
      for (const { level, message, timestamp } of lines) {
        assert.include(["DEBUG", "INFO", "WARN"], level)
        assert.isDefined(message)
        assert.strictEqual(new Date(timestamp).toISOString(), timestamp)
      }
      assert.isDefined(lines.find(({ annotations }) => annotations.request_id === "req:1"))
      // The receiver gets no trace unless that is asked for.
      for (const { headers } of endpoint.received()) assert.isUndefined(headers["traceparent"])
      const sent = collector.requests.map(({ text }) => text).join("\n")
      for (const secret of ["hunter2", "whsec_", "truss_sk_"]) {
        assert.notInclude(sent, secret)
        assert.notInclude(service.output(), secret)
      }
    })))

  it.live("has a span for every attempt, and tells the endpoint of it, where that is asked for", () =>
    withDatabase(Effect.gen(function*() {
      const collector = yield* startCollector()
      const env = environment(collector, { TRUSS_TRACE_DELIVERIES: "true", OTEL_SERVICE_NAME: "orders-webhooks" })
      const { endpoint, service, sql, webhook } = yield* scene(env)
      yield* sql`INSERT INTO orders SELECT n, 'm' || n FROM generate_series(1, 30) n`
      yield* waitFor("the deliveries", Effect.sync(() => endpoint.received().length === 30))
      yield* service.ask("POST", `/api/webhooks/${webhook.id}/test`)
      const own = "00-11111111111111111111111111111111-2222222222222222-01"
      yield* service.ask("PATCH", `/api/webhooks/${webhook.id}`, { headers: { TraceParent: own } })
      yield* service.ask("POST", `/api/webhooks/${webhook.id}/test`)
      yield* service.stop
      const attempts = new Map(
        collector.spans().filter(({ name }) => name === "attempt").map((span) => [
          `00-${span.traceId}-${span.spanId}-01`,
          attribute(span, "truss.delivery.id")
        ])
      )
      const [test, ...live] = endpoint.received().toReversed()
      assert.strictEqual(new Set(live.map(({ headers }) => headers["traceparent"])).size, 31)
      for (const request of live) {
        assert.strictEqual(attempts.get(String(request.headers["traceparent"])), deliveryIdOf(request))
      }
      // A header of the webhook's own is left alone.
      assert.deepStrictEqual([test!.headers["x-truss-event"], test!.headers["traceparent"]], ["TEST", own])
      assert.strictEqual(attribute(collector.resources()[0]!, "service.name"), "orders-webhooks")
    })))

  it.live.each(["hang", "refuse", "down"] as const)(
    "to a collector that would %s slows nothing and lets the service stop in time",
    (manner) =>
      withDatabase(Effect.gen(function*() {
        const url = manner === "down" ? "http://127.0.0.1:1" : (yield* startCollector(manner)).url
        const { endpoint, service, sql } = yield* scene({
          OTEL_EXPORTER_OTLP_ENDPOINT: url,
          TRUSS_TRACE_DELIVERIES: "true",
          LOG_FORMAT: "json"
        })
        yield* sql`INSERT INTO orders SELECT n, 'm' || n FROM generate_series(1, 5000) n`
        yield* waitFor("the deliveries", Effect.sync(() => endpoint.received().length === 5000))
        yield* waitFor(
          "the line that says so",
          Effect.sync(() => service.output().includes("telemetry does not reach OTEL_EXPORTER_OTLP_ENDPOINT"))
        )
        const started = performance.now()
        assert.deepStrictEqual(yield* service.stop, { code: 0, signal: null })
        assert.isBelow(performance.now() - started, 12_000)
        assert.strictEqual(service.output().split("telemetry does not reach").length, 2)
      }))
  )
})
