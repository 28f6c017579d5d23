/**
 * Which events must wait for which, for one webhook with an order. Events of the same row form a chain; an event that
 * is to be tried again holds up its row alone: what comes after it is parked in the database, so that other rows go on.
 */
import { everyRow } from "../domain/RowKey.ts"

/** An event as far as its order goes; `seq` is its position among all events. */
export interface Ordered {
  readonly seq: number
  readonly keys: ReadonlyArray<number>
  /** Whether it has a row in `truss.due`. */
  readonly due: boolean
  /** How many of its rows have others before it. */
  waits: number
}

/**
 * `start` it; it is `chained` behind another one; it is to be `parked`; everything from here on has to `hold`; or
 * `drop` it, since it is read again when its turn comes.
 */
export type Admission = "start" | "chained" | "park" | "hold" | "drop"

/** So many parked events, and no more are read until some are done. */
const mostParked = 50_000

/** What the end of an attempt does to others. */
export interface Freed<Task> {
  readonly ready: ReadonlyArray<Task>
  readonly parked: ReadonlyArray<Task>
}

const nothing: Freed<never> = { ready: [], parked: [] }

export class RowOrder<Task extends Ordered> {
  /** In memory, by key: the first may run, the others wait for it. */
  private readonly chains = new Map<number, Array<Task>>()
  /** Rows of `truss.due` by key. */
  private readonly blocked = new Map<number, number>()
  /** Keys whose first event waits for its next attempt, and that event. */
  private readonly stuck = new Map<number, number>()
  private dueRows = 0
  private admitted = 0
  private running = 0
  private alone = false

  /** `due` are the keys of each row of `truss.due`. */
  constructor(due: Iterable<ReadonlyArray<number>>) {
    for (const keys of due) this.block(keys)
  }

  /** Events that wait behind others in memory. */
  get chained(): number {
    return this.admitted - this.running
  }

  admit(task: Task): Admission {
    if (this.alone) return "hold"
    if (task.keys[0] === everyRow) {
      if (this.admitted > 0 || !task.due && this.dueRows > 0) return "hold"
      this.alone = true
      this.admitted++
      this.running++
      return "start"
    }
    if (task.due) {
      if (task.keys.some((key) => (this.stuck.get(key) ?? Infinity) < task.seq)) return "drop"
      for (const key of task.keys) this.stuck.delete(key)
    } else {
      if (this.blocked.has(everyRow)) return "hold"
      if (task.keys.some((key) => this.blocked.has(key))) {
        if (this.dueRows >= mostParked) return "hold"
        this.block(task.keys)
        return "park"
      }
    }
    this.admitted++
    for (const key of task.keys) {
      const chain = this.chains.get(key)
      if (chain === undefined) this.chains.set(key, [task])
      else {
        chain.push(task)
        task.waits++
      }
    }
    if (task.waits > 0) return "chained"
    this.running++
    return "start"
  }

  /** It will not be tried again: those that waited for it alone are ready. */
  over(task: Task): Freed<Task> {
    this.leave()
    if (task.due) this.unblock(task.keys)
    if (this.alone) {
      this.alone = false
      return nothing
    }
    const ready: Array<Task> = []
    for (const key of task.keys) {
      const chain = this.chains.get(key)!
      chain.shift()
      const next = chain[0]
      if (next === undefined) this.chains.delete(key)
      else if (--next.waits === 0) ready.push(next)
    }
    this.running += ready.length
    return { ready, parked: [] }
  }

  /** It will be tried again: those behind it are to be parked. */
  again(task: Task): Freed<Task> {
    this.leave()
    if (!task.due) this.block(task.keys)
    if (this.alone) {
      this.alone = false
      return nothing
    }
    const parked = new Set<Task>()
    for (const key of task.keys) {
      this.stuck.set(key, task.seq)
      this.chains.get(key)!.shift()
    }
    for (const key of task.keys) this.evict(key, 0, parked)
    return { ready: [], parked: [...parked] }
  }

  /** Forgets what is chained and has not started. */
  drop(): void {
    for (const [key, chain] of this.chains) this.chains.set(key, chain.filter((task) => task.waits === 0))
    this.admitted = this.running
  }

  private leave(): void {
    this.admitted--
    this.running--
  }

  /** Takes out of a chain all from `index` on, and from their other chains all that are behind them. */
  private evict(key: number, index: number, parked: Set<Task>): void {
    const chain = this.chains.get(key)
    if (chain === undefined) return
    const evicted = chain.splice(index)
    if (chain.length === 0) this.chains.delete(key)
    for (const task of evicted) {
      if (parked.has(task)) continue
      parked.add(task)
      this.admitted--
      task.waits = 0
      if (!task.due) this.block(task.keys)
      for (const other of task.keys) {
        const at = this.chains.get(other)?.indexOf(task) ?? -1
        if (at >= 0) this.evict(other, at, parked)
      }
    }
  }

  private block(keys: ReadonlyArray<number>): void {
    this.dueRows++
    for (const key of keys) this.blocked.set(key, (this.blocked.get(key) ?? 0) + 1)
  }

  private unblock(keys: ReadonlyArray<number>): void {
    this.dueRows--
    for (const key of keys) {
      const left = (this.blocked.get(key) ?? 1) - 1
      if (left > 0) this.blocked.set(key, left)
      else this.blocked.delete(key)
    }
  }
}
