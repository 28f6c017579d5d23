import { assert, it } from "@effect/vitest"
import type { Answer } from "../../src/domain/Attempt.ts"
import { Lanes, lowWaterBytes, type Task } from "../../src/listener/Lanes.ts"
import { FairPermits } from "../../src/listener/Permits.ts"
import { RowOrder } from "../../src/listener/RowOrder.ts"

const delivered: Answer = { statusCode: 200, responseBody: "", latencyMs: 1, error: null, retryAfter: null }

/** Lanes of which the test ends each attempt. */
const lanes = (ordered: boolean) => {
  const inFlight: Array<() => void> = []
  let low = 0
  const made = new Lanes({
    permits: new FairPermits(8),
    concurrency: 2,
    rateLimit: null,
    order: ordered ? new RowOrder<Task>([]) : undefined,
    send: (_, done) => {
      inFlight.push(() => done(delivered))
      return () => {}
    },
    onFinished: () => false,
    onParked: () => {},
    onDropped: () => {},
    onLow: () => void low++
  })
  return { lanes: made, end: () => inFlight.shift()!(), low: () => low }
}

const task = (seq: number, length: number): Task => ({
  event: { ref: { slot: 1, tableId: 1, seq, at: 0 }, eventType: "INSERT", body: "x".repeat(length) },
  seq,
  keys: [7],
  waits: 0,
  attempt: 1,
  page: { remaining: 1 },
  due: false,
  replayOf: null,
  trace: undefined,
  counted: 0
})

for (const ordered of [false, true]) {
  it(`large bodies that wait are counted until they are sent, ${ordered ? "in chains of a row, too" : "in any order"}`, () => {
    const { end, lanes: made, low } = lanes(ordered)
    const size = lowWaterBytes / 4
    made.addFresh(Array.from({ length: 8 }, (_, n) => task(n, size)))
    let started = ordered ? 1 : 2
    assert.strictEqual(made.waitingBytes, (8 - started) * size)
    const before = low()
    while (made.waitingBytes >= lowWaterBytes) {
      end()
      started++
      assert.strictEqual(made.waitingBytes, (8 - started) * size)
    }
    // Few events are no reason to read more, few bytes are.
    assert.isAbove(low(), before)
    while (made.inFlight > 0) end()
    assert.strictEqual(made.waitingBytes, 0)

    made.addFresh(Array.from({ length: 8 }, (_, n) => task(n, size)))
    made.close(() => {})
    assert.strictEqual(made.waitingBytes, 0)
  })
}
