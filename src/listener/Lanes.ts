/**
 * The lanes of one webhook: at most `concurrency` attempts in flight, as many as the process permits. Callbacks and
 * arrays, since each event passes here; the actor's fibers only see batches.
 */
import type { Answer } from "../domain/Attempt.ts"
import { nonceLimit } from "../domain/AttemptRef.ts"
import type { StoredEvent } from "../services/EventPageQuery.ts"
import type { Send } from "../services/Sender.ts"
import type { Claimant, FairPermits } from "./Permits.ts"

/** A page of new events whose outcomes are still to come. */
export interface OpenPage {
  remaining: number
}

export interface Task {
  readonly event: StoredEvent
  readonly attempt: number
  /** The page that the event is on; none for an event that is due again. */
  readonly page: OpenPage | undefined
}

/** An attempt that has ended. */
export interface Finished {
  readonly task: Task
  readonly nonce: number
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly answer: Answer
}

export interface LanesOptions {
  readonly permits: FairPermits
  readonly send: Send
  readonly concurrency: number
  /** An attempt has ended. */
  readonly onFinished: (finished: Finished) => void
  /** Fewer than `lowWater` new events wait: time to read more. */
  readonly onLow: () => void
}

interface Running {
  readonly nonce: number
  readonly createdAt: number
  readonly permit: boolean
  readonly cancel: () => void
}

/** New events that wait before the next page is read. */
export const lowWater = 500

export class Lanes implements Claimant {
  private readonly fresh: Array<Task> = []
  private readonly again: Array<Task> = []
  private readonly running = new Map<Task, Running>()
  private options: LanesOptions
  private next = 0
  private turn = false
  private closed = false
  private onIdle: (() => void) | undefined

  constructor(options: LanesOptions) {
    this.options = options
  }

  get inFlight(): number {
    return this.running.size
  }

  /** New events that wait. */
  get waiting(): number {
    return this.fresh.length - this.next
  }

  /** Events due again that wait. */
  get waitingAgain(): number {
    return this.again.length
  }

  addFresh(tasks: ReadonlyArray<Task>): void {
    if (this.next > 0) {
      this.fresh.splice(0, this.next)
      this.next = 0
    }
    for (const task of tasks) this.fresh.push(task)
    this.pump()
  }

  addAgain(tasks: ReadonlyArray<Task>): void {
    for (const task of tasks) this.again.push(task)
    this.pump()
  }

  /** Takes over a permit that another one gave back. */
  granted(): void {
    const task = this.inFlight < this.options.concurrency ? this.take() : undefined
    if (task === undefined) return this.options.permits.release()
    this.start(task, true)
    this.pump()
  }

  /** Starts nothing any more, forgets what waits; calls `idle` when what is in flight has ended. */
  close(idle: () => void): void {
    this.closed = true
    this.drop()
    this.options.permits.leave(this)
    if (this.inFlight === 0) idle()
    else this.onIdle = idle
  }

  /** Attempts that start from now on are sent so; those in flight end as they began. */
  change(options: Pick<LanesOptions, "send" | "concurrency">): void {
    this.options = { ...this.options, ...options }
    this.pump()
  }

  /** Forgets what waits. */
  drop(): void {
    this.fresh.length = this.next = this.again.length = 0
  }

  /** Breaks off what is in flight; each comes back as `aborted`. */
  abort(): ReadonlyArray<Finished> {
    const now = Date.now()
    const aborted = [...this.running].map(([task, { cancel, createdAt, nonce, permit }]) => {
      cancel()
      if (permit) this.options.permits.release()
      const answer = {
        statusCode: null,
        responseBody: null,
        latencyMs: now - createdAt,
        error: "aborted" as const,
        retryAfter: null
      }
      return { task, nonce, createdAt, answer }
    })
    this.running.clear()
    return aborted
  }

  private pump(): void {
    while (!this.closed && this.inFlight < this.options.concurrency && (this.waiting > 0 || this.again.length > 0)) {
      const permit = this.options.permits.take(this)
      // Hanging endpoints may hold every permit: one attempt at a time goes out all the same.
      if (!permit && this.inFlight > 0) return
      this.start(this.take()!, permit)
    }
  }

  /** New events and those due again take turns, so that neither holds up the other. */
  private take(): Task | undefined {
    if (this.closed) return undefined
    this.turn = !this.turn
    if (this.again.length > 0 && (this.turn || this.waiting === 0)) return this.again.shift()
    if (this.waiting === 0) return undefined
    const task = this.fresh[this.next++]
    if (this.waiting === lowWater - 1) this.options.onLow()
    return task
  }

  private start(task: Task, permit: boolean): void {
    const nonce = Math.floor(Math.random() * nonceLimit)
    const createdAt = Date.now()
    const cancel = this.options.send({ ...task.event, nonce }, (answer) => {
      this.running.delete(task)
      if (permit) this.options.permits.release()
      this.options.onFinished({ task, nonce, createdAt, answer })
      this.pump()
      if (this.inFlight === 0) this.onIdle?.()
    })
    this.running.set(task, { nonce, createdAt, permit, cancel })
  }
}
