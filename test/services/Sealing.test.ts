import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { inspect } from "node:util"
import { WebhookId } from "../../src/domain/Webhook.ts"
import { generateEncryptionKey, parseEncryptionKeys } from "../../src/services/EncryptionKey.ts"
import { headerPlace, seal, unseal } from "../../src/services/Sealing.ts"
import { keysOf } from "../support/Encryption.ts"

const id = WebhookId.make("00000000-0000-4000-8000-000000000001")
const other = WebhookId.make("00000000-0000-4000-8000-000000000002")
const [key, older] = keysOf(generateEncryptionKey(), generateEncryptionKey())

describe("a sealed value", () => {
  it.prop("opens where it was sealed, whatever it is", { value: Schema.String }, ({ value }) => {
    // What is no Unicode reaches no database either.
    const text = value.toWellFormed()
    assert.strictEqual(unseal([older!, key], id, "secret", seal(key, id, "secret", text)), text)
  })

  it("names its version and key, is text that JSON needs no escapes for, and never the same twice", () => {
    const values = Array.from({ length: 100 }, () => seal(key, id, "secret", "the same"))
    for (const value of values) assert.match(value, new RegExp(`^v1\\.${key.id}\\.[A-Za-z0-9_-]{48}$`))
    assert.strictEqual(new Set(values.map((value) => value.split(".")[2]!.slice(0, 16))).size, 100)
  })

  it("does not open elsewhere: in another webhook, column or header, or under another key", () => {
    const sealed = seal(key, id, "secret", "s3cret")
    assert.isUndefined(unseal([key], other, "secret", sealed))
    assert.isUndefined(unseal([key], id, "previous_secret", sealed))
    assert.isUndefined(unseal([key], id, headerPlace("secret"), sealed))
    assert.isUndefined(unseal([older!], id, "secret", sealed))
    assert.isUndefined(unseal([key, older!], id, "secret", sealed.replace(key.id, older!.id)))
    const header = seal(key, id, headerPlace("X-Key"), "v")
    assert.strictEqual(unseal([key], id, headerPlace("x-key"), header), "v")
    assert.isUndefined(unseal([key], id, headerPlace("X-Other"), header))
  })

  it("does not open when a bit of it has changed, or a part is missing", () => {
    const sealed = seal(key, id, "secret", "s3cret")
    const prefix = `v1.${key.id}.`
    const bytes = Buffer.from(sealed.slice(prefix.length), "base64url")
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes)
      changed[bit >> 3]! ^= 1 << (bit & 7)
      assert.isUndefined(unseal([key], id, "secret", prefix + changed.toString("base64url")), `bit ${bit}`)
    }
    for (let length = 0; length < bytes.length; length++) {
      assert.isUndefined(unseal([key], id, "secret", prefix + bytes.subarray(0, length).toString("base64url")))
      assert.isUndefined(unseal([key], id, "secret", prefix + bytes.subarray(length + 1).toString("base64url")))
    }
    for (const garbled of ["", "s3cret", "v0.s3cret", "v1.", prefix, `${prefix}!!`, sealed.replace("v1", "v2")]) {
      assert.isUndefined(unseal([key], id, "secret", garbled), garbled)
    }
  })
})

describe("encryption keys", () => {
  it("are read in either base64 alphabet, padded or not, newest first, each once", () => {
    const bytes = Buffer.alloc(32, 0xfb)
    const [one] = keysOf(bytes.toString("base64"))
    for (const text of [bytes.toString("base64url"), ` ${bytes.toString("base64")}\n`]) {
      assert.deepStrictEqual(keysOf(text).map((key) => key.id), [one.id])
    }
    const [first, second] = [generateEncryptionKey(), generateEncryptionKey()]
    const [firstId, secondId] = [keysOf(first)[0].id, keysOf(second)[0].id]
    assert.deepStrictEqual(keysOf(`${first} , ${second},${first}`).map((key) => key.id), [firstId, secondId])
    assert.deepStrictEqual(keysOf(`${second}\n${first}\n`).map((key) => key.id), [secondId, firstId])
    assert.isUndefined(parseEncryptionKeys(""))
  })

  it("show nothing of themselves in a log", () => {
    const bytes = Buffer.alloc(32, "not to be seen ")
    const [key] = keysOf(bytes.toString("base64"))
    const shown = [inspect(key, { depth: 9, showHidden: true }), JSON.stringify(key), String(key.material)].join()
    for (const form of ["utf8", "base64", "hex"] as const) assert.notInclude(shown, bytes.toString(form).slice(0, 8))
    assert.notInclude(shown, bytes.subarray(0, 4).join(", "))
  })
})
