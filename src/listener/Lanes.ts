/**
 * The lanes of one webhook: at most `concurrency` attempts in flight, as many as the process permits. Callbacks and
 * arrays, since each event passes here; the actor's fibers only see batches.
 */
import type { Tracer } from "effect"
import { type Answer, isSuccess } from "../domain/Attempt.ts"
import { nonceLimit } from "../domain/AttemptRef.ts"
import { traceparentOf } from "../services/DeliveryTrace.ts"
import type { StoredEvent } from "../services/EventPageQuery.ts"
import type { Send } from "../services/Sender.ts"
import type { BatchTrace } from "./BatchTraces.ts"
import type { Claimant, FairPermits } from "./Permits.ts"
import type { Ordered, RowOrder } from "./RowOrder.ts"

/** Events that were read together and whose outcomes are still to come. */
export interface OpenPage {
  remaining: number
}

export interface Task extends Ordered {
  readonly event: StoredEvent
  readonly attempt: number
  /** The page of new events, or of a job's, that it is on; none for an event that is due again. */
  readonly page: OpenPage | undefined
  /** The nonce of the attempt that a bulk replay repeats. */
  readonly replayOf: number | null
  readonly trace: BatchTrace | undefined
  /** How much of `waitingBytes` it is. */
  counted: number
}

/** An attempt that has ended. */
export interface Finished {
  readonly task: Task
  readonly nonce: number
  /** Milliseconds since 1970. */
  readonly createdAt: number
  /** It was sent to learn whether the endpoint is back. */
  readonly probe: boolean
  readonly answer: Answer
  /** Where every attempt has one. */
  readonly span: Tracer.Span | undefined
}

export interface LanesOptions {
  readonly permits: FairPermits
  readonly send: Send
  readonly concurrency: number
  /** Requests a second. */
  readonly rateLimit: number | null
  readonly order: RowOrder<Task> | undefined
  /** An attempt has ended; returns whether its event is to be tried again. */
  readonly onFinished: (finished: Finished) => boolean
  /** The event is to wait in the database for others of its row. */
  readonly onParked: (task: Task) => void
  /** The event was read too early. */
  readonly onDropped: (task: Task) => void
  /** Less than `lowWater` and `lowWaterBytes` waits of what is new: time to read more. */
  readonly onLow: () => void
}

interface Running {
  readonly task: Task
  readonly nonce: number
  readonly createdAt: number
  readonly probe: boolean
  readonly permit: boolean
  readonly span: Tracer.Span | undefined
  cancel: () => void
  /** Its place in `running`. */
  index: number
}

const notYet = () => {}

/** New events that wait before the next page is read, and about the bytes of their bodies. */
export const lowWater = 500
export const lowWaterBytes = 2 * 1048576

export class Lanes implements Claimant {
  private readonly fresh: Array<Task> = []
  private readonly again: Array<Task> = []
  private readonly bulk: Array<Task> = []
  private readonly ready: Array<Task> = []
  private readonly running: Array<Running> = []
  private options: LanesOptions
  private next = 0
  private turn = false
  private closed = false
  private onIdle: (() => void) | undefined
  /** While the circuit is open: when the next probe may go out. */
  private probeAt: number | null = null
  private probing = false
  private tokens: number
  private refilledAt = performance.now()
  private timer: NodeJS.Timeout | undefined
  private held = false
  private lastSucceeded = false
  /** About the bytes of the bodies of the new events that wait. */
  waitingBytes = 0

  constructor(options: LanesOptions) {
    this.options = options
    this.tokens = options.rateLimit ?? 0
  }

  get inFlight(): number {
    return this.running.length
  }

  /** New events that wait, and what waits for others of its row. */
  get waiting(): number {
    return this.fresh.length - this.next + (this.options.order?.chained ?? 0)
  }

  /** Events due again that wait. */
  get waitingAgain(): number {
    return this.again.length
  }

  get isOpen(): boolean {
    return this.probeAt !== null
  }

  addFresh(tasks: ReadonlyArray<Task>): void {
    if (this.next > 0) {
      this.fresh.splice(0, this.next)
      this.next = 0
    }
    for (const task of tasks) {
      task.counted = task.event.body.length
      this.waitingBytes += task.counted
      this.fresh.push(task)
    }
    this.pump()
  }

  addAgain(tasks: ReadonlyArray<Task>): void {
    for (const task of tasks) this.again.push(task)
    this.pump()
  }

  /** Events of a bulk replay or recovery: they go out when nothing else waits. */
  addBulk(tasks: ReadonlyArray<Task>): void {
    for (const task of tasks) this.bulk.push(task)
    this.pump()
  }

  /** Forgets those that were not started; returns how many. */
  dropBulk(): number {
    return this.bulk.splice(0).length
  }

  /** Opens the circuit until `probeAt`, when one attempt may go out; closes it with null. */
  setCircuit(probeAt: number | null): void {
    this.probeAt = probeAt
  }

  /** Starts nothing for a while: what ended cannot be written, and would be sent again if it never is. */
  hold(): void {
    this.held = true
  }

  /** Ends `hold`. */
  release(): void {
    if (!this.held) return
    this.held = false
    this.pump()
  }

  get isTrusted(): boolean {
    return this.lastSucceeded || this.inFlight === 0
  }

  /** Takes over a permit that another one gave back. */
  granted(): void {
    const { permits } = this.options
    if (this.inFlight >= this.options.concurrency || !permits.mayStart(this) || this.mustWait()) {
      return permits.release()
    }
    const task = this.take()
    if (task === undefined) return permits.release()
    this.start(task, true)
    this.pump()
  }

  /** Goes on after a time in which nothing might be started. */
  resume(): void {
    this.pump()
  }

  /** Starts nothing any more, forgets what waits; calls `idle` when what is in flight has ended. */
  close(idle: () => void): void {
    this.closed = true
    clearTimeout(this.timer)
    this.drop()
    this.options.permits.leave(this)
    if (this.inFlight === 0) idle()
    else this.onIdle = idle
  }

  /** Attempts that start from now on are sent so; those in flight end as they began. */
  change(options: Pick<LanesOptions, "send" | "concurrency" | "rateLimit">): void {
    if (options.rateLimit !== this.options.rateLimit) this.tokens = options.rateLimit ?? 0
    this.options = { ...this.options, ...options }
    this.pump()
  }

  /** Breaks off what is in flight; each comes back as `aborted`. */
  abort(): ReadonlyArray<Finished> {
    const now = Date.now()
    const aborted = this.running.splice(0).map(({ cancel, createdAt, nonce, permit, probe, span, task }) => {
      cancel()
      if (permit) this.options.permits.release()
      const answer = {
        statusCode: null,
        responseBody: null,
        latencyMs: now - createdAt,
        error: "aborted" as const,
        retryAfter: null
      }
      return { task, nonce, createdAt, probe, answer, span }
    })
    return aborted
  }

  private drop(): void {
    this.fresh.length =
      this.next =
      this.again.length =
      this.bulk.length =
      this.ready.length =
        0
    this.waitingBytes = 0
    this.options.order?.drop()
  }

  private get hasWork(): boolean {
    return this.next < this.fresh.length || this.again.length > 0 || this.ready.length > 0 || this.bulk.length > 0
  }

  private pump(): void {
    const { permits } = this.options
    while (!this.closed && this.inFlight < this.options.concurrency && this.hasWork) {
      if (!permits.mayStart(this) || this.mustWait()) return
      const permit = permits.take(this)
      // Hanging endpoints hold every permit: one attempt at a time goes out all the same.
      if (!permit && (this.inFlight > 0 || !permits.standStill)) return
      const task = this.take()
      if (task === undefined) {
        if (permit) permits.release()
        return
      }
      this.start(task, permit)
    }
  }

  /** Whether the circuit or the rate allows no attempt now; then it asks again by itself. */
  private mustWait(): boolean {
    if (this.held) return true
    if (this.probeAt !== null) {
      if (this.probing) return true
      const pause = this.probeAt - Date.now()
      if (pause > 0) return this.wait(pause)
    }
    const { rateLimit } = this.options
    if (rateLimit === null) return false
    const now = performance.now()
    this.tokens = Math.min(rateLimit, this.tokens + (now - this.refilledAt) / 1000 * rateLimit)
    this.refilledAt = now
    return this.tokens < 1 && this.wait((1 - this.tokens) / rateLimit * 1000)
  }

  private wait(ms: number): true {
    clearTimeout(this.timer)
    if (ms < Infinity) this.timer = setTimeout(() => this.pump(), Math.ceil(ms))
    return true
  }

  /** New events and those due again take turns, so that neither holds up the other; a job's come after both. */
  private take(): Task | undefined {
    if (this.closed) return undefined
    if (this.ready.length > 0) return this.ready.shift()
    this.turn = !this.turn
    return (this.turn ? this.takeAgain() ?? this.takeFresh() : this.takeFresh() ?? this.takeAgain()) ??
      this.takeFrom(this.bulk)
  }

  private takeAgain(): Task | undefined {
    return this.takeFrom(this.again)
  }

  private takeFrom(queue: Array<Task>): Task | undefined {
    while (queue.length > 0) {
      const admission = this.admit(queue[0]!)
      if (admission === "hold") return undefined
      const task = queue.shift()!
      if (admission === "start") return task
    }
    return undefined
  }

  private takeFresh(): Task | undefined {
    while (this.next < this.fresh.length) {
      const task = this.fresh[this.next]!
      const admission = this.admit(task)
      if (admission === "hold") return undefined
      this.next++
      if (this.waiting === lowWater - 1) this.options.onLow()
      if (admission === "start") return task
    }
    return undefined
  }

  private admit(task: Task): "start" | "chained" | "park" | "hold" | "drop" {
    const { order } = this.options
    if (order === undefined) return "start"
    const admission = order.admit(task)
    if (admission === "park") this.park(task)
    if (admission === "drop") this.options.onDropped(task)
    return admission
  }

  private park(task: Task): void {
    this.discount(task)
    this.options.onParked(task)
  }

  /** It waits no longer. */
  private discount(task: Task): void {
    const before = this.waitingBytes
    this.waitingBytes -= task.counted
    task.counted = 0
    if (before >= lowWaterBytes && this.waitingBytes < lowWaterBytes) this.options.onLow()
  }

  private start(task: Task, permit: boolean): void {
    this.discount(task)
    const nonce = Math.floor(Math.random() * nonceLimit)
    const createdAt = Date.now()
    const probe = this.probeAt !== null
    this.probing = probe
    this.tokens--
    const span = task.trace?.start()
    const { body, eventType, ref } = task.event
    const traceparent = span === undefined ? undefined : traceparentOf(span)
    const running: Running = {
      task,
      nonce,
      createdAt,
      probe,
      permit,
      span,
      cancel: notYet,
      index: this.running.length
    }
    this.running.push(running)
    running.cancel = this.options.send({ ref, eventType, body, nonce, traceparent }, (answer) => {
      this.end(running, answer)
    })
  }

  private end(running: Running, answer: Answer): void {
    const { createdAt, nonce, probe, span, task } = running
    const last = this.running.pop()!
    if (last !== running) {
      this.running[running.index] = last
      last.index = running.index
    }
    if (probe) this.probing = false
    this.lastSucceeded = isSuccess(answer)
    const again = this.options.onFinished({ task, nonce, createdAt, probe, answer, span })
    if (this.options.order !== undefined) this.free(this.options.order, task, again)
    if (running.permit) this.options.permits.release()
    this.pump()
    if (this.inFlight === 0) this.onIdle?.()
  }

  private free(order: RowOrder<Task>, task: Task, again: boolean): void {
    const { parked, ready } = again ? order.again(task) : order.over(task)
    for (const next of ready) this.ready.push(next)
    for (const behind of parked) this.park(behind)
    if (this.waiting < lowWater) this.options.onLow()
  }
}
