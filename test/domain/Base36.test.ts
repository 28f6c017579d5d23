import { assert, it } from "@effect/vitest"
import { toBase36 } from "../../src/domain/Base36.ts"

it("a number in base 36 is as JavaScript writes it", () => {
  const part = 36 ** 5
  const edges = [0, 1, 35, 36, part - 1, part, part + 1, 2 * part, 36 * part - 1, part * part, Number.MAX_SAFE_INTEGER]
  for (let n = 1; n < Number.MAX_SAFE_INTEGER; n = n * 3 + 1) edges.push(n, 2 ** Math.floor(Math.log2(n)))
  for (const n of edges) assert.strictEqual(toBase36(n), n.toString(36))
})
