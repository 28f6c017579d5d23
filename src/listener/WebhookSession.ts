import { Effect, Latch, Schedule, type Tracer } from "effect"
import type { SqlError } from "effect/sql"
import { apply, type DeliveryState, fold, isFailingForTooLong, nextProbeAt } from "../domain/DeliveryState.ts"
import { isInProcess } from "../domain/InProcess.ts"
import { everyRow, rowKeys } from "../domain/RowKey.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import type { ActorWebhook } from "../services/ActorWebhook.ts"
import { type AttemptRecord, toFolded } from "../services/AttemptRecord.ts"
import { Cursors, type Lease, type Position } from "../services/Cursors.ts"
import { reasonOf } from "../services/Database.ts"
import * as DeliveryMetrics from "../services/DeliveryMetrics.ts"
import { Disabling } from "../services/Disabling.ts"
import { leavesDue, type ParkedEvent } from "../services/DueRow.ts"
import type { StoredEvent } from "../services/EventPageQuery.ts"
import { type JobPage, Jobs } from "../services/Jobs.ts"
import { Layouts } from "../services/Layouts.ts"
import { RowQueue } from "../services/RowQueue.ts"
import { Sender } from "../services/Sender.ts"
import { Subscribers } from "../services/Subscribers.ts"
import { type BatchTrace, batchTraces } from "./BatchTraces.ts"
import { type Finished, Lanes, lowWater, lowWaterBytes, type OpenPage, type Task } from "./Lanes.ts"
import { awaitSubscriber } from "./MissingSubscriber.ts"
import { Permits } from "./Permits.ts"
import { RowOrder } from "./RowOrder.ts"
import { isGone, settle } from "./Settlement.ts"

/** How a session ended: the webhook is gone or has no such part, another one took it over, or its settings changed. */
export type SessionEnd = "gone" | "no_part" | "fenced" | "reload"

/** What the entity's messages do to the session. */
export interface SessionControl {
  readonly wake: Latch.Latch
  readonly reload: Latch.Latch
  /** The part of the cluster's work that the webhook belongs to. */
  readonly shard: string
}

interface Page extends OpenPage {
  /** Where the webhook stands when the page is dealt with. */
  next: Position
}

interface JobPageInLanes extends JobPage, OpenPage {
  /** How many of its events the job has been told of, or are none of its any more. */
  told: number
  toldAt: number
}

/** How often the progress of a job is written while a page of it is under way. */
const progressMs = 500

const noKeys: ReadonlyArray<number> = []

const toParked = ({ attempt, due, event, keys, replayOf }: Task): ParkedEvent => ({
  ref: event.ref,
  attempt,
  replayOf,
  keys,
  wasDue: due
})

/** Attempts that share a commit at most, events that are due at once at most. */
const commitAttempts = 1000
const fullBatch = 400
const manyAttempts = 100
const dueEvents = 250

/** What ends while a commit takes longer may have to be sent again: nothing more is started meanwhile. */
const slowCommitMs = 500

/** How long the first of a batch waits for others to end; longer where there are many: a commit has its own price. */
const gatherMs = 2
const manyGatherMs = 8

/** For new settings to be taken over, before the next page is read by them. */
const settingsPause = 5

/** For another process's place to be noticed, before this one asks again. */
const placePause = "250 millis"

/** How often a part looks what the others have found out about the endpoint. */
const followEvery = "500 millis"

/** So long a webhook stays one after an event that was about rows of several of its parts. */
const togetherMs = 1_000

/** How long attempts in flight may go on when the session ends. */
const drainTime = "10 seconds"

/** For the other parts of a webhook to end, before this one asks again without being told. */
const othersPause = "2 seconds"

const reconnect = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])

/** What ended and is to be written: attempts, and events that wait behind others of their row. */
interface Ended {
  readonly record: AttemptRecord
  readonly page: OpenPage | undefined
  readonly trace: BatchTrace | undefined
  readonly span: Tracer.Span | undefined
}

const noBatch = { ended: [], parked: [] }

/**
 * One webhook, or one part of it, at work, from taking it over until its settings change: reads pages of new events and what is due, gives
 * them to the lanes, and writes finished attempts together with the position they lead to. A database that is away is
 * waited for; what was sent meanwhile is kept and written when it is back.
 */
export const runSession = Effect.fnUntraced(function*(id: WebhookId, part: number, control: SessionControl) {
  const cursors = yield* Cursors
  const queue = yield* RowQueue
  const jobs = yield* Jobs
  const disabling = yield* Disabling
  const layouts = yield* Layouts
  const sender = yield* Sender
  const permits = yield* Permits
  const context = yield* Effect.context<never>()
  const traces = yield* batchTraces(id)

  const patiently = <A>(what: string, effect: Effect.Effect<A, SqlError.SqlError>) =>
    effect.pipe(
      Effect.tapError((error) => Effect.logWarning(`cannot ${what} yet`, reasonOf(error))),
      Effect.retry({ schedule: reconnect, while: () => !closing }),
      Effect.orDie
    )
  let closing = false

  const acquired = yield* patiently("take over the webhook", cursors.acquire(id, permits.right?.(control.shard), part))
  if (acquired === undefined) return "gone" as SessionEnd
  if (acquired === "no_part") return acquired as SessionEnd
  if (acquired === "not_ours") {
    yield* Effect.sleep(placePause)
    return "reload" as SessionEnd
  }
  let lease: Lease = acquired
  if (lease.webhook.isToSplit) {
    const settled = yield* patiently("split the webhook", layouts.settle(lease))
    if (settled === "waiting") yield* Effect.timeoutOption(control.reload.await, othersPause)
    return "reload" as SessionEnd
  }
  if (!lease.webhook.active) {
    yield* control.reload.await
    return "reload" as SessionEnd
  }
  const { ordering, primaryKey, url } = lease.webhook
  const subscriber = (yield* Subscribers).get(url)
  if (isInProcess(url)) {
    const isMissing = subscriber === undefined
    yield* patiently("note whether its function is here", cursors.noteSubscriber(lease, isMissing))
    if (isMissing) {
      yield* awaitSubscriber(url, control.reload)
      return "reload" as SessionEnd
    }
  }
  const waiting = yield* patiently("put in order what is due", queue.arrange(lease.webhook))

  const feed = yield* Latch.make(true)
  const done = yield* Latch.make(false)
  const idle = yield* Latch.make(false)
  const crashed = yield* Latch.make(false)
  const ended: Array<Ended> = []
  const parked: Array<Task> = []
  const pages: Array<Page> = []
  const dueInFlight = new Set<number>()
  let batch: { readonly ended: ReadonlyArray<Ended>; readonly parked: ReadonlyArray<Task> } = noBatch
  let state = lease.webhook.state
  let position = lease.position
  let written = lease.position
  let stored = lease.position
  let writtenAt = 0
  let lastBatch = 0
  let commits = 0
  let gaps = lease.position.gaps.length
  let more = true
  let nextDueAt: number | null = 0
  let jobPage: JobPageInLanes | undefined
  let mayHaveJobs = true
  let severalOn: Page | undefined
  let severalAt = Date.now()
  let hasProbe = lease.webhook.layout === null
  let isOver = false
  let fenced = false
  let gone = false
  let stopped = false

  /** Nothing more goes to an endpoint that is gone: the webhook is about to be disabled. */
  const probeAt = () => {
    const at = nextProbeAt(state)
    return isOver || at !== null && !hasProbe ? Infinity : at
  }

  const finish = (finished: Finished): AttemptRecord => {
    const settlement = settle(finished, lease.webhook.maxAttempts, state, Date.now())
    state = settlement.state
    const { page, trace } = finished.task
    ended.push({ record: settlement.record, page, trace, span: finished.span })
    return settlement.record
  }

  const lanes = new Lanes({
    permits,
    concurrency: lease.webhook.concurrency,
    rateLimit: lease.webhook.rateLimit,
    order: ordering === "none" ? undefined : new RowOrder<Task>(waiting),
    send: sender.to(lease.webhook),
    onFinished: (finished) => {
      const record = finish(finished)
      isOver ||= isGone(record)
      lanes.setCircuit(probeAt())
      done.openUnsafe()
      if (record.wasDue || finished.probe) feed.openUnsafe()
      return record.nextAttemptAt !== null
    },
    onParked: (task) => {
      parked.push(task)
      done.openUnsafe()
    },
    onDropped: (task) => {
      dueInFlight.delete(task.seq)
      task.trace?.passed()
    },
    onLow: () => {
      if (more || mayHaveJobs) feed.openUnsafe()
    }
  })
  lanes.setCircuit(probeAt())

  const keysOf = ({ body, eventType }: StoredEvent): ReadonlyArray<number> => {
    if (ordering === "none") return noKeys
    if (ordering === "strict") return [everyRow]
    const keys = rowKeys(eventType, body, primaryKey)
    // A column of the key may have another name by now.
    if (keys[0] === everyRow && eventType !== "TRUNCATE") control.reload.openUnsafe()
    return keys
  }

  const toTask = (event: StoredEvent, more: Pick<Task, "attempt" | "page" | "due" | "replayOf" | "trace">): Task => ({
    event,
    seq: event.ref.seq,
    keys: keysOf(event),
    waits: 0,
    attempt: more.attempt,
    page: more.page,
    due: more.due,
    replayOf: more.replayOf,
    trace: more.trace,
    counted: 0
  })

  /** What the log says once all that has ended is in it. */
  const foresee = (logged: DeliveryState) => {
    if (logged.failCount === 0 && state.failCount === 0) return
    const coming = [...batch.ended, ...ended].map(({ record }) => toFolded(record))
    state = coming.length === 0 ? logged : apply(logged, fold(coming))
    if (lease.webhook.layout !== null && nextProbeAt(state) === null) hasProbe = false
    if (lanes.isOpen === (probeAt() !== null)) return
    lanes.setCircuit(probeAt())
    lanes.resume()
    feed.openUnsafe()
  }

  const wantsDue = () => lanes.waitingAgain < (lanes.isOpen ? 1 : dueEvents / 2)
  const wantsPage = () => more && lanes.waiting < (lanes.isOpen ? 1 : lowWater) && lanes.waitingBytes < lowWaterBytes
  const wantsJob = () => mayHaveJobs && jobPage === undefined && !more && !lanes.isOpen && lanes.waiting === 0

  const readDue = Effect.gen(function*() {
    const room = lanes.isOpen ? 1 : dueEvents - lanes.waitingAgain
    // What becomes due while this is read may not be in it.
    nextDueAt = null
    const from = Date.now()
    const { events, nextAt } = yield* cursors.due(lease, room, [...dueInFlight])
    // What cannot be found any more must not make the loop spin.
    if (nextAt !== null) expect(Math.max(nextAt, Date.now() + (events.length === room ? 5 : 250)))
    for (const event of events) dueInFlight.add(event.ref.seq)
    const trace = traces.begin("due", from, events.length)
    lanes.addAgain(
      events.map((event) =>
        toTask(event, { attempt: event.attempt, replayOf: event.replayOf, page: undefined, due: true, trace })
      )
    )
  })

  const readPage = Effect.gen(function*() {
    more = false
    const from = Date.now()
    const read = yield* cursors.page(lease, position)
    if (read === "crashed") {
      yield* Effect.logWarning("the database has crashed: starting again from what it has stored")
      crashed.openUnsafe()
      return yield* Effect.never
    }
    if (read === "changed") {
      more = true
      control.reload.openUnsafe()
      return yield* Effect.sleep(settingsPause)
    }
    if (read === "several") {
      yield* layouts.askAlone(id)
      more = true
      control.reload.openUnsafe()
      return yield* Effect.sleep(settingsPause)
    }
    more = read.more
    position = read.next
    const last = pages.at(-1)
    if (read.events.length === 0) {
      if (last === undefined) written = read.next
      else last.next = read.next
      return
    }
    const page: Page = { remaining: read.events.length, next: read.next }
    pages.push(page)
    const trace = traces.begin("new", from, read.events.length)
    const tasks = read.events.map((event) => toTask(event, { attempt: 1, replayOf: null, page, due: false, trace }))
    if (lease.webhook.alone && tasks.some(({ keys }) => keys.length > 1 || keys[0] === everyRow)) {
      severalOn = page
      severalAt = Date.now()
    }
    lanes.addFresh(tasks)
  })

  const readJob = Effect.gen(function*() {
    const from = Date.now()
    const read = yield* jobs.next(id, dueEvents, lease.webhook)
    if (read === undefined) {
      mayHaveJobs = false
      return
    }
    if (read.events.length === 0) return yield* jobs.advance(read.jobId, read.lastSeq, 0, read.last, lease.webhook)
    const page: JobPageInLanes = { ...read, remaining: read.events.length, told: 0, toldAt: Date.now() }
    jobPage = page
    const trace = traces.begin("job", from, read.events.length)
    lanes.addBulk(
      read.events.map((event) => toTask(event, { attempt: 1, replayOf: event.replayOf, page, due: false, trace }))
    )
  })

  const advance = () => {
    while (pages[0]?.remaining === 0) written = pages.shift()!.next
  }

  const feeder = Effect.gen(function*() {
    while (!stopped) {
      if (nextDueAt !== null && nextDueAt <= Date.now() && wantsDue()) {
        yield* patiently("read what is due", readDue)
      }
      if (control.wake.isOpen()) {
        control.wake.closeUnsafe()
        more = true
      }
      if (wantsPage()) {
        yield* patiently("read new events", readPage).pipe(Effect.onError(() => Effect.sync(() => (more = true))))
        if (pages.length === 0 && Date.now() - writtenAt > 30_000) done.openUnsafe()
        continue
      }
      if (wantsJob()) {
        yield* patiently("read a job's events", readJob)
        continue
      }
      feed.closeUnsafe()
      const wait = nextDueAt === null || !wantsDue()
        ? 3_600_000
        : Math.max(1, Math.min(nextDueAt - Date.now(), 3_600_000))
      yield* Effect.raceFirst(feed.await, Effect.raceFirst(control.wake.await, Effect.sleep(wait)))
    }
    return yield* Effect.never
  })

  const write = Effect.fnUntraced(function*() {
    // What is parked is not written before all that ended before it.
    const all = ended.length <= commitAttempts
    batch = { ended: ended.splice(0, commitAttempts), parked: all ? parked.splice(0) : [] }
    const records = batch.ended.map(({ record }) => record)
    for (const { page } of [...batch.ended, ...batch.parked]) if (page !== undefined) page.remaining--
    advance()
    const to = written
    const passed = (gaps - to.gaps.length) / 2
    const number = commits++
    const from = Date.now()
    const slow = setTimeout(() => lanes.hold(), slowCommitMs)
    const logged = yield* patiently(
      "write the log",
      cursors.commit(lease, number, { records, parked: batch.parked.map(toParked) }, to, passed).pipe(
        Effect.flatMap(
          Effect.fnUntraced(function*(state) {
            if (state !== undefined || !(yield* cursors.wasMade(lease, number))) return state
            return (yield* cursors.settings(id, part))?.state
          })
        ),
        Effect.tapError(() => Effect.sync(() => lanes.hold()))
      )
    )
    clearTimeout(slow)
    const { ended: wereEnded, parked: wereParked } = batch
    batch = noBatch
    if (logged === undefined) {
      gone = (yield* patiently("read the webhook's settings", cursors.settings(id, part))) === undefined
      fenced = true
      return
    }
    foresee(logged)
    lanes.release()
    writtenAt = Date.now()
    stored = to
    gaps = to.gaps.length
    for (const record of records) if (record.wasDue) dueInFlight.delete(record.ref.seq)
    for (const task of wereParked) if (task.due) dueInFlight.delete(task.seq)
    expect(records.reduce<number | null>(
      (next, { nextAttemptAt }) =>
        nextAttemptAt !== null && (next === null || nextAttemptAt < next) ? nextAttemptAt : next,
      null
    ))
    const firsts = wereEnded.filter(({ page }) => page !== undefined && page !== jobPage)
    DeliveryMetrics.observe(records, firsts.map(({ record }) => record), context)
    if (traces.isOn) traceCommit(wereEnded, wereParked, from)
    yield* after(records)
    if (wantsJob()) feed.openUnsafe()
  })

  const traceCommit = (ended: ReadonlyArray<Ended>, parked: ReadonlyArray<Task>, from: number) => {
    const now = Date.now()
    for (const trace of new Set([...ended, ...parked].map(({ trace }) => trace))) trace?.step("commit", from, now)
    for (const { record, span, trace } of ended) trace?.ended(record, span)
    for (const { trace } of parked) trace?.passed()
  }

  /** Something is due then. */
  const expect = (at: number | null) => {
    if (at === null || nextDueAt !== null && nextDueAt <= at) return
    nextDueAt = at
    feed.openUnsafe()
  }

  const tellProgress = Effect.fnUntraced(function*(page: JobPageInLanes) {
    const { events, jobId, last, lastSeq, remaining } = page
    const isOver = remaining === 0
    const count = events.length - remaining - page.told
    if (!isOver && (count === 0 || Date.now() - page.toldAt < progressMs)) return
    page.told += count
    page.toldAt = Date.now()
    yield* patiently(
      "write a job's progress",
      jobs.advance(jobId, isOver ? lastSeq : 0, count, isOver && last, lease.webhook)
    )
    if (!isOver || jobPage !== page) return
    jobPage = undefined
    feed.openUnsafe()
  })

  /** What of a cancelled job waits in memory is not sent. */
  const dropCancelled = Effect.fnUntraced(function*(page: JobPageInLanes) {
    if (!(yield* patiently("read a job's state", jobs.isCancelled(page.jobId))) || jobPage !== page) return
    const dropped = lanes.dropBulk()
    page.remaining -= dropped
    page.told += dropped
    yield* tellProgress(page)
  })

  /** What follows from attempts that are in the log. */
  const after = Effect.fnUntraced(function*(records: ReadonlyArray<AttemptRecord>) {
    const over = ordering === "none" ? [] : records.filter(leavesDue)
    if (over.length > 0) {
      const keys = new Set(over.flatMap((record) => record.keys))
      keys.delete(everyRow)
      if (keys.size > 0) yield* patiently("let the next events of a row go on", queue.release(id, [...keys]))
      expect(Date.now())
    }
    if (jobPage !== undefined) yield* tellProgress(jobPage)
    if (lease.webhook.layout !== null && hasProbe && records.some(({ probe }) => probe)) {
      hasProbe = false
      lanes.setCircuit(probeAt())
      yield* patiently("let another part probe", layouts.leaveProbe(lease))
    }
    if (records.some(isGone)) yield* patiently("disable the webhook", disabling.disable(id, "gone"))
    else if (isFailingForTooLong(state, lease.webhook.enabledAt, Date.now(), disabling.afterMs)) {
      yield* patiently("disable the webhook", disabling.disable(id, "failing"))
    }
  })

  const committer = Effect.gen(function*() {
    while (!fenced) {
      yield* done.await
      if (ended.length < fullBatch) yield* Effect.sleep(lastBatch < manyAttempts ? gatherMs : manyGatherMs)
      lastBatch = ended.length
      done.closeUnsafe()
      // A batch that was taken is written, whatever happens to this fiber meanwhile.
      yield* Effect.uninterruptible(Effect.suspend(write))
      if (ended.length > 0 || parked.length > 0) done.openUnsafe()
    }
    return (gone ? "gone" : "fenced") as SessionEnd
  })

  // Where another session begins at once, it need not read again what this one has dealt with.
  const commitAll = Effect.gen(function*() {
    while ((ended.length > 0 || stopped && written !== stored) && !fenced) yield* write()
  })

  const drain = Effect.gen(function*() {
    lanes.close(() => idle.openUnsafe())
    if (fenced || gone) return void lanes.abort()
    yield* Effect.timeoutOption(idle.await, drainTime)
    for (const finished of lanes.abort()) finish(finished)
    yield* commitAll
  })

  /** Starts nothing more, lets what is in flight end, and asks for a new session. */
  const endQuietly = Effect.gen(function*() {
    stopped = true
    lanes.close(() => idle.openUnsafe())
    yield* idle.await
    return "reload" as SessionEnd
  })

  /** Whether the webhook, as it is set now, needs another start than this session had. */
  const isOther = (next: ActorWebhook) =>
    !next.active || next.isToSplit || next.alone !== lease.webhook.alone || next.gaps !== gaps ||
    next.url !== url && (isInProcess(url) || isInProcess(next.url)) ||
    next.tableId !== lease.webhook.tableId || next.ordering !== ordering ||
    next.skips !== lease.webhook.skips || next.primaryKey.join("\0") !== primaryKey.join("\0")

  /** Takes over new settings; what is in flight ends as it began. Only some need a new start. */
  const reloader = Effect.gen(function*() {
    while (true) {
      yield* control.reload.await
      control.reload.closeUnsafe()
      const next = yield* patiently("read the webhook's settings", cursors.settings(id, part))
      if (next === undefined) {
        gone = true
        return "gone" as SessionEnd
      }
      if (isOther(next)) break
      lease = { ...lease, webhook: next }
      lanes.change({ concurrency: next.concurrency, rateLimit: next.rateLimit, send: sender.to(next) })
      foresee(next.state)
      if (jobPage !== undefined) yield* dropCancelled(jobPage)
      mayHaveJobs = true
      nextDueAt = 0
      feed.openUnsafe()
    }
    return yield* endQuietly
  })

  /**
   * What a part learns from no commit of its own: that the circuit was opened or closed by another one, and that it is
   * its turn to probe.
   */
  const follow = Effect.gen(function*() {
    while (true) {
      yield* Effect.sleep(followEvery)
      if (!lanes.isOpen && lanes.inFlight + lanes.waiting + lanes.waitingAgain === 0) continue
      const now = yield* patiently("read the webhook's settings", cursors.settings(id, part))
      if (now === undefined) continue
      foresee(now.state)
      const at = nextProbeAt(state)
      if (at === null || hasProbe || at > Date.now() || lanes.inFlight + lanes.waiting + lanes.waitingAgain === 0) {
        continue
      }
      hasProbe = yield* patiently("ask to probe", layouts.takeProbe(lease))
      lanes.setCircuit(probeAt())
      lanes.resume()
    }
  })

  /** Splits the webhook again some time after the last event that was about rows of several parts. */
  const rejoin = Effect.gen(function*() {
    while (true) {
      yield* Effect.sleep(togetherMs)
      if (Date.now() - severalAt < togetherMs || severalOn !== undefined && pages.includes(severalOn)) continue
      if (yield* patiently("split the webhook again", layouts.endAlone(lease))) control.reload.openUnsafe()
    }
  })

  return yield* Effect.raceAllFirst([
    ...lease.webhook.layout === null ? [] : [follow],
    ...lease.webhook.alone ? [rejoin] : [],
    // Whoever ends the session does not wait for a database that is away.
    Effect.onInterrupt(feeder, () => Effect.sync(() => (closing = true))),
    committer,
    reloader,
    Effect.andThen(crashed.await, endQuietly),
    subscriber === undefined ? Effect.never : Effect.andThen(subscriber.leaving.await, endQuietly)
  ]).pipe(
    Effect.ensuring(Effect.timeoutOption(drain, "15 seconds")),
    Effect.ensuring(Effect.sync(traces.close))
  )
})
