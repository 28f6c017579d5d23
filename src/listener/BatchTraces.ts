import { Context, Effect, Exit, Option, Tracer } from "effect"
import type { WebhookId } from "../domain/Webhook.ts"
import type { AttemptRecord } from "../services/AttemptRecord.ts"
import { endAttempt, toNanos, TraceDeliveries } from "../services/DeliveryTrace.ts"

/** Failed attempts of a batch that have a span of their own at most. */
const shownFailures = 10

/**
 * The trace of events that were read together: one span from the read until the last of them is dealt with, with what
 * became of them as numbers, and below it the read and each commit. At 10,000 attempts a second a span each would be most
 * of the work: unless every attempt is traced, only the first one has its span, and the first failed ones.
 */
export class BatchTrace {
  private readonly counts = { success: 0, retrying: 0, failed: 0 }
  private shown = 0
  private failures = 0
  private left: number
  private readonly span: Tracer.Span
  private readonly tracer: Tracer.Tracer
  private readonly every: boolean
  private readonly onEnd: (batch: BatchTrace) => void

  constructor(
    tracer: Tracer.Tracer,
    span: Tracer.Span,
    left: number,
    every: boolean,
    onEnd: (batch: BatchTrace) => void
  ) {
    this.tracer = tracer
    this.span = span
    this.left = left
    this.every = every
    this.onEnd = onEnd
  }

  /** The span of an attempt that starts now, if every attempt is traced. */
  start(): Tracer.Span | undefined {
    return this.every ? this.attempt(Date.now()) : undefined
  }

  /** An attempt is in the log. */
  ended(record: AttemptRecord, span: Tracer.Span | undefined): void {
    this.counts[record.outcome]++
    const failed = record.outcome !== "success"
    if (span !== undefined) endAttempt(span, record)
    else if (this.shown === 0 || failed && this.failures < shownFailures) {
      this.shown++
      endAttempt(this.attempt(record.createdAt), record)
    }
    if (failed) this.failures++
    this.passed()
  }

  /** An event is left to a later batch. */
  passed(): void {
    if (--this.left === 0) this.end()
  }

  /** Something that was done for the batch as a whole. */
  step(name: "read" | "commit", from: number, to: number): void {
    this.child(name, "client", from).end(toNanos(to), Exit.void)
  }

  end(): void {
    for (const [outcome, count] of Object.entries(this.counts)) this.span.attribute(`truss.${outcome}`, count)
    this.span.end(toNanos(Date.now()), Exit.void)
    this.onEnd(this)
  }

  private attempt(from: number): Tracer.Span {
    return this.child("attempt", "client", from)
  }

  private child(name: string, kind: Tracer.SpanKind, from: number): Tracer.Span {
    return makeSpan(this.tracer, name, kind, Option.some(this.span), from)
  }
}

const makeSpan = (
  tracer: Tracer.Tracer,
  name: string,
  kind: Tracer.SpanKind,
  parent: Option.Option<Tracer.AnySpan>,
  from: number
) =>
  tracer.span({
    name,
    kind,
    parent,
    root: Option.isNone(parent),
    sampled: true,
    annotations: Context.empty(),
    links: [],
    startTime: toNanos(from)
  })

/** The traces of one webhook's session. */
export interface BatchTraces {
  /** Whether spans go anywhere. */
  readonly isOn: boolean
  /** Events were read; nothing unless spans go somewhere. Times in ms since 1970. */
  begin(source: "new" | "due" | "job", from: number, count: number): BatchTrace | undefined
  /** Ends those whose events are left to the next session. */
  readonly close: () => void
}

export const batchTraces = Effect.fnUntraced(function*(id: WebhookId) {
  const tracer = yield* Tracer.Tracer
  const every = yield* TraceDeliveries
  const open = new Set<BatchTrace>()
  const isOn = tracer !== Tracer.nativeTracer
  return {
    isOn,
    begin: (source, from, count) => {
      if (!isOn || count === 0) return undefined
      const span = makeSpan(tracer, `deliver ${source}`, "consumer", Option.none(), from)
      span.attribute("truss.webhook.id", id)
      span.attribute("truss.events", count)
      const batch = new BatchTrace(tracer, span, count, every, (ended) => open.delete(ended))
      open.add(batch)
      batch.step("read", from, Date.now())
      return batch
    },
    close: () => open.forEach((batch) => batch.end())
  } satisfies BatchTraces as BatchTraces
})
