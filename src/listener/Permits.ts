import { Context, Effect, Layer, Metric } from "effect"
import type { Right } from "../services/Cursors.ts"
import { liveMetric } from "../services/LiveMetric.ts"

/** Somebody who waits for a permit. */
export interface Claimant {
  /** Its last attempt was a success, or it has none in flight: what is kept from others is open to it. */
  readonly isTrusted: boolean
  /** Takes over a permit that another one gave back. */
  readonly granted: () => void
  /** Attempts may start again: the deadline that stopped this one was extended, or the permits stand still. */
  readonly resume: () => void
}

/** A moment by both clocks, in milliseconds. */
export interface Moment {
  readonly wall: number
  readonly monotonic: number
}

/**
 * Now. Both clocks go on while the process is stopped; a wall clock may be set back, a monotonic one stands still while
 * some machines sleep. Whichever passed more counts.
 */
export const moment = (): Moment => ({ wall: Date.now(), monotonic: performance.now() })

/** For how long nobody gives a permit back until all of them count as held by endpoints that hang. */
const standStillMs = 1_000

/**
 * How many attempts may be in flight in the whole process, and until when any may start. Whoever finds no permit waits
 * in a line, once, and takes one permit a turn: a webhook with a backlog gets no more turns than the others.
 */
export class FairPermits {
  private free: number
  /** What those that are not trusted leave free, so that hanging endpoints hold up nobody. */
  private readonly kept: number
  private handing = false
  private given = 0
  private watch: ReturnType<typeof setTimeout> | undefined
  private stands = false
  private readonly line: Array<Claimant> = []
  /** By what right webhooks are taken over, given the shard of one; null where nobody else could. */
  right: ((shard: string) => Right) | null = null
  private readonly halted = new Set<Claimant>()
  private wallDeadline = Infinity
  private monotonicDeadline = Infinity

  private readonly permits: number

  constructor(permits: number) {
    this.permits = permits
    this.free = permits
    this.kept = Math.floor(permits / 4)
  }

  /** Permits that are taken. */
  get taken(): number {
    return this.permits - this.free
  }

  /** Webhooks that wait for a permit. */
  get waiting(): number {
    return this.line.length
  }

  /** Whether somebody waits and nobody has given a permit back for a while: who waits may do with none, for one attempt. */
  get standStill(): boolean {
    return this.stands
  }

  /** Whether an attempt may start now. If not, the claimant's `resume` is called when it may. */
  mayStart(claimant: Claimant): boolean {
    if (Date.now() < this.wallDeadline && performance.now() < this.monotonicDeadline) return true
    this.halted.add(claimant)
    return false
  }

  /** Waits until attempts may start. */
  readonly whenMayStart: Effect.Effect<void> = Effect.callback((resume) => {
    const claimant: Claimant = {
      isTrusted: false,
      granted: () => this.release(),
      resume: () => {
        if (this.mayStart(claimant)) resume(Effect.void)
      }
    }
    claimant.resume()
    return Effect.sync(() => this.leave(claimant))
  })

  /** From now on attempts may start until `forMs` after `since`; without a call there is no deadline. */
  extend(since: Moment, forMs: number): void {
    this.wallDeadline = since.wall + forMs
    this.monotonicDeadline = since.monotonic + forMs
    const waiting = [...this.halted]
    this.halted.clear()
    for (const claimant of waiting) claimant.resume()
  }

  /** From now on nothing starts, until the deadline is extended. */
  halt(): void {
    this.wallDeadline = -Infinity
  }

  /** Takes a permit, or joins the line. */
  take(claimant: Claimant): boolean {
    if (this.mayTake(claimant)) {
      this.free--
      return true
    }
    if (!this.line.includes(claimant)) this.line.push(claimant)
    this.watchLine()
    return false
  }

  /** Gives a permit back, to the first in the line that may have it. */
  release(): void {
    this.free++
    this.given++
    this.stands = false
    // Who is granted one may give it back at once: a loop, since a long line would be too deep for calls.
    if (this.handing) return
    this.handing = true
    try {
      while (this.line.length > 0) {
        const index = this.line.findIndex((claimant) => this.mayTake(claimant))
        if (index < 0) return
        const [next] = this.line.splice(index, 1)
        this.free--
        next!.granted()
      }
    } finally {
      this.handing = false
      if (this.line.length > 0) this.watchLine()
    }
  }

  private watchLine(): void {
    if (this.stands || this.watch !== undefined) return
    const { given } = this
    this.watch = setTimeout(() => {
      this.watch = undefined
      if (this.line.length === 0) return
      if (this.given !== given) return this.watchLine()
      this.stands = true
      const waiting = [...this.line]
      for (const claimant of waiting) claimant.resume()
    }, standStillMs)
    this.watch.unref()
  }

  private mayTake({ isTrusted }: Claimant): boolean {
    return this.free > (isTrusted ? 0 : this.kept)
  }

  /** Leaves the line. */
  leave(claimant: Claimant): void {
    this.halted.delete(claimant)
    const index = this.line.indexOf(claimant)
    if (index >= 0) this.line.splice(index, 1)
  }
}

const inFlight = Metric.gauge("truss_attempts_in_flight", {
  description: "Attempts in flight that hold one of this process's permits"
})

const most = Metric.gauge("truss_attempts_in_flight_limit", {
  description: "Permits for attempts in flight in this process: TRUSS_CONCURRENCY"
})

const waiting = Metric.gauge("truss_webhooks_awaiting_permit", {
  description: "Webhooks of this process that have something to send and wait for a permit"
})

export class Permits extends Context.Service<Permits, FairPermits>()("truss/listener/Permits") {
  static readonly layer = (concurrency: number) =>
    Layer.effect(
      Permits,
      Effect.gen(function*() {
        const permits = new FairPermits(concurrency)
        yield* liveMetric(inFlight, () => ({ value: permits.taken }))
        yield* liveMetric(most, () => ({ value: concurrency }))
        yield* liveMetric(waiting, () => ({ value: permits.waiting }))
        return permits
      })
    )
}
