import { Effect, type Scope } from "effect"
import { createServer, type IncomingHttpHeaders } from "node:http"

interface Value {
  readonly stringValue?: string
  readonly intValue?: string | number
  readonly doubleValue?: number
  readonly boolValue?: boolean
}

interface Attributed {
  readonly attributes: ReadonlyArray<{ readonly key: string; readonly value: Value }>
}

/** A span as OTLP has it. */
export interface Span extends Attributed {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly status: { readonly code: number }
}

/** A line of the log as OTLP has it. */
export interface LogRecord extends Attributed {
  readonly severityText: string
  readonly body: Value
  readonly traceId?: string
}

interface OtlpRequest {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

/** An attribute's value, or undefined. */
export const attribute = ({ attributes }: Attributed, name: string): string | number | boolean | undefined => {
  const value = attributes.find(({ key }) => key === name)?.value
  return value?.stringValue ?? value?.intValue ?? value?.doubleValue ?? value?.boolValue
}

/** What a collector does with a request. */
export type Manner = "accept" | "hang" | "refuse"

/** An OpenTelemetry collector that takes OTLP as JSON over HTTP, and keeps all of it. */
export interface Collector {
  readonly url: string
  readonly requests: ReadonlyArray<OtlpRequest>
  readonly spans: () => ReadonlyArray<Span>
  readonly logs: () => ReadonlyArray<LogRecord>
  readonly metricNames: () => ReadonlySet<string>
  /** The attributes of the resources that everything came from. */
  readonly resources: () => ReadonlyArray<Attributed>
}

/** Starts a collector, closed with the scope. */
export const startCollector = (manner: Manner = "accept"): Effect.Effect<Collector, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Collector & { readonly close: () => void }>((resume) => {
      const requests: Array<OtlpRequest> = []
      const server = createServer((request, response) => {
        const chunks: Array<Buffer> = []
        request.on("data", (chunk: Buffer) => chunks.push(chunk))
        request.on("end", () => {
          requests.push({ path: request.url ?? "", headers: request.headers, text: Buffer.concat(chunks).toString() })
          if (manner === "hang") return
          response.writeHead(manner === "accept" ? 200 : 401, { "content-type": "application/json" }).end("{}")
        })
      })
      const bodies = (path: string) =>
        requests.filter((request) => request.path === path).map(({ text }) => JSON.parse(text))
      const traces = () => bodies("/v1/traces").flatMap((body) => body.resourceSpans)
      const logs = () => bodies("/v1/logs").flatMap((body) => body.resourceLogs)
      const metrics = () => bodies("/v1/metrics").flatMap((body) => body.resourceMetrics)
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed({
          url: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`,
          requests,
          spans: () => traces().flatMap(({ scopeSpans }) => scopeSpans).flatMap(({ spans }) => spans),
          logs: () => logs().flatMap(({ scopeLogs }) => scopeLogs).flatMap(({ logRecords }) => logRecords),
          metricNames: () =>
            new Set(
              metrics().flatMap(({ scopeMetrics }) => scopeMetrics).flatMap(({ metrics }) => metrics)
                .map(({ name }) => name)
            ),
          resources: () => [...traces(), ...logs(), ...metrics()].map(({ resource }) => resource),
          close: () => {
            server.closeAllConnections()
            server.close()
          }
        }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )
