import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { maxRetryAfterMs, parseRetryAfter, retryDelayMs, retrySeconds } from "../../src/domain/Retry.ts"

const attempts = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 20 }))
const share = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 0.999 }))
const wait = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10 * maxRetryAfterMs }))

describe("Retry", () => {
  it("waits as the contract says, give or take a fifth", () => {
    assert.deepStrictEqual(retrySeconds, [5, 30, 120, 600, 1800, 7200, 21600])
    assert.strictEqual(retryDelayMs(1, 0.5), 5_000)
    assert.strictEqual(retryDelayMs(7, 0.5), 21_600_000)
    assert.strictEqual(retryDelayMs(8, 0.5), 21_600_000)
    assert.strictEqual(retryDelayMs(20, 0.5), 21_600_000)
  })

  it.prop("spreads each delay within a fifth to either side", [attempts, share], ([attempt, random]) => {
    const middle = retrySeconds[Math.min(attempt, 7) - 1]! * 1000
    const delay = retryDelayMs(attempt, random)
    assert.isTrue(Number.isInteger(delay))
    assert.isAtLeast(delay, middle * 0.8 - 1)
    assert.isAtMost(delay, middle * 1.2 + 1)
  })

  it.prop("takes the later of its own time and the endpoint's, which counts up to six hours", [attempts, share, wait], (
    [attempt, random, asked]
  ) => {
    const own = retryDelayMs(attempt, random)
    assert.strictEqual(retryDelayMs(attempt, random, asked), Math.max(own, Math.min(asked, 6 * 3_600_000)))
  })

  it("reads Retry-After as seconds or as an HTTP date in any of its three forms", () => {
    const now = Date.UTC(1994, 10, 6, 8, 49, 30)
    assert.strictEqual(parseRetryAfter("120", now), 120_000)
    assert.strictEqual(parseRetryAfter(" 0 ", now), 0)
    assert.strictEqual(parseRetryAfter("Sun, 06 Nov 1994 08:49:37 GMT", now), 7_000)
    assert.strictEqual(parseRetryAfter("Sun, 06 Nov 1994 08:49:00 GMT", now), 0)
    assert.strictEqual(parseRetryAfter("Sunday, 06-Nov-94 08:49:37 GMT", now), 7_000)
    assert.strictEqual(parseRetryAfter("Sun Nov  6 08:49:37 1994", now), 7_000)
  })

  it("makes nothing of what is neither", () => {
    for (const text of ["", "soon", "-1", "1.5", "1e3", "0x10", "12 apples", "2030-01-01", "1, 2", "Sun, nonsense"]) {
      assert.isUndefined(parseRetryAfter(text, 0), text)
    }
  })

  it("takes a number of seconds however long it is", () => {
    const asked = parseRetryAfter("99999999999999999999", 0)
    assert.strictEqual(retryDelayMs(1, 0.5, asked), maxRetryAfterMs)
  })
})
