import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { vi } from "vitest"
import { type Claimant, FairPermits, moment } from "../../src/listener/Permits.ts"

/** Takes a permit whenever it may, and remembers what it was told. */
const claimant = (permits?: FairPermits, isTrusted = true) => {
  const calls: Array<string> = []
  const self: Claimant = {
    isTrusted,
    granted: () => void calls.push("granted"),
    resume: () => void calls.push(permits?.mayStart(self) === false ? "halted again" : "resumed")
  }
  return Object.assign(self, { calls })
}

/** Runs with clocks that stand still until they are moved. */
const withClocks = (body: (clocks: { wall: number; monotonic: number }) => void) => {
  const clocks = { wall: 1_000_000, monotonic: 5_000 }
  const wall = vi.spyOn(Date, "now").mockImplementation(() => clocks.wall)
  const monotonic = vi.spyOn(performance, "now").mockImplementation(() => clocks.monotonic)
  try {
    body(clocks)
  } finally {
    wall.mockRestore()
    monotonic.mockRestore()
  }
}

describe("permits", () => {
  it("are handed to those who wait, one a turn, in their order", () => {
    const permits = new FairPermits(1)
    const [first, second, third] = [claimant(), claimant(), claimant()]
    assert.isTrue(permits.take(first))
    assert.isFalse(permits.take(second))
    assert.isFalse(permits.take(second))
    assert.isFalse(permits.take(third))
    permits.release()
    permits.release()
    assert.deepStrictEqual([second.calls, third.calls], [["granted"], ["granted"]])
    permits.release()
    assert.isTrue(permits.take(first))
  })

  it("are not handed to those who left", () => {
    const permits = new FairPermits(0)
    const waiting = claimant()
    permits.take(waiting)
    permits.leave(waiting)
    permits.release()
    assert.deepStrictEqual(waiting.calls, [])
    assert.isTrue(permits.take(waiting))
  })

  it("have no deadline until one is set", () => {
    assert.isTrue(new FairPermits(1).mayStart(claimant()))
  })

  for (const clock of ["wall", "monotonic"] as const) {
    it(`stop starts at the deadline by the ${clock} clock, whatever the other one says`, () =>
      withClocks((clocks) => {
        const permits = new FairPermits(1)
        permits.extend(moment(), 4_000)
        clocks[clock] += 3_999
        assert.isTrue(permits.mayStart(claimant()))
        clocks[clock] += 1
        assert.isFalse(permits.mayStart(claimant()))
      }))
  }

  it("count the deadline from when the heartbeat was sent", () =>
    withClocks((clocks) => {
      const permits = new FairPermits(1)
      const sent = moment()
      clocks.wall += 10_000
      clocks.monotonic += 10_000
      permits.extend(sent, 4_000)
      assert.isFalse(permits.mayStart(claimant()))
    }))

  it("are kept in part for those whose last attempt was a success", () => {
    const permits = new FairPermits(8)
    const [hanging, healthy] = [claimant(undefined, false), claimant()]
    for (let i = 0; i < 6; i++) assert.isTrue(permits.take(hanging))
    assert.isFalse(permits.take(hanging))
    for (let i = 0; i < 2; i++) assert.isTrue(permits.take(healthy))
    assert.isFalse(permits.take(healthy))
    permits.release()
    assert.deepStrictEqual([hanging.calls, healthy.calls], [[], ["granted"]])
    for (let i = 0; i < 3; i++) permits.release()
    assert.deepStrictEqual(hanging.calls, ["granted"])
  })

  it("stand still when nobody gives one back for a second, until somebody does", () => {
    vi.useFakeTimers()
    try {
      const permits = new FairPermits(1)
      const [hanging, waiting] = [claimant(), claimant()]
      permits.take(hanging)
      permits.take(waiting)
      vi.advanceTimersByTime(900)
      permits.release()
      assert.deepStrictEqual(waiting.calls, ["granted"])
      permits.take(hanging)
      vi.advanceTimersByTime(1_000)
      assert.isFalse(permits.standStill)
      vi.advanceTimersByTime(1_000)
      assert.isTrue(permits.standStill)
      assert.deepStrictEqual(hanging.calls, ["resumed"])
      permits.release()
      assert.isFalse(permits.standStill)
      assert.deepStrictEqual(hanging.calls, ["resumed", "granted"])
    } finally {
      vi.useRealTimers()
    }
  })

  it("go down a long line of those that need none any more", () => {
    const permits = new FairPermits(1)
    assert.isTrue(permits.take(claimant()))
    for (let i = 0; i < 20_000; i++) {
      const idle: Claimant = { isTrusted: true, granted: () => permits.release(), resume: () => {} }
      assert.isFalse(permits.take(idle))
    }
    permits.release()
    assert.isTrue(permits.take(claimant()))
  })

  it("resume once whoever was stopped, when the deadline is extended", () =>
    withClocks((clocks) => {
      const permits = new FairPermits(1)
      const stopped = claimant(permits)
      const gone = claimant(permits)
      permits.extend(moment(), 0)
      for (const one of [stopped, stopped, gone]) permits.mayStart(one)
      permits.leave(gone)
      permits.extend(moment(), 0)
      assert.deepStrictEqual(stopped.calls, ["halted again"])
      clocks.wall += 60_000
      permits.extend(moment(), 4_000)
      permits.extend(moment(), 4_000)
      assert.deepStrictEqual([stopped.calls, gone.calls], [["halted again", "resumed"], []])
    }))

  it.effect("let somebody wait until attempts may start", () =>
    Effect.gen(function*() {
      const permits = new FairPermits(1)
      yield* permits.whenMayStart
      permits.halt()
      const waiting = yield* Effect.forkChild(permits.whenMayStart, { startImmediately: true })
      permits.extend(moment(), 0)
      yield* Effect.yieldNow
      assert.isUndefined(waiting.pollUnsafe())
      permits.extend(moment(), 4_000)
      yield* Fiber.join(waiting)
    }))

  it("stop starts at once when they are halted", () => {
    const permits = new FairPermits(1)
    const stopped = claimant(permits)
    permits.extend(moment(), 4_000)
    permits.halt()
    assert.isFalse(permits.mayStart(stopped))
    permits.extend(moment(), 4_000)
    assert.deepStrictEqual(stopped.calls, ["resumed"])
  })
})
