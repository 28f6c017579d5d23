import { type Context, Effect, Latch, Metric, Schedule } from "effect"
import type { SqlError } from "effect/sql"
import { isSuccess } from "../domain/Attempt.ts"
import { parseRetryAfter, retryDelayMs } from "../domain/Retry.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import type { AttemptRecord } from "../services/AttemptRecord.ts"
import { Cursors, type Lease, type Position } from "../services/Cursors.ts"
import { reasonOf } from "../services/Database.ts"
import { Sender } from "../services/Sender.ts"
import * as DeliveryMetrics from "./DeliveryMetrics.ts"
import { type Finished, Lanes, lowWater, type OpenPage } from "./Lanes.ts"
import { Permits } from "./Permits.ts"

/** How a session ended: the webhook is gone, another one took it over, or its settings changed. */
export type SessionEnd = "gone" | "fenced" | "reload"

/** What the entity's messages do to the session. */
export interface SessionControl {
  readonly wake: Latch.Latch
  readonly reload: Latch.Latch
}

interface Page extends OpenPage {
  readonly next: Position
}

/** Attempts that share a commit at most, events that are due at once at most. */
const commitAttempts = 1000
const dueEvents = 250

/** How long the first of a batch waits for others to end. */
const gatherMs = 2

/** How long attempts in flight may go on when the session ends. */
const drainTime = "10 seconds"

const reconnect = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])

/** The outcome of an attempt, and when the next one is due. */
const toRecord = (finished: Finished, maxAttempts: number, now: number): AttemptRecord => {
  const { answer, task } = finished
  const success = isSuccess(answer)
  // What we broke off ourselves uses up no attempt.
  const again = !success && (answer.error === "aborted" || task.attempt < maxAttempts)
  const asked = again && answer.retryAfter !== null && (answer.statusCode === 429 || answer.statusCode === 503)
    ? parseRetryAfter(answer.retryAfter, now)
    : undefined
  return {
    ref: task.event.ref,
    eventType: task.event.eventType,
    nonce: finished.nonce,
    attempt: task.attempt,
    createdAt: finished.createdAt,
    statusCode: answer.statusCode,
    responseBody: answer.responseBody,
    latencyMs: answer.latencyMs,
    error: answer.error,
    outcome: success ? "success" : again ? "retrying" : "failed",
    nextAttemptAt: again ? now + retryDelayMs(task.attempt, Math.random(), asked) : null,
    replayOf: null,
    wasDue: task.page === undefined
  }
}

/** Straight into the metrics: an effect for each of them would cost more than the signature of the delivery. */
const observe = (records: ReadonlyArray<AttemptRecord>, context: Context.Context<never>) => {
  const counts = new Map<string, number>()
  for (const record of records) {
    counts.set(record.outcome, (counts.get(record.outcome) ?? 0) + 1)
    DeliveryMetrics.attemptSeconds.updateUnsafe(record.latencyMs / 1000, context)
    if (record.attempt === 1) {
      const seconds = (record.createdAt + record.latencyMs - record.ref.at / 1000) / 1000
      DeliveryMetrics.deliverySeconds.updateUnsafe(Math.max(0, seconds), context)
    }
  }
  for (const [outcome, count] of counts) {
    Metric.withAttributes(DeliveryMetrics.attempts, { outcome }).updateUnsafe(count, context)
  }
}

/**
 * One webhook at work, from taking it over until its settings change: reads pages of new events and what is due, gives
 * them to the lanes, and writes finished attempts together with the position they lead to. A database that is away is
 * waited for; what was sent meanwhile is kept and written when it is back.
 */
export const runSession = Effect.fnUntraced(function*(id: WebhookId, control: SessionControl) {
  const cursors = yield* Cursors
  const sender = yield* Sender
  const permits = yield* Permits
  const context = yield* Effect.context<never>()

  const patiently = <A>(what: string, effect: Effect.Effect<A, SqlError.SqlError>) =>
    effect.pipe(
      Effect.tapError((error) => Effect.logWarning(`cannot ${what} yet`, reasonOf(error))),
      Effect.retry({ schedule: reconnect, while: () => !closing }),
      Effect.orDie
    )
  let closing = false

  const acquired = yield* patiently("take over the webhook", cursors.acquire(id))
  if (acquired === undefined) return "gone" as SessionEnd
  let lease: Lease = acquired
  if (!lease.webhook.active) {
    yield* control.reload.await
    return "reload" as SessionEnd
  }

  const feed = yield* Latch.make(true)
  const done = yield* Latch.make(false)
  const idle = yield* Latch.make(false)
  const crashed = yield* Latch.make(false)
  const finished: Array<Finished> = []
  const pages: Array<Page> = []
  const dueInFlight = new Set<number>()
  let position = lease.position
  let written = lease.position
  let writtenAt = 0
  let gaps = lease.position.gaps.length
  let more = true
  let nextDueAt: number | null = 0
  let fenced = false
  let gone = false
  let stopped = false

  const lanes = new Lanes({
    permits,
    concurrency: lease.webhook.concurrency,
    send: sender.to(lease.webhook),
    onFinished: (attempt) => {
      finished.push(attempt)
      done.openUnsafe()
    },
    onLow: () => {
      if (more) feed.openUnsafe()
    }
  })

  const readDue = Effect.gen(function*() {
    const room = dueEvents - lanes.waitingAgain
    const { events, nextAt } = yield* cursors.due(lease, room, [...dueInFlight])
    // What cannot be found any more must not make the loop spin.
    nextDueAt = nextAt === null ? null : Math.max(nextAt, Date.now() + (events.length === room ? 5 : 250))
    for (const event of events) dueInFlight.add(event.ref.seq)
    lanes.addAgain(events.map((event) => ({ event, attempt: event.attempt, page: undefined })))
  })

  const readPage = Effect.gen(function*() {
    more = false
    const read = yield* cursors.page(lease, position)
    if (read === undefined) {
      yield* Effect.logWarning("the database has crashed: starting again from what it has stored")
      crashed.openUnsafe()
      return yield* Effect.never
    }
    more = read.more
    position = read.next
    const page: Page = { remaining: read.events.length, next: read.next }
    pages.push(page)
    if (page.remaining === 0) advance()
    else lanes.addFresh(read.events.map((event) => ({ event, attempt: 1, page })))
  })

  const advance = () => {
    while (pages[0]?.remaining === 0) written = pages.shift()!.next
  }

  const feeder = Effect.gen(function*() {
    while (!stopped) {
      if (nextDueAt !== null && nextDueAt <= Date.now() && lanes.waitingAgain < dueEvents / 2) {
        yield* patiently("read what is due", readDue)
      }
      if (control.wake.isOpen()) {
        control.wake.closeUnsafe()
        more = true
      }
      if (more && lanes.waiting < lowWater) {
        yield* patiently("read new events", readPage).pipe(Effect.onError(() => Effect.sync(() => (more = true))))
        if (pages.length === 0 && Date.now() - writtenAt > 30_000) done.openUnsafe()
        continue
      }
      feed.closeUnsafe()
      const wait = nextDueAt === null ? 3_600_000 : Math.max(1, Math.min(nextDueAt - Date.now(), 3_600_000))
      yield* Effect.raceFirst(feed.await, Effect.raceFirst(control.wake.await, Effect.sleep(wait)))
    }
    return yield* Effect.never
  })

  const write = Effect.fnUntraced(function*(batch: ReadonlyArray<Finished>) {
    const now = Date.now()
    const records = batch.map((attempt) => toRecord(attempt, lease.webhook.maxAttempts, now))
    for (const { task } of batch) if (task.page !== undefined) task.page.remaining--
    advance()
    const to = written
    const passed = (gaps - to.gaps.length) / 2
    let uncertain = false
    const first = records[0]
    const current = yield* patiently(
      "write the log",
      Effect.suspend(() =>
        uncertain && first !== undefined
          ? Effect.flatMap(cursors.wasWritten(lease, first), (was) =>
            was ? Effect.succeed(true) : cursors.commit(lease, records, to, passed))
          : cursors.commit(lease, records, to, passed)
      ).pipe(Effect.tapError(() => Effect.sync(() => (uncertain = true))))
    )
    if (!current) {
      gone = (yield* patiently("read the webhook's settings", cursors.settings(id))) === undefined
      fenced = true
      return
    }
    writtenAt = now
    gaps = to.gaps.length
    for (const record of records) {
      if (record.wasDue) dueInFlight.delete(record.ref.seq)
      if (record.nextAttemptAt !== null && (nextDueAt === null || record.nextAttemptAt < nextDueAt)) {
        nextDueAt = record.nextAttemptAt
        feed.openUnsafe()
      }
    }
    observe(records, context)
  })

  const committer = Effect.gen(function*() {
    while (!fenced) {
      yield* done.await
      if (finished.length < commitAttempts / 10) yield* Effect.sleep(gatherMs)
      done.closeUnsafe()
      // A batch that was taken is written, whatever happens to this fiber meanwhile.
      yield* Effect.uninterruptible(Effect.suspend(() => write(finished.splice(0, commitAttempts))))
      if (finished.length > 0) done.openUnsafe()
    }
    return (gone ? "gone" : "fenced") as SessionEnd
  })

  const commitAll = Effect.gen(function*() {
    while (finished.length > 0 && !fenced) yield* write(finished.splice(0, commitAttempts))
  })

  const drain = Effect.gen(function*() {
    lanes.close(() => idle.openUnsafe())
    if (fenced || gone) return void lanes.abort()
    yield* Effect.timeoutOption(idle.await, drainTime)
    finished.push(...lanes.abort())
    yield* commitAll
  })

  /** Starts nothing more, lets what is in flight end, and asks for a new session. */
  const endQuietly = Effect.gen(function*() {
    stopped = true
    lanes.close(() => idle.openUnsafe())
    yield* idle.await
    return "reload" as SessionEnd
  })

  /** Takes over new settings; what is in flight ends as it began. Only another table, or a pause, needs a new start. */
  const reloader = Effect.gen(function*() {
    while (true) {
      yield* control.reload.await
      control.reload.closeUnsafe()
      const next = yield* patiently("read the webhook's settings", cursors.settings(id))
      if (next === undefined) {
        gone = true
        return "gone" as SessionEnd
      }
      if (!next.active || next.gaps !== gaps || next.tableId !== lease.webhook.tableId) break
      lease = { ...lease, webhook: next }
      lanes.change({ concurrency: next.concurrency, send: sender.to(next) })
    }
    return yield* endQuietly
  })

  return yield* Effect.raceAllFirst([
    // Whoever ends the session does not wait for a database that is away.
    Effect.onInterrupt(feeder, () => Effect.sync(() => (closing = true))),
    committer,
    reloader,
    Effect.andThen(crashed.await, endQuietly)
  ]).pipe(Effect.ensuring(Effect.timeoutOption(drain, "15 seconds")))
})
