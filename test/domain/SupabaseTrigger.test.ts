import { assert, describe, it } from "@effect/vitest"
import { planSupabaseTrigger, type SupabaseTrigger } from "../../src/domain/SupabaseTrigger.ts"

const trigger = (differs: Partial<SupabaseTrigger> = {}): SupabaseTrigger => ({
  name: "hook",
  table_schema: "public",
  table_name: "orders",
  type: 1 | 4,
  enabled: "O",
  args: ["https://example.com/hook", "POST", "{}", "{}", "1000"],
  columns: [],
  condition: null,
  ...differs
})

const withArgs = (...args: ReadonlyArray<string>) => planSupabaseTrigger(trigger({ args }))

describe("A database webhook of Supabase", () => {
  it("keeps its name, table, events, URL and time-out", () => {
    assert.deepStrictEqual(planSupabaseTrigger(trigger({ type: 1 | 4 | 8 | 16 })), {
      theirs: "hook on public.orders",
      webhook: {
        name: "hook",
        table_schema: "public",
        table_name: "orders",
        events: ["INSERT", "UPDATE", "DELETE"],
        url: "https://example.com/hook",
        headers: {},
        timeout_ms: 1000
      },
      notes: [],
      needsReview: false
    })
  })

  it("loses the headers that the service sets, and says so unless they say the same", () => {
    const { notes, webhook } = withArgs(
      "https://example.com/",
      "POST",
      "{\"content-TYPE\":\"application/json\",\"Host\":\"x\",\"X-Number\":7}",
      "{}",
      "1000"
    )
    assert.deepStrictEqual(webhook?.headers, { "X-Number": "7" })
    assert.deepStrictEqual(notes, ["its header Host is left out: the service sets it"])
    const form = withArgs("https://example.com/", "POST", "{\"Content-Type\":\"text/plain\"}", "{}", "1000")
    assert.deepStrictEqual(form.notes, ["its content type text/plain becomes application/json"])
  })

  it("has its parameters in the query, behind what is there", () => {
    const { webhook } = withArgs("https://example.com/?a=1", "POST", "null", "{\"b\":\"x y&z\",\"c\":2}", "null")
    assert.strictEqual(webhook?.url, "https://example.com/?a=1&b=x+y%26z&c=2")
    assert.isFalse("timeout_ms" in webhook!)
  })

  it("is not carried over where the API would not take it", () => {
    const { notes, webhook } = withArgs("ftp://example.com", "POST", "{\"a b\":\"c\"}", "{}", "1000")
    assert.strictEqual(webhook, null)
    assert.deepStrictEqual(notes.map((note) => note.split(" ")[0]), ["url", "headers.a"])
    for (const args of [[], ["null", "POST"], ["https://example.com/", "null"], ["https://e.com/", "POST", "[]"]]) {
      assert.strictEqual(withArgs(...args).webhook, null)
    }
  })

  it("is for somebody to look at where it fires for fewer rows than ours would, or not at all", () => {
    assert.isTrue(planSupabaseTrigger(trigger({ condition: "(new.id > 1)" })).needsReview)
    assert.isTrue(planSupabaseTrigger(trigger({ enabled: "D" })).needsReview)
    assert.isFalse(planSupabaseTrigger(trigger({ enabled: "A" })).needsReview)
    assert.strictEqual(planSupabaseTrigger(trigger({ enabled: "R" })).webhook, null)
    assert.strictEqual(planSupabaseTrigger(trigger({ type: 4 })).webhook, null)
  })
})
