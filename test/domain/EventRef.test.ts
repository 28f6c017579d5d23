import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { decodeEventId, encodeEventId } from "../../src/domain/EventRef.ts"

const upTo = (max: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: max }))
const safe = upTo(Number.MAX_SAFE_INTEGER)

describe("EventRef", () => {
  it.prop("comes back from its id", { at: safe, seq: safe, slot: upTo(32767), tableId: upTo(2147483647) }, (ref) => {
    const id = encodeEventId(ref)
    assert.match(id, /^evt_[0-9a-z]+_[0-9a-z]+_[0-9a-z]+_[0-9a-z]+$/)
    assert.deepStrictEqual(decodeEventId(id), ref)
  })

  it.prop("is never read from any other text", [Schema.String], ([text]) => {
    const read = decodeEventId(text)
    assert.isTrue(read === undefined || encodeEventId(read) === text)
  })

  it("has an id that differs when any part does", () => {
    const ref = { at: 1, seq: 1, slot: 1, tableId: 1 }
    const ids = [ref, { ...ref, at: 2 }, { ...ref, seq: 2 }, { ...ref, slot: 2 }, { ...ref, tableId: 2 }].map(
      encodeEventId
    )
    assert.strictEqual(new Set(ids).size, 5)
  })

  it("refuses ids that only look like one", () => {
    for (
      const id of [
        "",
        "evt_",
        "evt_1_1_1",
        "evt_1_1_1_1_1",
        "dlv_1_1_1_1",
        "evt_1_1_1_-1",
        "evt_1_1_1_1 ",
        "evt_1_1_1_01",
        "evt_1_1_1_A",
        "evt_1_1_1_1.5",
        "evt_1_1__1",
        `evt_1_1_${(32768).toString(36)}_1`,
        `evt_1_1_1_${(2147483648).toString(36)}`,
        `evt_${"z".repeat(12)}_1_1_1`
      ]
    ) assert.isUndefined(decodeEventId(id), id)
  })
})
