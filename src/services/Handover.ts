import { Effect } from "effect"

interface Offer<A> {
  readonly value: A
  readonly accept: () => void
  readonly abandon: () => void
}

/** Hands values from effects to one loop: an effect ends when the loop asks for what comes after its value. */
export class Handover<A> {
  private readonly offers: Array<Offer<A>> = []
  private ended = false
  private wake = () => {}

  /** Ends when the loop has dealt with the value; interrupts itself when the loop is left instead. */
  offer(value: A): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const offer = { value, accept: () => resume(Effect.void), abandon: () => resume(Effect.interrupt) }
      this.offers.push(offer)
      this.wake()
      return Effect.sync(() => {
        const index = this.offers.indexOf(offer)
        if (index >= 0) this.offers.splice(index, 1)
      })
    })
  }

  /** Ends the loop when it asks for more. */
  end(): void {
    this.ended = true
    this.wake()
  }

  /** For one loop. */
  async *taken(): AsyncGenerator<A, void> {
    let taken: Offer<A> | undefined = undefined
    try {
      while (true) {
        taken = this.offers.shift()
        if (taken !== undefined) {
          yield taken.value
          taken.accept()
        } else if (this.ended) return
        else await new Promise<void>((resolve) => (this.wake = resolve))
      }
    } finally {
      taken?.abandon()
      for (const offer of this.offers) offer.abandon()
    }
  }
}
