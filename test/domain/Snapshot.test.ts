import { assert, describe, it } from "@effect/vitest"
import { entityOf, partOf, shareOf } from "../../src/domain/Layout.ts"
import { bySnapshot, earliest, type StoredPosition } from "../../src/domain/Snapshot.ts"
import { WebhookId } from "../../src/domain/Webhook.ts"

const at = (seen: string, more: Partial<StoredPosition> = {}): StoredPosition => ({
  seen,
  target: null,
  afterSeq: 0,
  gaps: [],
  ...more
})

describe("snapshots", () => {
  it("are in the order in which they were taken, whatever was running", () => {
    const taken = ["5:5:", "5:9:5,7", "5:9:5", "9:9:", "9:10:9", "9:100:9,50", "50:100:50", "100:100:"]
    for (let a = 0; a < taken.length; a++) {
      for (let b = 0; b < taken.length; b++) {
        assert.strictEqual(Math.sign(bySnapshot(taken[a]!, taken[b]!)), Math.sign(a - b), `${taken[a]} ${taken[b]}`)
      }
    }
    assert.isBelow(bySnapshot("9007199254740993:9007199254740993:", "9007199254740994:9007199254740994:"), 0)
  })

  it("of several positions the one goes on that is furthest behind, with the pauses ahead of it", () => {
    const paused = at("10:10:", { gaps: ["10:10:", "20:20:"] })
    assert.deepStrictEqual(earliest([at("30:30:"), paused, at("20:20:")]), paused)
    assert.deepStrictEqual(earliest([at("10:10:"), paused]), paused)
  })

  it("go on in their backlog where all of them read the same one, and begin with it where they do not", () => {
    const paging = (afterSeq: number, target = "20:20:") => at("10:10:", { target, afterSeq })
    assert.deepStrictEqual(earliest([paging(70), paging(50), paging(90)]), paging(50))
    assert.deepStrictEqual(earliest([paging(70), at("20:20:"), at("25:25:")]), paging(70))
    assert.deepStrictEqual(earliest([paging(70), at("15:15:")]), at("10:10:"))
    assert.deepStrictEqual(earliest([paging(70), paging(50, "21:21:")]), at("10:10:"))
    assert.deepStrictEqual(earliest([paging(70), at("10:10:")]), at("10:10:"))
  })
})

describe("parts", () => {
  it("share what is allowed to the whole, to the last one", () => {
    for (const [total, n] of [[16, 3], [7, 7], [10_000, 64], [256, 64], [5, 2]] as const) {
      const shares = Array.from({ length: n }, (_, part) => shareOf(total, part, n))
      assert.strictEqual(shares.reduce((sum, share) => sum + share, 0), total)
      assert.isAtLeast(Math.min(...shares), 1)
      assert.isAtMost(Math.max(...shares) - Math.min(...shares), 1)
    }
  })

  it("are entities whose names say of which webhook", () => {
    const id = WebhookId.make("0b7e6a51-5e0a-4c8e-8d0f-9b520c9d8f7e")
    assert.strictEqual(entityOf(id, 0), id)
    for (const part of [0, 1, 63]) assert.deepStrictEqual(partOf(entityOf(id, part)), { id, part })
  })
})
