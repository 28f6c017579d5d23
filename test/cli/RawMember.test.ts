import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { streamEvents } from "../../src/cli/EventStream.ts"
import { rawMember } from "../../src/cli/RawMember.ts"
import { newSeed, randomOf } from "../support/Random.ts"

describe("a member of a JSON object", () => {
  it("comes as it stands there, digit for digit", () => {
    const payload = `{"n":1.10,"big":12345678901234567890,"s":"a\\"}\\\\","deep":[{"payload":1},[]]}`
    for (const text of [`{"payload":${payload}}`, `{"id":"x,\\"payload\\":","payload":${payload},"z":{"payload":2}}`]) {
      assert.strictEqual(rawMember(text, "payload"), payload)
    }
    assert.strictEqual(rawMember(`{"a":1,"payload" : null }`, "payload"), "null")
    assert.strictEqual(rawMember(`{"a":{"payload":1},"b":"payload"}`, "payload"), undefined)
    assert.strictEqual(rawMember("{}", "payload"), undefined)
    assert.strictEqual(rawMember(`{"p\\u0061yload":[1, 2]}`, "payload"), "[1, 2]")
  })

  it("is what JSON.parse gives, for any object", () => {
    const seed = newSeed()
    const random = randomOf(seed)
    const pick = <A>(values: ReadonlyArray<A>) => values[Math.floor(random() * values.length)]!
    const value = (depth: number): unknown => {
      const leaf = pick([1, -0.5, true, null, "", "\"", "\\", "{", "},", "a:b", "\u00fc\ud83d\ude00\n"])
      if (depth === 0 || random() < 0.3) return leaf
      const parts = Array.from({ length: Math.floor(random() * 4) }, () => value(depth - 1))
      return random() < 0.5
        ? parts
        : Object.fromEntries(parts.map((part, i) => [pick(["a", "b\"", "", `k${i}`]), part]))
    }
    for (let i = 0; i < 2_000; i++) {
      const object = Object.fromEntries(
        ["x", "payload", "y\"{"].filter(() => random() < 0.8).map((name) => [name, value(4)])
      )
      const text = JSON.stringify(object, null, pick([undefined, 1, "\t"]))
      const found = rawMember(text, "payload")
      const context = `seed ${seed}: ${text}`
      if ("payload" in object) assert.deepStrictEqual(JSON.parse(found!), object["payload"], context)
      else assert.strictEqual(found, undefined, context)
    }
  })
})

describe("server-sent events", () => {
  it.effect("come whole, with fields that are not in the standard, and without what was cut off", () =>
    Effect.gen(function*() {
      const lines = [
        ": comment",
        "id: 1",
        "",
        "id: 2",
        "event: entry",
        "altered: yes",
        "data: {",
        "data:  a",
        "data",
        "",
        "data: cut"
      ]
      const events = yield* Stream.runCollect(streamEvents(Stream.fromIterable(lines)))
      assert.deepStrictEqual([...events], [{ id: "1" }, { id: "2", event: "entry", altered: "yes", data: "{\n a\n" }])
    }))
})
