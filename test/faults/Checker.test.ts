import { assert, describe, it } from "@effect/vitest"
import type { EventType } from "../../src/domain/EventType.ts"
import type { Ordering } from "../../src/domain/Webhook.ts"
import { check, checkSample, duplicatesOf, overtaken } from "./Checker.ts"
import type { Arrival, Captured, FindingKind, History, Logged, Watched } from "./History.ts"

/** Three transactions, one after the other: two on row 1, one that moves row 1 to key 2 and back in two statements. */
const plan = [
  { tx: 1, step: 1, change: "INSERT:a", keys: [1] },
  { tx: 2, step: 1, change: "UPDATE:b", keys: [1] },
  { tx: 3, step: 1, change: "UPDATE:c", keys: [1, 2] },
  { tx: 3, step: 2, change: "UPDATE:d", keys: [2, 1] },
  { tx: 4, step: 1, change: "INSERT:e", keys: [9] }
]

const start = 1_000_000

const committed: History["committed"] = plan.map((change, n) => ({ ...change, seq: n + 1, table: "t" }))

const captured: ReadonlyArray<Captured> = plan.map(({ change }, n) => ({
  eventId: `evt_${n}`,
  table: "t",
  type: change.split(":")[0] as EventType,
  change,
  body: `{"n":${n}}`
}))

const arrival = (event: number, delivery: string, more: Partial<Arrival> = {}): Arrival => ({
  webhook: "w",
  at: start,
  eventId: `evt_${event}`,
  deliveryId: delivery,
  body: `{"n":${event}}`,
  answered: true,
  ...more
})

const logged = (event: number, delivery: string, more: Partial<Logged> = {}): Logged => ({
  webhook: "w",
  eventId: `evt_${event}`,
  deliveryId: delivery,
  type: captured[event]!.type,
  attempt: 1,
  outcome: "success",
  error: null,
  statusCode: 200,
  probe: false,
  replay: false,
  createdAt: start,
  latencyMs: 5,
  ...more
})

const webhook = (ordering: Ordering): Watched => ({
  id: "w",
  name: "w",
  table: "t",
  events: ["INSERT", "UPDATE", "DELETE"],
  ordering,
  maxAttempts: 2,
  timeoutMs: 500,
  shown: { failCount: 0, circuit: "closed", backlog: 0 },
  reconcile: { matched: 5, delivered: 5, failed: 0, pending: 0, filtered: 0, never_attempted: 0 }
})

/** Everything arrived once, in order, and is in the log: with changes to it. */
const history = (more: Partial<History> = {}, ordering: Ordering = "strict"): History => ({
  committed,
  transactions: new Map([1, 2, 3, 4].map((tx) => [tx, { began: 3 * tx, committing: 3 * tx + 1, ended: 3 * tx + 2 }])),
  captured,
  arrivals: plan.map((_, n) => arrival(n, `d${n}`)),
  log: plan.map((_, n) => logged(n, `d${n}`)),
  webhooks: [webhook(ordering)],
  windows: [],
  ...more
})

const kinds = (of: History): ReadonlyArray<FindingKind> => [...new Set(check(of).map((finding) => finding.kind))]

const inOrder = (order: ReadonlyArray<number>, ordering: Ordering) =>
  history({
    arrivals: order.map((n) => arrival(n, `d${n}`)),
    log: order.map((n) => logged(n, `d${n}`))
  }, ordering)

const failed = (error: string | null = "timeout") => ({ outcome: "retrying", statusCode: null, error }) as const

const kill = { what: "service kill -9", from: start + 10, to: start + 20 }

describe("the checker of the fault suite", () => {
  it("finds nothing where nothing is wrong", () => {
    for (const ordering of ["none", "row", "strict"] as const) assert.deepStrictEqual(check(history({}, ordering)), [])
  })

  it("finds a change that was committed and never arrived", () => {
    const { arrivals, log } = history()
    assert.deepStrictEqual(kinds(history({ arrivals: arrivals.slice(0, 4), log: log.slice(0, 4) })), ["lost"])
  })

  it("finds a change that was committed and never captured", () => {
    const { arrivals, captured, log } = history()
    const found = history({ captured: captured.slice(0, 4), arrivals: arrivals.slice(0, 4), log: log.slice(0, 4) })
    assert.include(kinds(found), "lost")
  })

  it("finds a success in the log that no request backs", () => {
    assert.deepStrictEqual(kinds(history({ arrivals: history().arrivals.slice(0, 4) })), ["lost"])
  })

  it("finds a change that arrived although it was rolled back", () => {
    assert.deepStrictEqual(kinds(history({ committed: committed.slice(0, 4) })), ["phantom"])
  })

  it("finds a change that was captured twice", () => {
    const { arrivals, captured, log } = history()
    const twice = history({
      captured: [...captured, { ...captured[4]!, eventId: "evt_5" }],
      arrivals: [...arrivals, arrival(4, "d5", { eventId: "evt_5" })],
      log: [...log, logged(4, "d5", { eventId: "evt_5" })]
    })
    assert.include(kinds(twice), "capture")
  })

  it("finds changes of one row that arrived in another order, also over a change of the key", () => {
    for (const order of [[1, 0, 2, 3, 4], [0, 2, 1, 3, 4], [0, 1, 3, 2, 4]]) {
      assert.deepStrictEqual(kinds(inOrder(order, "row")), ["order"])
      assert.include(kinds(inOrder(order, "strict")), "order")
      assert.deepStrictEqual(kinds(inOrder(order, "none")), [])
    }
  })

  it("finds changes of different rows out of order only where all are to be in order", () => {
    assert.deepStrictEqual(kinds(inOrder([4, 0, 1, 2, 3], "row")), [])
    assert.deepStrictEqual(kinds(inOrder([4, 0, 1, 2, 3], "strict")), ["order"])
  })

  it("counts what arrived in another order than that of commits which overlapped, and finds no fault in it", () => {
    const transactions = new Map(
      [1, 2, 3, 4].map((tx) => [tx, { began: 0, committing: 9 + 2 * tx, ended: 10 + 2 * tx }])
    )
    const overlapping = { ...inOrder([4, 0, 1, 2, 3], "strict"), transactions }
    assert.deepStrictEqual(kinds(overlapping), [])
    assert.strictEqual(overtaken(overlapping), 4)
    assert.strictEqual(overtaken({ ...history(), transactions }), 0)
  })

  it("finds an event that others overtook while it was to be tried again", () => {
    const { arrivals, log } = history()
    const split = history({
      arrivals: [arrival(0, "first", { answered: false }), ...arrivals.slice(1), arrivals[0]!],
      log: [logged(0, "first", failed()), ...log.slice(1), logged(0, "d0", { attempt: 2 })]
    })
    assert.deepStrictEqual(kinds(split), ["order"])
  })

  it("finds a change that was sent before the one before it had ended", () => {
    const early = (ordering: Ordering) =>
      history({
        arrivals: [
          arrival(0, "d0", { answered: false }),
          arrival(1, "d1"),
          arrival(0, "d0b"),
          ...[2, 3, 4].map((n) => arrival(n, `d${n}`))
        ],
        log: [
          logged(0, "d0", failed()),
          logged(0, "d0b", { attempt: 2 }),
          ...[1, 2, 3, 4].map((n) => logged(n, `d${n}`))
        ]
      }, ordering)
    assert.deepStrictEqual(kinds(early("row")), ["order"])
    assert.deepStrictEqual(kinds(early("none")), [])
  })

  const again = (windows: History["windows"], log: ReadonlyArray<Logged> = []) => {
    const before = history()
    return history({
      arrivals: [arrival(0, "lost"), ...before.arrivals],
      log: [...log, ...before.log],
      windows
    })
  }

  it("bears a duplicate whose first outcome a fault has lost, and counts it", () => {
    assert.deepStrictEqual(check(again([kill])), [])
    assert.strictEqual(duplicatesOf(again([kill])), 1)
    assert.strictEqual(duplicatesOf(history()), 0)
  })

  it("finds a duplicate far from any fault", () => {
    assert.deepStrictEqual(kinds(again([])), ["unlogged"])
    assert.deepStrictEqual(kinds(again([{ ...kill, from: start + 60_000, to: start + 60_001 }])), ["unlogged"])
  })

  it("finds a duplicate of what the log has as delivered, whatever was broken", () => {
    assert.includeMembers([...kinds(again([kill], [logged(0, "lost")]))], ["duplicate", "log"])
  })

  it("finds a request that came again after it was delivered", () => {
    const { arrivals } = history()
    assert.deepStrictEqual(kinds(history({ arrivals: [...arrivals, arrival(4, "late")], windows: [kill] })), [
      "duplicate"
    ])
  })

  it("bears that another process began with another event than the one that was killed", () => {
    const { arrivals, log } = history()
    const other = history({ arrivals: [arrival(4, "lost", { answered: false }), ...arrivals], log, windows: [kill] })
    const transactions = new Map([1, 2, 3, 4].map((tx) => [tx, { began: 0, committing: 8, ended: 9 }]))
    assert.deepStrictEqual(check({ ...other, transactions }), [])
  })

  it("bears that the next event followed a last attempt whose outcome was lost", () => {
    const { arrivals, log } = history()
    const last = history({
      arrivals: [arrival(0, "lost", { answered: false }), arrival(1, "lost too"), ...arrivals],
      log,
      webhooks: [{ ...webhook("strict"), maxAttempts: 1 }],
      windows: [kill]
    })
    assert.deepStrictEqual(check(last), [])
    assert.deepStrictEqual(kinds({ ...last, webhooks: [webhook("strict")] }), ["order"])
  })

  it("finds other bytes under the same id", () => {
    const { arrivals } = history()
    const changed = [...arrivals.slice(0, 4), arrival(4, "d4", { body: "{\"n\": 4}" })]
    assert.deepStrictEqual(kinds(history({ arrivals: changed })), ["differs"])
  })

  it("finds attempts that are numbered wrongly", () => {
    const { arrivals, log } = history()
    const second = { arrivals: [arrival(0, "first", { answered: false }), ...arrivals] }
    const numbered = (attempt: number) =>
      history({ ...second, log: [logged(0, "first", failed()), logged(0, "d0", { attempt }), ...log.slice(1)] })
    assert.deepStrictEqual(kinds(numbered(2)), [])
    assert.deepStrictEqual(kinds(numbered(1)), ["log"])
    assert.deepStrictEqual(kinds(numbered(3)), ["log"])
  })

  it("lets probes and attempts that were broken off use up no number", () => {
    const { arrivals, log } = history()
    for (const more of [{ ...failed("aborted") }, { ...failed(), probe: true }]) {
      const bears = history({
        arrivals: [arrival(0, "first", { answered: false }), ...arrivals],
        log: [logged(0, "first", more), ...log]
      })
      assert.deepStrictEqual(check(bears), [])
    }
  })

  it("finds an event that was given up before its last attempt", () => {
    const { arrivals, log } = history()
    const shown = {
      ...webhook("none"),
      shown: { failCount: 1, circuit: "closed", backlog: 0 },
      reconcile: undefined
    }
    const given = history({
      arrivals,
      log: [...log.slice(0, 4), logged(4, "d4", { ...failed(), outcome: "failed" })],
      webhooks: [shown]
    })
    assert.deepStrictEqual(kinds(given), ["log"])
  })

  it("finds a fail_count, a circuit and a reconciliation that the log does not bear out", () => {
    const shown = (more: Partial<Watched>) => kinds(history({ webhooks: [{ ...webhook("none"), ...more }] }))
    assert.deepStrictEqual(shown({ shown: { failCount: 1, circuit: "closed", backlog: 0 } }), ["fail_count"])
    assert.deepStrictEqual(shown({ shown: { failCount: 0, circuit: "open", backlog: 0 } }), ["fail_count"])
    assert.deepStrictEqual(shown({ shown: { failCount: 0, circuit: "closed", backlog: 3 } }), ["reconcile"])
    const reconcile = { matched: 5, delivered: 4, failed: 0, pending: 1, filtered: 0, never_attempted: 0 }
    assert.deepStrictEqual(shown({ reconcile }), ["reconcile"])
  })

  it("finds a stored state that is not the fold of the log", () => {
    const log = [logged(0, "d0", failed()), logged(1, "d1", failed("dns"))]
    const stored = { failCount: 2, failingSince: start, lastFailedAt: start + 5, openedAt: null }
    const sample = { webhook: "w", log, stored, hastened: false }
    assert.deepStrictEqual(checkSample(sample), [])
    assert.strictEqual(checkSample({ ...sample, stored: { ...stored, failCount: 1 } }).length, 1)
    assert.strictEqual(checkSample({ ...sample, stored: { ...stored, lastFailedAt: start } }).length, 1)
    assert.strictEqual(checkSample({ ...sample, stored: { ...stored, lastFailedAt: start }, hastened: true }).length, 0)
    assert.strictEqual(checkSample({ ...sample, stored: { ...stored, openedAt: start } }).length, 1)
  })
})
