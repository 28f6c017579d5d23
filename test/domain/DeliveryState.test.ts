import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as DeliveryState from "../../src/domain/DeliveryState.ts"

const Entry = Schema.Struct({
  test: Schema.Boolean,
  success: Schema.Boolean,
  /** Milliseconds after the entry before, and what it took. */
  after: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5_000 })),
  took: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5_000 }))
})
const Log = Schema.Array(Entry)
const Time = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3_000 }))

const toLog = (entries: ReadonlyArray<typeof Entry.Type>): ReadonlyArray<DeliveryState.Folded> => {
  let now = 1_000_000
  return entries.map(({ after, success, test, took }) => {
    now += after
    return { eventType: test ? "TEST" : "INSERT", success, createdAt: now, endedAt: now + took }
  })
}

/** One entry at a time, as the contract says it. */
const naive = (log: ReadonlyArray<DeliveryState.Folded>): DeliveryState.DeliveryState => {
  let state = DeliveryState.initial
  for (const { createdAt, endedAt, eventType, success } of log) {
    if (eventType === "TEST") continue
    if (success) {
      state = DeliveryState.initial
      continue
    }
    const failCount = state.failCount + 1
    state = {
      failCount,
      failingSince: state.failingSince ?? createdAt,
      lastFailedAt: Math.max(state.lastFailedAt ?? 0, endedAt),
      openedAt: failCount === 10 ? endedAt : state.openedAt
    }
  }
  return state
}

const failures = (times: ReadonlyArray<number>) =>
  DeliveryState.apply(
    DeliveryState.initial,
    DeliveryState.fold(times.map((at) => ({ eventType: "UPDATE", success: false, createdAt: at, endedAt: at })))
  )

describe("DeliveryState", () => {
  it.prop("of a log is what its entries make one by one, however it is cut into batches", [Log, Log, Log], (logs) => {
    const log = toLog(logs.flat())
    const cut = [
      log.slice(0, logs[0].length),
      log.slice(logs[0].length, logs[0].length + logs[1].length),
      log.slice(logs[0].length + logs[1].length)
    ]
    const state = cut.reduce(
      (before, entries) => DeliveryState.apply(before, DeliveryState.fold(entries)),
      DeliveryState.initial
    )
    assert.deepStrictEqual(state, naive(log))
  })

  it.prop("does not change by tests", [Log, Log], ([log, tests]) => {
    const before = DeliveryState.apply(DeliveryState.initial, DeliveryState.fold(toLog(log)))
    const entries = toLog(tests).map((entry) => ({ ...entry, eventType: "TEST" as const }))
    assert.deepStrictEqual(DeliveryState.apply(before, DeliveryState.fold(entries)), before)
  })

  it("opens the circuit with the tenth failure in a row, and closes it with a success", () => {
    const nine = failures(Array.from({ length: 9 }, (_, i) => i))
    assert.strictEqual(DeliveryState.circuitOf(nine, 1_000_000), "closed")
    const ten = failures(Array.from({ length: 10 }, (_, i) => i))
    assert.strictEqual(DeliveryState.circuitOf(ten, 1_000), "open")
    assert.strictEqual(DeliveryState.circuitOf(ten, 1_009), "half_open")
    const success = DeliveryState.fold([{ eventType: "INSERT", success: true, createdAt: 2, endedAt: 2 }])
    assert.deepStrictEqual(DeliveryState.apply(ten, success), DeliveryState.initial)
  })

  it("waits a second before the first probe, then about twice as long after each, a minute at most", () => {
    const times = Array.from({ length: 10 }, () => 0)
    const pauses: Array<number> = []
    for (let i = 0; i < 10; i++) {
      const now = times.at(-1)!
      const next = DeliveryState.nextProbeAt(failures(times))!
      pauses.push((next - now) / 1_000)
      times.push(next)
    }
    assert.deepStrictEqual(pauses, [1, 1, 2, 4, 8, 16, 32, 60, 60, 60])
  })

  it.prop(
    "fails for too long once the time has passed with more than one failure, since it was enabled",
    {
      failures: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 })),
      enabled: Time,
      now: Time,
      after: Time
    },
    ({ after, enabled, failures: count, now }) => {
      const state = failures(Array.from({ length: count }, (_, i) => 1_000 + i))
      assert.strictEqual(
        DeliveryState.isFailingForTooLong(state, enabled, now, after),
        count > 1 && now - 1_000 >= after && now - enabled >= after
      )
    }
  )

  it("never fails for too long when it was enabled again just now, whatever it did before", () => {
    const state = failures(Array.from({ length: 50 }, (_, i) => i))
    assert.isTrue(DeliveryState.isFailingForTooLong(state, 0, 5_000, 5_000))
    assert.isFalse(DeliveryState.isFailingForTooLong(state, 1, 5_000, 5_000))
    assert.isFalse(DeliveryState.isFailingForTooLong(state, 5_000, 5_000, 1))
  })
})
