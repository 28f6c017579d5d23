import { assert, describe, it } from "@effect/vitest"
import { Exit, Schema } from "effect"
import { validateHeaderName, validateHeaderValue } from "node:http"
import { WebhookHeaders } from "../../src/domain/WebhookHeaders.ts"

const decode = Schema.decodeUnknownExit(WebhookHeaders, { errors: "all" })
const accepts = (headers: unknown) => Exit.isSuccess(decode(headers))

describe("WebhookHeaders", () => {
  it("take what people send", () => {
    assert.isTrue(accepts({}))
    assert.isTrue(
      accepts({
        Authorization: "Bearer a.b-c_d=",
        "X-Api-Key": "k e\ty",
        Accept: "*/*",
        "user-agent": "mine",
        "x-empty": ""
      })
    )
    assert.isTrue(accepts({ "x-latin": "caf\u00e9" }))
    assert.isTrue(accepts({ contented: "x", "x-webhook-id": "x", hostname: "x", truss: "x" }))
  })

  it("do not replace what Truss Webhooks says or what frames the request", () => {
    for (
      const name of [
        "host",
        "Host",
        "Content-Type",
        "content-length",
        "CONTENT-ENCODING",
        "Transfer-Encoding",
        "connection",
        "Keep-Alive",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect",
        "X-Truss-Event",
        "x-truss-anything",
        "webhook-id",
        "Webhook-Signature"
      ]
    ) assert.isFalse(accepts({ [name]: "x" }), name)
  })

  it("have names and values that cannot break out of a request", () => {
    for (const name of ["", " ", "a b", "a:b", "a\r\nb", "é", "a\0", "(x)", "x".repeat(257)]) {
      assert.isFalse(accepts({ [name]: "x" }), JSON.stringify(name))
    }
    for (
      const value of [
        "a\r\nX-Evil: 1",
        "a\n",
        "\ra",
        "a\0b",
        " a",
        "a ",
        "\ta",
        "🎉",
        "\u0100",
        "x".repeat(4097),
        5,
        null
      ]
    ) {
      assert.isFalse(accepts({ "x-a": value }), JSON.stringify(value))
    }
  })

  it("are at most 32, each name once whatever its case, and every fault is said", () => {
    const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, "v"]))
    assert.isTrue(accepts(many(32)))
    assert.isFalse(accepts(many(33)))
    assert.isFalse(accepts({ "X-Same": "1", "x-same": "2" }))
    const text = String(decode({ Host: "x", "a b": "y", "x-c": "\n" }))
    for (const name of ["Host", "a b", "x-c"]) assert.include(text, name)
  })

  it.prop("that are taken are taken by node:http too", [Schema.String, Schema.String], ([name, value]) => {
    if (!accepts({ [name]: value })) return
    validateHeaderName(name)
    validateHeaderValue(name, value)
  })
})
