import { Context, Layer } from "effect"

/** Somebody who waits for a permit. `granted` takes one over. */
export interface Claimant {
  readonly granted: () => void
}

/**
 * How many attempts may be in flight in the whole process. Whoever finds none waits in a line, once, and takes one
 * permit a turn: a webhook with a backlog gets no more turns than the others.
 */
export class FairPermits {
  private free: number
  private readonly line: Array<Claimant> = []

  constructor(permits: number) {
    this.free = permits
  }

  /** Takes a permit, or joins the line. */
  take(claimant: Claimant): boolean {
    if (this.free > 0) {
      this.free--
      return true
    }
    if (!this.line.includes(claimant)) this.line.push(claimant)
    return false
  }

  /** Gives a permit back, to the first in the line. */
  release(): void {
    const next = this.line.shift()
    if (next === undefined) this.free++
    else next.granted()
  }

  /** Leaves the line. */
  leave(claimant: Claimant): void {
    const index = this.line.indexOf(claimant)
    if (index >= 0) this.line.splice(index, 1)
  }
}

export class Permits extends Context.Service<Permits, FairPermits>()("truss/listener/Permits") {
  static readonly layer = (concurrency: number) => Layer.sync(Permits, () => new FairPermits(concurrency))
}
