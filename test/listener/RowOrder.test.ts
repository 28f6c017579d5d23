import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { everyRow } from "../../src/domain/RowKey.ts"
import { type Ordered, RowOrder } from "../../src/listener/RowOrder.ts"

interface Event extends Ordered {
  readonly seq: number
}

interface DueRow {
  readonly keys: ReadonlyArray<number>
  parked: boolean
}

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** An event on one row, on two (its key was changed), or on every row (0). */
const Keys = Schema.Tuple([between(0, 6), between(0, 6)])
const History = Schema.Array(Keys).check(Schema.isMaxLength(60))
const Choices = Schema.Array(between(0, 1000)).check(Schema.isMinLength(1))

const keysOf = ([a, b]: typeof Keys.Type, even: boolean): ReadonlyArray<number> =>
  a === 0 && even ? [everyRow] : a === b || b < 4 ? [a + 1] : [a + 1, b + 1]

const conflict = (a: ReadonlyArray<number>, b: ReadonlyArray<number>) =>
  a[0] === everyRow || b[0] === everyRow || a.some((key) => b.includes(key))

/** Plays an actor whose attempts end in any order and fail at random, with `truss.due` as a map. */
const play = (history: typeof History.Type, choices: typeof Choices.Type) => {
  let turn = 0
  const random = (n: number) => (choices[turn++ % choices.length]! + turn * 7) % n
  const events = history.map((pair, seq) => ({ seq, keys: keysOf(pair, seq % 7 === 0) }))
  const due = new Map<number, DueRow>()
  const order = new RowOrder<Event>([])
  const fresh: Array<Event> = events.map(({ keys, seq }) => ({ seq, keys, due: false, waits: 0 }))
  const running: Array<Event> = []
  const inMemory = new Set<number>()
  const over = new Set<number>()
  const failures = new Map<number, number>()

  const start = (event: Event) => {
    for (const other of events) {
      if (other.seq >= event.seq) break
      assert.isTrue(
        over.has(other.seq) || !conflict(other.keys, event.keys),
        `${event.seq} was started although ${other.seq} is not over`
      )
    }
    running.push(event)
  }

  const isFirst = (seq: number, keys: ReadonlyArray<number>) =>
    [...due].every(([other, row]) => other >= seq || !conflict(row.keys, keys))

  /** After a crash what is stored is all that is known: nothing is parked before all earlier ones are stored. */
  const park = (seq: number, keys: ReadonlyArray<number>) => {
    for (const other of events) {
      if (other.seq >= seq) break
      assert.isTrue(
        over.has(other.seq) || due.has(other.seq) || !conflict(other.keys, keys),
        `${seq} was parked although ${other.seq} is neither over nor stored`
      )
    }
    due.set(seq, { keys, parked: true })
  }

  const end = (event: Event) => {
    const failed = (failures.get(event.seq) ?? 0) < 3 && random(3) === 0
    const { parked, ready } = failed ? order.again(event) : order.over(event)
    inMemory.delete(event.seq)
    if (failed) {
      failures.set(event.seq, (failures.get(event.seq) ?? 0) + 1)
      due.set(event.seq, { keys: event.keys, parked: false })
    } else {
      over.add(event.seq)
      due.delete(event.seq)
    }
    for (const behind of parked) {
      inMemory.delete(behind.seq)
      park(behind.seq, behind.keys)
    }
    for (const [seq, row] of due) if (row.parked && isFirst(seq, row.keys)) row.parked = false
    for (const next of ready) start(next)
  }

  for (let idle = 0; over.size < events.length; idle++) {
    assert.isBelow(idle, 20_000, "it must come to an end")
    const before = over.size
    while (fresh.length > 0) {
      const admission = order.admit(fresh[0]!)
      if (admission === "hold") break
      const event = fresh.shift()!
      if (admission === "start") start(event)
      if (admission === "park") park(event.seq, event.keys)
      if (admission !== "park") inMemory.add(event.seq)
    }
    for (const [seq, row] of [...due].toSorted(([a], [b]) => a - b)) {
      if (row.parked || inMemory.has(seq) || !isFirst(seq, row.keys)) continue
      const event = { seq, keys: row.keys, due: true, waits: 0 }
      const admission = order.admit(event)
      if (admission === "start") start(event)
      if (admission === "start" || admission === "chained") inMemory.add(seq)
    }
    if (running.length > 0) end(running.splice(random(running.length), 1)[0]!)
    if (over.size > before) idle = 0
  }
  assert.strictEqual(order.chained, 0)
}

describe("RowOrder", () => {
  it.prop(
    "starts no event before all earlier ones of its rows are over, and ends",
    [History, Choices],
    ([history, choices]) => {
      play(history, choices)
    }
  )

  it("lets other rows go on past one that fails", () => {
    const order = new RowOrder<Event>([])
    const event = (seq: number, ...keys: ReadonlyArray<number>): Event => ({ seq, keys, due: false, waits: 0 })
    const [first, second, other] = [event(1, 1), event(2, 1), event(3, 2)]
    assert.strictEqual(order.admit(first), "start")
    assert.strictEqual(order.admit(second), "chained")
    assert.strictEqual(order.admit(other), "start")
    assert.deepStrictEqual(order.again(first).parked, [second])
    assert.strictEqual(order.admit(event(4, 1)), "park")
    assert.strictEqual(order.admit(event(5, 3)), "start")
  })
})
