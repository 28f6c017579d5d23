import { assert, describe, it } from "@effect/vitest"
import { hasuraSources, planHasuraSource } from "../../src/domain/HasuraTrigger.ts"
import { hasuraExport } from "../support/Hasura.ts"

const plan = (trigger: object, env: Readonly<Record<string, string>> = {}) =>
  planHasuraSource(
    {
      name: "default",
      tables: [{
        table: { name: "orders" },
        event_triggers: [{ name: "hook", definition: { insert: { columns: "*" } }, ...trigger }]
      }]
    },
    new Map(Object.entries(env))
  )[0]!

describe("Metadata of Hasura", () => {
  it("are read as every version exports them", () => {
    const bare = hasuraExport.metadata
    assert.deepStrictEqual(hasuraSources(hasuraExport), hasuraSources(bare))
    assert.strictEqual(hasuraSources(bare)?.[0]?.name, "default")
    assert.strictEqual(hasuraSources({ version: 2, tables: bare.sources[0]!.tables })?.[0]?.tables?.length, 2)
    for (const none of [null, 1, [], {}, { metadata: null }, { sources: {} }, { sources: [{ tables: [] }] }]) {
      assert.strictEqual(hasuraSources(none), undefined)
    }
  })
})

describe("An event trigger of Hasura", () => {
  it("takes what it has of the environment, in URLs and headers, and is not carried over without", () => {
    const trigger = {
      webhook: "{{ HOST }}/x",
      headers: [{ name: "authorization", value_from_env: "TOKEN" }, { name: "x-of", value: "{{NAME}}" }]
    }
    const { webhook } = plan(trigger, { HOST: "https://example.com", TOKEN: "t", NAME: "n" })
    assert.strictEqual(webhook?.url, "https://example.com/x")
    assert.deepStrictEqual(webhook?.headers, { authorization: "t", "x-of": "n" })
    const without = plan(trigger, { TOKEN: "t" })
    assert.strictEqual(without.webhook, null)
    assert.match(without.notes.join(), /HOST, NAME/)
  })

  it("has one attempt more than it had retries, 20 at most, and ours where it had none", () => {
    const attempts = (num_retries: number) =>
      plan({ webhook: "https://example.com/", retry_conf: { num_retries } }).webhook?.max_attempts
    assert.deepStrictEqual([0, 1, 7, 100].map(attempts), [undefined, 2, 8, 20])
  })

  it("fires for columns of UPDATE alone, and is not carried over with an empty list", () => {
    const of = (columns: unknown) => plan({ webhook: "https://example.com/", definition: { update: { columns } } })
    assert.deepStrictEqual(of(["a", "b"]).webhook?.columns, ["a", "b"])
    assert.isFalse("columns" in of("*").webhook!)
    assert.strictEqual(of([]).webhook, null)
  })

  it("is for somebody to look at where it sends less than ours would", () => {
    const part = { insert: { columns: "*", payload: ["id"] } }
    assert.isTrue(plan({ webhook: "https://example.com/", definition: part }).needsReview)
    assert.isTrue(plan({ webhook: "https://example.com/", request_transform: { version: 2 } }).needsReview)
    assert.isFalse(plan({ webhook: "https://example.com/", request_transform: null }).needsReview)
  })
})
