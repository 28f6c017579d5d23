import { assert, describe, it } from "@effect/vitest"
import { Exit, Schema } from "effect"
import { isWebhookId, WebhookCreate, WebhookPatch } from "../../src/domain/Webhook.ts"

const decodeCreate = Schema.decodeUnknownExit(WebhookCreate, { errors: "all", onExcessProperty: "error" })
const decodePatch = Schema.decodeUnknownExit(WebhookPatch, { errors: "all", onExcessProperty: "error" })

const least = { name: "orders", table_name: "orders", events: ["INSERT"], url: "https://example.com/hook" }

const accepts = (more: object) => Exit.isSuccess(decodeCreate({ ...least, ...more }))
const message = (more: object) => String(decodeCreate({ ...least, ...more }))

describe("Webhook", () => {
  it("needs a name, a table, events and a url, and has the contract's defaults for the rest", () => {
    const webhook = decodeCreate(least)
    assert.deepStrictEqual(
      webhook,
      Exit.succeed({
        ...least,
        events: ["INSERT" as const],
        table_schema: "public",
        headers: {},
        active: true,
        columns: null,
        filter: null,
        ordering: "none" as const,
        rate_limit: null,
        concurrency: 16,
        partitions: 1,
        timeout_ms: 15_000,
        max_attempts: 8
      })
    )
    for (const field of Object.keys(least)) {
      const without: object = Object.fromEntries(Object.entries(least).filter(([name]) => name !== field))
      assert.include(String(decodeCreate(without)), field)
    }
  })

  it("says every fault at once", () => {
    const text = message({
      name: "",
      events: ["UPSERT"],
      url: "nope",
      concurrency: 0,
      timeout_ms: 1,
      surprise: 1,
      headers: { Host: "x" }
    })
    for (const part of ["name", "events", "url", "concurrency", "timeout_ms", "surprise", "Host"]) {
      assert.include(text, part)
    }
  })

  it("has a name of 1 to 200 characters without control characters", () => {
    for (const name of ["x", "x".repeat(200), "naïve 🎉", "a\"b'c\\"]) assert.isTrue(accepts({ name }), name)
    for (const name of ["", "x".repeat(201), "a\0b", "a\nb", "\u007f", "\ud800", null, 5]) {
      assert.isFalse(accepts({ name }), String(name))
    }
  })

  it("names tables by their exact name of at most 63 bytes", () => {
    for (const table_name of ["x", "Orders", "a.b \"c\" 🎉", "é".repeat(31)]) {
      assert.isTrue(accepts({ table_name }), table_name)
    }
    for (const table_name of ["", "x".repeat(64), "é".repeat(32), "a\0b", null]) {
      assert.isFalse(accepts({ table_name }), String(table_name))
      assert.isFalse(accepts({ table_schema: table_name }), String(table_name))
    }
  })

  it("asks for some of the four kinds of change, each once", () => {
    assert.isTrue(accepts({ events: ["INSERT", "UPDATE", "DELETE", "TRUNCATE"] }))
    for (const events of [[], ["TEST"], ["insert"], ["INSERT", "INSERT"], "INSERT", null, [null]]) {
      assert.isFalse(accepts({ events }), JSON.stringify(events))
    }
  })

  it("has an absolute http or https URL without credentials", () => {
    for (
      const url of [
        "http://a",
        "https://example.com:8443/a/b?c=d&e=%20",
        "http://127.0.0.1:3000/",
        "http://[::1]:80/x",
        "HTTPS://EXAMPLE.COM/",
        "https://xn--bcher-kva.example/"
      ]
    ) assert.isTrue(accepts({ url }), url)
    for (
      const url of [
        "",
        "example.com",
        "/path",
        "//example.com",
        "ftp://example.com",
        "javascript:alert(1)",
        "http:example.com",
        "http:///path",
        "https://user@example.com",
        "https://user:pass@example.com",
        "https://:pass@example.com",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://example.com\\@evil.com",
        "https://example.com/#fragment",
        "https://example.com:99999/",
        "https://exa mple.com/",
        `https://example.com/${"x".repeat(2048)}`,
        "file:///etc/passwd",
        null
      ]
    ) assert.isFalse(accepts({ url }), String(url))
  })

  it("has whole numbers within their limits", () => {
    const limits = { concurrency: [1, 256], timeout_ms: [100, 60_000], max_attempts: [1, 20] } as const
    for (const [field, [low, high]] of Object.entries(limits)) {
      for (const value of [low, high]) assert.isTrue(accepts({ [field]: value }), `${field} ${value}`)
      for (const value of [low - 1, high + 1, low + 0.5, String(low), null, NaN, Infinity]) {
        assert.isFalse(accepts({ [field]: value }), `${field} ${value}`)
      }
    }
    assert.isFalse(accepts({ active: 1 }))
    assert.isFalse(accepts({ active: "true" }))
  })

  it("has a name of 1 to 200 characters, of which none is counted twice", () => {
    for (const name of ["n", "x".repeat(200), "🔑".repeat(200)]) assert.isTrue(accepts({ name }), name)
    for (const name of ["", "x".repeat(201), "🔑".repeat(201)]) assert.isFalse(accepts({ name }), name)
  })

  it("has a secret of 1 to 1024 characters, or none, and never says it in a fault", () => {
    for (const secret of ["s", "x".repeat(1024), "pässwort 🔑", null]) {
      assert.isTrue(accepts({ secret }), String(secret))
    }
    for (const secret of ["", "x".repeat(1025), "a\0b", 5, {}]) assert.isFalse(accepts({ secret }), String(secret))
  })

  it("takes no member that is not its own, nor one that only the service writes", () => {
    for (const name of ["id", "fail_count", "has_secret", "created_at", "disabled_reason", "nonsense", "__proto__x"]) {
      assert.isFalse(accepts({ [name]: null }), name)
    }
    assert.isTrue(Exit.isFailure(decodeCreate(null)))
    assert.isTrue(Exit.isFailure(decodeCreate([])))
  })

  it("is patched by any subset, with the same rules", () => {
    assert.deepStrictEqual(decodePatch({}), Exit.succeed({}))
    assert.deepStrictEqual(decodePatch({ active: false, secret: null }), Exit.succeed({ active: false, secret: null }))
    for (
      const patch of [{ name: "" }, { events: [] }, { url: "x" }, { headers: { Host: "x" } }, { concurrency: 0 }, {
        id: "x"
      }, { name: null }]
    ) {
      assert.isTrue(Exit.isFailure(decodePatch(patch)), JSON.stringify(patch))
    }
  })

  it("has a lower-case UUID as its id", () => {
    assert.isTrue(isWebhookId("0f0e0d0c-0b0a-4999-8888-776655443322"))
    for (
      const id of [
        "",
        "x",
        "0F0E0D0C-0B0A-4999-8888-776655443322",
        "0f0e0d0c0b0a49998888776655443322",
        "0f0e0d0c-0b0a-4999-8888-776655443322\n"
      ]
    ) {
      assert.isFalse(isWebhookId(id), id)
    }
  })
})
