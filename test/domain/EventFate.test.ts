import { assert, describe, it } from "@effect/vitest"
import { type Facts, fateOf } from "../../src/domain/EventFate.ts"

const ahead: Facts = {
  succeeded: false,
  lastOutcome: null,
  due: "no",
  asked: true,
  before: false,
  refusedBy: null,
  ahead: true,
  held: false,
  active: true,
  lacksSubscriber: false,
  circuitOpen: false
}
const passed: Facts = { ...ahead, ahead: false }

const said = (facts: Facts) => {
  const { reason, state } = fateOf(facts)
  return reason === null ? state : `${state}: ${reason}`
}

describe("the fate of an event", () => {
  it("is what the log says, once it was attempted", () => {
    assert.strictEqual(said({ ...passed, succeeded: true, lastOutcome: "success" }), "delivered")
    assert.strictEqual(said({ ...passed, succeeded: true, lastOutcome: "failed" }), "delivered")
    assert.strictEqual(said({ ...passed, lastOutcome: "failed", refusedBy: "filter" }), "failed")
    assert.strictEqual(said({ ...passed, lastOutcome: "retrying", due: "yes" }), "pending")
    assert.strictEqual(said({ ...passed, lastOutcome: "failed", due: "yes" }), "pending")
  })

  it("is pending for the first thing that it waits for", () => {
    assert.strictEqual(said(ahead), "pending")
    assert.strictEqual(said({ ...ahead, circuitOpen: true }), "pending: circuit_open")
    assert.strictEqual(said({ ...ahead, circuitOpen: true, active: false }), "pending: paused")
    assert.strictEqual(said({ ...ahead, held: true }), "pending: waiting_for_row")
    assert.strictEqual(said({ ...ahead, held: true, circuitOpen: true }), "pending: circuit_open")
    assert.strictEqual(said({ ...ahead, held: true, active: false }), "pending: paused")
    assert.strictEqual(said({ ...passed, due: "waiting", circuitOpen: true }), "pending: waiting_for_row")
    assert.strictEqual(said({ ...passed, due: "yes", circuitOpen: true }), "pending: circuit_open")
  })

  it("is not to be sent for the first reason that there is", () => {
    assert.strictEqual(said({ ...passed, asked: false, before: true }), "not_sent: event_type")
    assert.strictEqual(said({ ...ahead, asked: false }), "not_sent: event_type")
    assert.strictEqual(said({ ...passed, before: true, refusedBy: "filter" }), "not_sent: before_webhook")
    assert.strictEqual(said({ ...passed, refusedBy: "columns" }), "not_sent: columns")
    assert.strictEqual(said({ ...ahead, refusedBy: "filter" }), "not_sent: filter")
    assert.strictEqual(said(passed), "not_sent: paused")
  })

  it("of a transaction that began before the webhook is to be sent when it commits later", () => {
    assert.strictEqual(said({ ...ahead, before: true }), "pending")
  })
})
