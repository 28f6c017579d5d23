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
 * `start` it; it is `chained` behind another one; it is to be parked; everything from here on has to `hold`; or `drop`
 * it, since it is read again when its turn comes.
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
      if (this.isBehindStuck(task)) return "drop"
      for (const key of task.keys) this.stuck.delete(key)
    } else {
      if (this.blocked.has(everyRow)) return "hold"
      // What is parked must not be stored before all earlier events of its rows are: after a crash only those would be
      // read again, and go second.
      if (!task.keys.some((key) => this.chains.has(key)) && this.isBlocked(task)) {
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
    if (task.due) this.unblock(task.keys)
    return this.end(task)
  }

  /** It will be tried again: those that waited for it alone are to be parked. */
  again(task: Task): Freed<Task> {
    if (!task.due) this.block(task.keys)
    if (!this.alone) { for (const key of task.keys) this.stuck.set(key, task.seq) }
    return this.end(task)
  }

  /** Forgets what is chained and has not started. */
  drop(): void {
    for (const [key, chain] of this.chains) this.chains.set(key, chain.filter((task) => task.waits === 0))
    this.admitted = this.running
  }

  private end(task: Task): Freed<Task> {
    this.running--
    if (this.alone) {
      this.alone = false
      this.admitted--
      return nothing
    }
    const freed = { ready: [], parked: [] }
    this.leave(task, freed)
    return freed
  }

  /** Takes the first of its chains out of them. */
  private leave(task: Task, freed: { readonly ready: Array<Task>; readonly parked: Array<Task> }): void {
    this.admitted--
    for (const key of task.keys) {
      const chain = this.chains.get(key)!
      chain.shift()
      const next = chain[0]
      if (next === undefined) this.chains.delete(key)
      else if (--next.waits === 0) this.turn(next, freed)
    }
  }

  /** Nothing in memory is before it any more. */
  private turn(task: Task, freed: { readonly ready: Array<Task>; readonly parked: Array<Task> }): void {
    const isFirst = task.due ? !this.isBehindStuck(task) : !this.isBlocked(task)
    if (isFirst) {
      this.running++
      freed.ready.push(task)
      return
    }
    if (!task.due) this.block(task.keys)
    freed.parked.push(task)
    this.leave(task, freed)
  }

  private isBlocked({ keys }: Task): boolean {
    return keys.some((key) => this.blocked.has(key))
  }

  private isBehindStuck({ keys, seq }: Task): boolean {
    return keys.some((key) => (this.stuck.get(key) ?? Infinity) < seq)
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
