import { assert, describe, it } from "@effect/vitest"
import { matchesWeakly, mayChange, parseTags } from "../../src/domain/EntityTag.ts"

describe("entity tags", () => {
  it("are read one by one, as lists, weak and strong", () => {
    assert.strictEqual(parseTags(" * "), "*")
    assert.deepStrictEqual(parseTags("\"a\""), [{ weak: false, tag: "\"a\"" }])
    assert.deepStrictEqual(parseTags("W/\"a,b\" ,, \"\",\t\"c\","), [
      { weak: true, tag: "\"a,b\"" },
      { weak: false, tag: "\"\"" },
      { weak: false, tag: "\"c\"" }
    ])
  })

  it("are nothing when they are not in double quotes, or none at all", () => {
    for (const header of ["", ",", "a", "\"a", "a\"", "\"a\" \"b\"", "w/\"a\"", "*, \"a\"", "\"a b\"", "'a'"]) {
      assert.isUndefined(parseTags(header), header)
    }
  })

  it("are compared strongly for a change, and weakly for what need not be sent again", () => {
    const may = (ifMatch: string, tag = "\"a\"") => mayChange({ ifMatch: parseTags(ifMatch) }, tag)
    assert.isTrue(may("*"))
    assert.isTrue(may("\"b\", \"a\""))
    assert.isFalse(may("\"b\""))
    assert.isFalse(may("W/\"a\""))
    assert.isTrue(mayChange({}, "\"a\""))
    assert.isFalse(mayChange({ ifNoneMatch: "*" }, "\"a\""))
    assert.isTrue(mayChange({ ifNoneMatch: parseTags("\"b\"") }, "\"a\""))
    assert.isTrue(matchesWeakly(parseTags("\"b\", W/\"a\"")!, "\"a\""))
    assert.isFalse(matchesWeakly(parseTags("\"b\"")!, "\"a\""))
  })
})
