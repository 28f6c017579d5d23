import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { decodeAttemptId, encodeAttemptId, nonceLimit } from "../../src/domain/AttemptRef.ts"

const upTo = (max: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: max }))

describe("AttemptRef", () => {
  it.prop("comes back from its id", { eventSeq: upTo(Number.MAX_SAFE_INTEGER), nonce: upTo(nonceLimit - 1) }, (ref) => {
    const id = encodeAttemptId(ref)
    assert.match(id, /^dlv_[0-9a-z]+_[0-9a-z]+$/)
    assert.deepStrictEqual(decodeAttemptId(id), ref)
  })

  it.prop("is never read from any other text", [Schema.String], ([text]) => {
    const read = decodeAttemptId(text)
    assert.isTrue(read === undefined || encodeAttemptId(read) === text)
  })

  it("refuses ids that only look like one", () => {
    for (
      const id of [
        "",
        "dlv_",
        "dlv_1",
        "dlv_1_",
        "dlv_1_1_1",
        "evt_1_1",
        "dlv_1_1 ",
        "dlv_1_1\n",
        "dlv_01_1",
        "dlv_A_1",
        "dlv_-1_1",
        `dlv_1_${nonceLimit.toString(36)}`,
        `dlv_${"z".repeat(11)}_1`
      ]
    ) assert.isUndefined(decodeAttemptId(id), id)
  })
})
