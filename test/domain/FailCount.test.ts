import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { isSuccess } from "../../src/domain/Attempt.ts"
import * as FailCount from "../../src/domain/FailCount.ts"

const Entry = Schema.Struct({
  test: Schema.Boolean,
  status: Schema.NullOr(Schema.Literals([100, 199, 200, 204, 299, 300, 404, 500]))
})
const Entries = Schema.Array(Entry)
const count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 }))

const answer = (statusCode: number | null, error: "timeout" | "redirect" | null = null) => ({
  statusCode,
  responseBody: null,
  latencyMs: 1,
  error,
  retryAfter: null
})

const toFolded = ({ status, test }: typeof Entry.Type): FailCount.Folded => ({
  eventType: test ? "TEST" : "INSERT",
  answer: answer(status, status === null ? "timeout" : null)
})

/** One entry at a time, as the contract says it. */
const naive = (start: number, entries: ReadonlyArray<typeof Entry.Type>) =>
  entries.reduce(
    (now, { status, test }) => test ? now : status !== null && status >= 200 && status < 300 ? 0 : now + 1,
    start
  )

describe("FailCount", () => {
  it.prop("of a run is what its entries make one by one", [count, Entries], ([start, entries]) => {
    assert.strictEqual(FailCount.apply(start, FailCount.fold(entries.map(toFolded))), naive(start, entries))
  })

  it.prop("is the same however a log is cut into batches", [count, Entries, Entries], ([start, first, second]) => {
    const whole = FailCount.apply(start, FailCount.fold([...first, ...second].map(toFolded)))
    const cut = FailCount.apply(
      FailCount.apply(start, FailCount.fold(first.map(toFolded))),
      FailCount.fold(second.map(toFolded))
    )
    assert.strictEqual(cut, whole)
  })

  it.prop("does not change by tests", [count, Entries], ([start, entries]) => {
    const tests = entries.map((entry) => toFolded({ ...entry, test: true }))
    assert.strictEqual(FailCount.apply(start, FailCount.fold(tests)), start)
  })

  it("is 0 after a success and nothing else is success but 2xx without an error", () => {
    assert.strictEqual(FailCount.apply(7, FailCount.fold([toFolded({ test: false, status: 204 })])), 0)
    assert.isTrue(isSuccess(answer(200)))
    assert.isTrue(isSuccess(answer(299)))
    for (
      const other of [
        answer(199),
        answer(300),
        answer(500),
        answer(null, "timeout"),
        answer(200, "redirect"),
        answer(null)
      ]
    ) {
      assert.isFalse(isSuccess(other))
    }
  })
})
