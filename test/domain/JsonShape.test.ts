import { assert, describe, it } from "@effect/vitest"
import { exampleOf, shapeOf } from "../../src/domain/JsonShape.ts"

describe("the values of a test's row", () => {
  const bare = { base: null, item: null, fields: null, labels: null, castToJson: false }
  const types = new Map([
    { ...bare, oid: 50_001, labels: ["sad", "fine"] },
    { ...bare, oid: 50_002, labels: [] },
    { ...bare, oid: 50_003, base: { type: 50_001, modifier: -1, dimensions: 0 } }
  ].map((type) => [type.oid, type]))
  const values = (...oids: ReadonlyArray<number>) =>
    oids.map((type) => exampleOf(shapeOf(types)({ type, modifier: -1, dimensions: 0 }), "2025-01-15T10:00:00.123Z"))

  it("are times as PostgreSQL writes them in JSON, each type its own way", () => {
    const [date, time, timetz, timestamp, timestamptz, interval] = [1082, 1083, 1266, 1114, 1184, 1186]
    assert.deepStrictEqual(values(date!, time!, timetz!, timestamp!, timestamptz!, interval!), [
      "2025-01-15",
      "10:00:00.123",
      "10:00:00.123+00",
      "2025-01-15T10:00:00.123",
      "2025-01-15T10:00:00.123+00:00",
      "00:00:00"
    ])
  })

  it("are the first of an enum's values, below a domain too, and null where there is none", () => {
    assert.deepStrictEqual(values(50_001, 50_003, 50_002, 17), ["sad", "sad", null, "\\x"])
  })
})
