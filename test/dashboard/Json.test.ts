import { assert, describe, it } from "@effect/vitest"
import { elementsOf, type JsonText, memberOf, nodeOf, parseKeepingPayloads } from "../../dashboard/src/api/Json.ts"

describe("JSON in the dashboard", () => {
  it("keeps a payload as it was written: digits, the order of members, repeated ones", () => {
    const payload = `{"b":9007199254740993,"2":1.10,"1":[1e400,"}\\"]"],"b":null}`
    const text = `{"data":[{"id":"a","payload":${payload},"attempt":1},{"payload": null}],"next_cursor":null}`
    const { data } = parseKeepingPayloads(text) as {
      readonly data: ReadonlyArray<{ readonly payload: JsonText; readonly attempt: number }>
    }
    assert.strictEqual(data[0]!.payload.text, payload)
    assert.strictEqual(data[0]!.attempt, 1)
    assert.strictEqual(data[1]!.payload.text, "null")
  })

  it("does not take a text for a payload", () => {
    const text = `{"response_body":"\\"payload\\":{\\"a\\":1}","name":"payload","payload":{"payload":{"a":1}}}`
    const value = parseKeepingPayloads(text) as Readonly<Record<string, unknown>>
    assert.strictEqual(value["response_body"], `"payload":{"a":1}`)
    assert.strictEqual(value["name"], "payload")
    assert.strictEqual((value["payload"] as JsonText).text, `{"payload":{"a":1}}`)
  })

  it("tells the elements of a list apart", () => {
    assert.deepStrictEqual(elementsOf(` [1, {"a":[1,2]} ,"x,]",[]]`.trim()).map(({ text }) => text), [
      "1",
      `{"a":[1,2]}`,
      `"x,]"`,
      "[]"
    ])
    assert.deepStrictEqual(elementsOf("[]"), [])
    const { samples } = parseKeepingPayloads(`{"samples":[{"n":1.0},{"n":2.00}]}`) as {
      readonly samples: ReadonlyArray<JsonText>
    }
    assert.deepStrictEqual(samples.map(({ text }) => text), [`{"n":1.0}`, `{"n":2.00}`])
  })

  it("reads a tree whose leaves are as they were written", () => {
    const node = nodeOf(`{"row": {"n": 1.000, "s": "\\u00e9", "l": [true, null]}, "old_row":null}`)
    const row = memberOf(node, "row")
    assert.strictEqual(memberOf(row, "n")?.text, "1.000")
    assert.strictEqual(memberOf(row, "s")?.text, `"\\u00e9"`)
    assert.deepStrictEqual(memberOf(row, "l")?.kind, "array")
    assert.strictEqual(memberOf(node, "old_row")?.kind, "null")
    assert.isUndefined(memberOf(row, "none"))
  })
})
