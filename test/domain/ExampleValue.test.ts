import { assert, describe, it } from "@effect/vitest"
import { exampleValues } from "../../src/domain/ExampleValue.ts"

describe("the values of a test's row", () => {
  const values = (
    ...types: ReadonlyArray<readonly [category: string, name: string, ...labels: ReadonlyArray<string>]>
  ) =>
    exampleValues(
      types.map(([category, name, ...labels]) => ({ category, name, labels })),
      "2025-01-15T10:00:00.123Z"
    )

  it("are times as PostgreSQL writes them in JSON, each type its own way", () => {
    assert.deepStrictEqual(
      values(["D", "date"], ["D", "time"], ["D", "timetz"], ["D", "timestamp"], ["D", "timestamptz"], [
        "T",
        "interval"
      ]),
      [
        "2025-01-15",
        "10:00:00.123",
        "10:00:00.123+00",
        "2025-01-15T10:00:00.123",
        "2025-01-15T10:00:00.123+00:00",
        "00:00:00"
      ]
    )
  })

  it("are the first of an enum's values, and null where nothing is obvious, whatever a type is called", () => {
    assert.deepStrictEqual(
      values(["E", "mood", "sad", "fine"], ["E", "empty"], ["R", "int4range"], ["U", "constructor"], ["U", "bytea"]),
      ["sad", null, null, null, "\\x"]
    )
  })
})
