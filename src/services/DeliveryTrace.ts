import { Context, Exit, type Tracer } from "effect"
import { encodeAttemptId } from "../domain/AttemptRef.ts"
import { encodeEventId } from "../domain/EventRef.ts"
import type { AttemptRecord } from "./AttemptRecord.ts"

/** Whether every attempt has a span of its own, which the endpoint is told in `traceparent`. */
export const TraceDeliveries = Context.Reference<boolean>("truss/services/TraceDeliveries", {
  defaultValue: () => false
})

/** The span for a request's header `traceparent`: https://www.w3.org/TR/trace-context/#traceparent-header */
export const traceparentOf = ({ sampled, spanId, traceId }: Tracer.AnySpan): string =>
  `00-${traceId.padStart(32, "0")}-${spanId}-${sampled ? "01" : "00"}`

/** Milliseconds since 1970 as spans have them. */
export const toNanos = (ms: number): bigint => BigInt(Math.round(ms * 1000)) * 1000n

/** Ends an attempt's span with what came of it: ids and numbers, neither URL nor body nor headers. */
export const endAttempt = (span: Tracer.Span, record: AttemptRecord): void => {
  span.attribute("truss.event.id", encodeEventId(record.ref))
  span.attribute("truss.event.type", record.eventType)
  span.attribute("truss.delivery.id", encodeAttemptId({ eventSeq: record.ref.seq, nonce: record.nonce }))
  span.attribute("truss.attempt", record.attempt)
  span.attribute("truss.outcome", record.outcome)
  if (record.statusCode !== null) span.attribute("http.response.status_code", record.statusCode)
  if (record.error !== null) span.attribute("error.type", record.error)
  span.end(
    toNanos(record.createdAt + record.latencyMs),
    record.outcome === "success" ? Exit.void : Exit.fail(record.error ?? `answered ${record.statusCode}`)
  )
}
