import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { createHmac } from "node:crypto"
import { Webhook as StandardWebhook } from "standardwebhooks"
import { Webhook as SvixWebhook } from "svix"
import { generateSecret, makeSign, makeSigner, type SigningSecrets, standardKey } from "../../src/services/Signing.ts"

/** The headers that a request gets which is made at this time. */
const signed = (secrets: SigningSecrets, nowMs: number, body: string): Readonly<Record<string, string>> => {
  const headers: Array<string> = []
  makeSign(secrets)(headers, "evt_1", nowMs, body)
  return Object.fromEntries(headers.flatMap((name, i) => i % 2 === 0 ? [[name, headers[i + 1]!]] : []))
}

/** Whether each of the libraries accepts a delivery. */
const accepted = (secret: string, headers: Readonly<Record<string, string>>, nowMs: number, body: string) => {
  const all = { ...headers, "webhook-id": "evt_1", "webhook-timestamp": String(Math.floor(nowMs / 1000)) }
  return [StandardWebhook, SvixWebhook].map((Library) => {
    try {
      new Library(secret).verify(body, all)
      return true
    } catch {
      return false
    }
  })
}

const inputs = { secret: Schema.String, body: Schema.String, time: Schema.Int }

describe("Signing", () => {
  it("knows the vectors of RFC 4231", () => {
    assert.strictEqual(
      makeSigner("Jefe").body("what do ya want for nothing?"),
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    assert.strictEqual(
      makeSigner("\x0b".repeat(20)).body("Hi There"),
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    )
  })

  it("knows the vector of Standard Webhooks", () => {
    // https://github.com/standard-webhooks/standard-webhooks, the libraries' own test.
    const signer = makeSigner("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert.strictEqual(
      signer.standard("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, "{\"test\": 2432232314}"),
      "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
  })

  it.prop("signs the body with the whole secret as node:crypto does", inputs, ({ body, secret }) => {
    assert.strictEqual(makeSigner(secret).body(body), createHmac("sha256", secret).update(body, "utf8").digest("hex"))
  })

  it.prop(
    "signs id, time and body with the key behind whsec_, else with the whole secret",
    inputs,
    ({ body, secret, time }) => {
      for (const prefix of ["", "whsec_"]) {
        const id = `evt_${time}`
        assert.strictEqual(
          makeSigner(prefix + secret).standard(id, time, body),
          "v1," + createHmac("sha256", standardKey(prefix + secret)).update(`${id}.${time}.${body}`).digest("base64")
        )
      }
    }
  )

  it.prop("satisfies the libraries of Standard Webhooks and Svix", { id: Schema.Int, text: Schema.String }, (value) => {
    const [secret, other] = [generateSecret(), generateSecret()]
    const body = JSON.stringify(value)
    const headers = signed({ secret, previousSecret: null }, Date.now(), body)
    assert.deepStrictEqual(accepted(secret, headers, Date.now(), body), [true, true])
    assert.deepStrictEqual(accepted(other, headers, Date.now(), body), [false, false])
  })

  it("satisfies the libraries with either secret during the overlap of a rotation, and then with the new one alone", () => {
    const now = Date.now()
    const [secret, old] = [generateSecret(), generateSecret()]
    const secrets = { secret, previousSecret: { secret: old, until: now } }
    const during = signed(secrets, now - 1, "{}")
    assert.deepStrictEqual(accepted(secret, during, now - 1, "{}"), [true, true])
    assert.deepStrictEqual(accepted(old, during, now - 1, "{}"), [true, true])
    assert.strictEqual(
      during["webhook-signature"],
      [secret, old].map((key) => makeSigner(key).standard("evt_1", Math.floor((now - 1) / 1000), "{}")).join(" ")
    )
    assert.strictEqual(during["X-Truss-Signature"], makeSigner(secret).body("{}"))
    assert.strictEqual(during["X-Truss-Signature-Previous"], makeSigner(old).body("{}"))

    const after = signed(secrets, now, "{}")
    assert.deepStrictEqual(accepted(secret, after, now, "{}"), [true, true])
    assert.deepStrictEqual(accepted(old, after, now, "{}"), [false, false])
    assert.strictEqual(after["X-Truss-Signature"], makeSigner(secret).body("{}"))
    assert.notProperty(after, "X-Truss-Signature-Previous")
  })

  it("signs nothing without a secret", () => {
    assert.deepStrictEqual(signed({ secret: null, previousSecret: null }, 0, "{}"), {})
  })

  it("generates secrets of 32 bytes, each another", () => {
    assert.match(generateSecret(), /^whsec_[A-Za-z0-9+/]{43}=$/)
    assert.lengthOf(standardKey(generateSecret()), 32)
    assert.notStrictEqual(generateSecret(), generateSecret())
  })

  it("takes the bytes behind whsec_ only when they are base64 of 24 to 64 bytes", () => {
    for (const length of [24, 32, 64]) {
      const bytes = Buffer.alloc(length, 0xfb)
      assert.deepStrictEqual(standardKey(`whsec_${bytes.toString("base64")}`), bytes)
    }
    const whole = [
      `whsec_${Buffer.alloc(23).toString("base64")}`,
      `whsec_${Buffer.alloc(65).toString("base64")}`,
      `whsec_${Buffer.alloc(32, 0xfb).toString("base64url")}`,
      `whsec_${Buffer.alloc(32, 1).toString("base64").slice(0, -1)}`,
      `whsec_${Buffer.alloc(32, 1).toString("base64")} `,
      `WHSEC_${Buffer.alloc(32, 1).toString("base64")}`,
      "whsec_",
      Buffer.alloc(32, 1).toString("base64"),
      "pässwort 🔑"
    ]
    for (const secret of whole) assert.deepStrictEqual(standardKey(secret), Buffer.from(secret, "utf8"), secret)
  })
})
