import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { type DueEntry, foldDue } from "../../src/domain/Due.ts"

const entry = (more: Partial<DueEntry>): DueEntry => ({
  eventId: "a",
  attempt: 1,
  outcome: "retrying",
  error: null,
  probe: false,
  nextAttemptAt: 1000,
  replayOf: null,
  ...more
})
const over = { outcome: "success", nextAttemptAt: null } as const

const Outcomes = Schema.Array(Schema.Struct({
  event: Schema.Literals(["a", "b", "c"]),
  outcome: Schema.Literals(["success", "retrying", "failed"])
}))

describe("what is due", () => {
  it("is the next attempt of what failed and is to be tried again", () => {
    const due = foldDue([entry({}), entry({ eventId: "b", attempt: 3, nextAttemptAt: 5 })])
    assert.deepStrictEqual([...due], [
      ["a", { attempt: 2, at: 1000, replayOf: null }],
      ["b", { attempt: 4, at: 5, replayOf: null }]
    ])
  })

  it("is the same attempt again after a probe, and after one that was broken off", () => {
    assert.strictEqual(foldDue([entry({ probe: true, attempt: 4 })]).get("a")!.attempt, 4)
    assert.strictEqual(foldDue([entry({ error: "aborted", attempt: 2 })]).get("a")!.attempt, 2)
  })

  it("does not change by a replay by hand", () => {
    const due = foldDue([entry({}), entry({ ...over, replayOf: "x" })])
    assert.strictEqual(due.get("a")!.attempt, 2)
  })

  it("ends with the replay that it is about", () => {
    assert.strictEqual(foldDue([entry({ replayOf: "x" }), entry({ ...over, attempt: 2, replayOf: "x" })]).size, 0)
  })

  it.prop("is what each event's last entry says", [Outcomes], ([outcomes]) => {
    const due = foldDue(
      outcomes.map(({ event, outcome }) =>
        entry({ eventId: event, outcome, nextAttemptAt: outcome === "retrying" ? 1 : null })
      )
    )
    for (const event of ["a", "b", "c"] as const) {
      const last = outcomes.findLast((one) => one.event === event)
      assert.strictEqual(due.has(event), last?.outcome === "retrying")
    }
  })
})
