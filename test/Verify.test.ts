import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Webhook as StandardWebhook } from "standardwebhooks"
import { Webhook as SvixWebhook } from "svix"
import { VerificationError, type VerificationReason, verifySignature, verifyStandard } from "truss-webhooks/verify"
import { generateSecret, makeSign, makeSigner, type SigningSecrets } from "../src/services/Signing.ts"

const secret = generateSecret()
const other = generateSecret()
const body =
  "{\"event\":\"INSERT\",\"schema\":\"public\",\"table\":\"orders\",\"row\":{\"id\":9007199254740993,\"note\":" +
  "\"Ärger 🔑\"},\"old_row\":null,\"timestamp\":\"2025-01-15T10:00:00.123Z\"}"

type Headers_ = Record<string, string>

/** The headers of a delivery, as it is sent. */
const signed = (
  text: string,
  secrets: SigningSecrets = { secret, previousSecret: null },
  nowMs = Date.now()
): Headers_ => {
  const headers: Array<string> = ["webhook-id", "evt_1", "webhook-timestamp", String(Math.floor(nowMs / 1000))]
  makeSign(secrets)(headers, "evt_1", nowMs, text)
  return Object.fromEntries(headers.flatMap((name, i) => i % 2 === 0 ? [[name, headers[i + 1]!]] : []))
}

const refused = async (reason: VerificationReason, verified: Promise<unknown>, pattern = /./) => {
  const error = await verified.then(() => undefined, (error: unknown) => error)
  if (!(error instanceof VerificationError)) return assert.fail(`expected ${reason}, not ${String(error)}`)
  assert.strictEqual(error.reason, reason, error.message)
  assert.match(error.message, pattern)
  assert.notInclude(error.message, secret)
}

/** Both ways to verify, which have most in common. */
const ways = [["verifySignature", verifySignature], ["verifyStandard", verifyStandard]] as const

for (const [name, verify] of ways) {
  describe(name, () => {
    it("gives the change of what our own signer signed", async () => {
      const change = await verify<{ id: number; note: string }>({ body, headers: signed(body), secret })
      assert.strictEqual(change.event, "INSERT")
      assert.strictEqual(change.row?.note, "Ärger 🔑")
      await refused("no_match", verify({ body, headers: signed(body), secret: other }), /secret is not the webhook's/)
    })

    it("takes the body as text, bytes, a part of a buffer and an ArrayBuffer", async () => {
      const bytes = new TextEncoder().encode(body)
      const padded = Buffer.concat([Buffer.from("xx"), bytes, Buffer.from("x")])
      const bodies = [body, bytes, Buffer.from(body), padded.subarray(2, -1), bytes.buffer, new DataView(bytes.buffer)]
      for (const one of bodies) {
        assert.strictEqual((await verify({ body: one, headers: signed(body), secret })).table, "orders")
      }
      await refused("no_match", verify({ body: padded, headers: signed(body), secret }))
    })

    it("takes headers in any case, as an object, arrays, Headers, a Map or pairs", async () => {
      const headers = signed(body)
      const pairs = Object.entries(headers)
      const upper = pairs.map(([name, value]) => [name.toUpperCase(), value] as const)
      const inputs = [
        headers,
        Object.fromEntries(upper),
        Object.fromEntries(pairs.map(([name, value]) => [name, [value]])),
        { ...headers, cookie: undefined, "set-cookie": ["a", "b"] },
        new Headers(headers),
        new Map(upper),
        pairs,
        new Map(pairs).entries()
      ]
      for (const one of inputs) {
        assert.strictEqual((await verify({ body, headers: one, secret })).table, "orders")
      }
    })

    it("verifies with either secret while one is being rotated, on either side", async () => {
      const during = signed(body, { secret, previousSecret: { secret: other, until: Date.now() + 60_000 } })
      for (const one of [secret, other, [other, secret], ["neither", other]]) {
        assert.strictEqual((await verify({ body, headers: during, secret: one })).event, "INSERT")
      }
      await refused("no_match", verify({ body, headers: during, secret: "neither" }))
      assert.strictEqual((await verify({ body, headers: signed(body), secret: [other, secret] })).event, "INSERT")
    })

    it.effect.prop(
      "accepts what was signed, by any secret",
      { secret: Schema.NonEmptyString, value: Schema.String },
      (given) =>
        Effect.promise(async () => {
          for (const prefix of ["", "whsec_"]) {
            const [key, text] = [prefix + given.secret, JSON.stringify(given.value)]
            const headers = signed(text, { secret: key, previousSecret: null })
            assert.strictEqual(await verify({ body: text, headers, secret: key }) as unknown, given.value)
          }
        })
    )

    it("refuses a body with any one bit flipped", async () => {
      const headers = signed(body)
      const bytes = new TextEncoder().encode(body)
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const changed = bytes.slice()
        changed[bit >> 3]! ^= 1 << (bit & 7)
        await refused("no_match", verify({ body: changed, headers, secret }))
      }
      await refused("no_match", verify({ body: `${body} `, headers, secret }))
      await refused("no_match", verify({ body: body.slice(0, -1), headers, secret }))
      await refused("no_match", verify({ body: "", headers, secret }))
    })

    it("refuses headers with any one bit flipped", async () => {
      const headers = signed(body)
      const names = name === "verifySignature"
        ? ["X-Truss-Signature"]
        : ["webhook-id", "webhook-timestamp", "webhook-signature"]
      for (const header of names) {
        const value = Buffer.from(headers[header]!, "latin1")
        for (let bit = 0; bit < value.length * 8; bit++) {
          const changed = Buffer.from(value)
          changed[bit >> 3]! ^= 1 << (bit & 7)
          const error = await verify({ body, headers: { ...headers, [header]: changed.toString("latin1") }, secret })
            .then(() => undefined, (error: unknown) => error)
          assert.instanceOf(error, VerificationError, `${header}, bit ${bit}`)
        }
      }
    })

    it("says of a body that was parsed, or written again, what to pass instead", async () => {
      const headers = { ...signed(body), "content-length": String(Buffer.byteLength(body)) }
      const parsed = JSON.parse(body)
      await refused("body_not_raw", verify({ body: parsed, headers, secret }), /express\.raw/)
      await refused("body_not_raw", verify({ body: undefined as never, headers, secret }), /no body/)
      await refused("body_not_raw", verify({ body: 7 as never, headers, secret }), /is a number/)
      const again = JSON.stringify(parsed, null, 1)
      await refused("body_not_raw", verify({ body: again, headers, secret }), /parsing it and writing it again/)
      await refused("no_match", verify({ body, headers, secret: other }))
    })

    it("says of a secret that it is missing, or has a line break", async () => {
      const headers = signed(body)
      for (const none of [undefined, "", [], [secret, ""], 7]) {
        await refused("bad_argument", verify({ body, headers, secret: none as never }), /environment variable/)
      }
      await refused("no_match", verify({ body, headers, secret: `${secret}\n` }), /line break/)
      await refused("bad_argument", verify({ body, headers: undefined as never, secret }), /no headers/)
    })

    it("says of a request without a signature that it has none", async () => {
      await refused("missing_header", verify({ body, headers: {}, secret }))
      const unsigned = signed(body, { secret: null, previousSecret: null })
      await refused("missing_header", verify({ body, headers: unsigned, secret }), /signature/i)
    })

    it("does not read a body more than 16 times, whatever the headers say", async () => {
      const headers = signed(body)
      const header = name === "verifySignature" ? "X-Truss-Signature" : "webhook-signature"
      const flood = Array.from({ length: 17 }, () => headers[header]!)
      await refused(
        "malformed_header",
        verify({ body, headers: { ...headers, [header]: flood }, secret }),
        /more than 16/
      )
    })

    it("tells a signed body that is no JSON from one that is forged", async () => {
      for (const text of ["", "event=INSERT", "{"]) {
        await refused("not_json", verify({ body: text, headers: signed(text), secret }))
      }
    })
  })
}

describe("verifySignature", () => {
  it("takes nothing but 64 lower-case hex digits", async () => {
    const hex = makeSigner(secret).body(body)
    for (const value of [hex.toUpperCase(), `sha256=${hex}`, hex.slice(1), `${hex}0`, ` ${hex}`]) {
      await refused("malformed_header", verifySignature({ body, headers: { "x-truss-signature": value }, secret }))
    }
  })
})

describe("verifyStandard", () => {
  const vector = {
    body: "{\"test\": 2432232314}",
    secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    now: 1614265330_000,
    headers: {
      "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
      "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    }
  }

  it("knows the vector of Standard Webhooks", async () => {
    // https://github.com/standard-webhooks/standard-webhooks, the libraries' own test.
    assert.deepEqual(await verifyStandard(vector) as unknown, { test: 2432232314 })
  })

  it("goes by one of several signatures, whatever kinds the others are of", async () => {
    const right = vector.headers["webhook-signature"]
    const wrong = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
    const given = (value: string | ReadonlyArray<string>) =>
      verifyStandard({ ...vector, headers: { ...vector.headers, "webhook-signature": value } as Headers_ })
    for (const value of [`${wrong} ${right}`, `v1a,${right.slice(3)} v2,x ${right}`, [wrong, right]]) await given(value)
    await refused("no_match", given(wrong))
    for (
      const value of [right.slice(3), `v1a,${right.slice(3)}`, `v1,${right.slice(3, -1)}`, `v1, ${right.slice(3)}`]
    ) {
      await refused("malformed_header", given(value))
    }
  })

  it("lets pass what is five minutes off, or as much as it is told", async () => {
    for (const seconds of [300, -300]) await verifyStandard({ ...vector, now: vector.now + seconds * 1000 })
    for (const seconds of [301, -301]) {
      const now = vector.now + seconds * 1000
      await refused("timestamp_out_of_tolerance", verifyStandard({ ...vector, now }), /301 s (ago|from now), and 300 s/)
      await verifyStandard({ ...vector, now, toleranceSeconds: 301 })
    }
    await refused("timestamp_out_of_tolerance", verifyStandard({ ...vector, now: NaN }))
    for (const toleranceSeconds of [-1, NaN]) {
      await refused("bad_argument", verifyStandard({ ...vector, toleranceSeconds }))
    }
  })

  it("says which header is missing, doubled or no time", async () => {
    const given = (more: Record<string, string | ReadonlyArray<string>>) =>
      verifyStandard({ ...vector, headers: { ...vector.headers, ...more } })
    for (const name of Object.keys(vector.headers)) {
      await refused("missing_header", given({ [name]: "" }), new RegExp(name))
      await refused("missing_header", given({ [name]: [] }), new RegExp(name))
    }
    await refused("malformed_header", given({ "webhook-id": ["a", "b"] }), /more than once/)
    for (const time of ["soon", "1614265330.0", "-1", "1e9", "9".repeat(13)]) {
      await refused("malformed_header", given({ "webhook-timestamp": time }), /seconds since 1970/)
    }
  })

  it.effect.prop(
    "agrees with the libraries of Standard Webhooks and Svix, both ways",
    { value: Schema.String },
    ({ value }) =>
      Effect.promise(async () => {
        const text = JSON.stringify(value)
        const seconds = String(Math.floor(Date.now() / 1000))
        for (const Library of [StandardWebhook, SvixWebhook]) {
          const library = new Library(secret)
          const headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": seconds,
            "webhook-signature": library.sign("msg_1", new Date(Number(seconds) * 1000), text)
          }
          assert.strictEqual(await verifyStandard({ body: text, headers, secret }) as unknown, value)
          await refused("no_match", verifyStandard({ body: text, headers, secret: other }))
          library.verify(text, signed(text))
        }
      })
  )

  it("takes the secrets that our signer takes by their bytes, and the others as they are", async () => {
    const secrets = [24, 32, 64].map((size) => `whsec_${Buffer.alloc(size, 0xfb).toString("base64")}`).concat(
      `whsec_${Buffer.alloc(23).toString("base64")}`,
      `whsec_${Buffer.alloc(65).toString("base64")}`,
      `whsec_${Buffer.alloc(32, 0xfb).toString("base64url")}`,
      `whsec_${Buffer.alloc(32, 1).toString("base64").slice(0, -1)}`,
      `whsec_${Buffer.alloc(32, 1).toString("base64").replace(/.=$/, "F=")}`,
      "whsec_",
      "pässwort 🔑"
    )
    for (const one of secrets) {
      await verifyStandard({ body, headers: signed(body, { secret: one, previousSecret: null }), secret: one })
    }
  })
})
