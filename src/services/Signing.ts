import { createHash, hash, randomBytes } from "node:crypto"

/**
 * The key of a Standard Webhooks signature: the bytes behind `whsec_` when they are base64 of 24–64 bytes, else the
 * whole secret string. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export const standardKey = (secret: string): Buffer => {
  if (secret.startsWith("whsec_")) {
    const encoded = secret.slice(6)
    const bytes = Buffer.from(encoded, "base64")
    if (bytes.length >= 24 && bytes.length <= 64 && bytes.toString("base64") === encoded) return bytes
  }
  return Buffer.from(secret, "utf8")
}

/** Signs with one secret; the keys are made once. */
export interface Signer {
  /** `X-Truss-Signature`: lower-case hex HMAC-SHA256 of the body, keyed by the whole secret string. */
  readonly body: (body: string) => string
  /** `webhook-signature`: `v1,<base64>` of `id.timestamp.body`; the timestamp in whole seconds since 1970. */
  readonly standard: (id: string, timestamp: number, body: string) => string
}

const blockBytes = 64
const digestBytes = 32

/** What is signed is put together here; larger messages get memory of their own. */
const scratch = Buffer.allocUnsafeSlow(65_536)

/**
 * HMAC-SHA256 (RFC 2104) of a prefix, which is ASCII, and a body. Two calls of `hash`, which keep nothing for the garbage
 * collector, take half the time of one `createHmac` and its `digest`.
 */
const makeHmac = (key: Buffer) => {
  const short = key.length > blockBytes ? createHash("sha256").update(key).digest() : key
  const inner = Buffer.alloc(blockBytes, 0x36)
  const outer = Buffer.alloc(blockBytes + digestBytes, 0x5c)
  short.forEach((byte, n) => {
    inner[n] = byte ^ 0x36
    outer[n] = byte ^ 0x5c
  })
  return (prefix: string, body: string, encoding: "hex" | "base64"): string => {
    const most = blockBytes + prefix.length + 3 * body.length
    const bytes = most <= scratch.length ? scratch : Buffer.allocUnsafe(most)
    let length = inner.copy(bytes)
    if (prefix !== "") length += bytes.write(prefix, length, "latin1")
    length += bytes.write(body, length)
    outer.write(hash("sha256", bytes.subarray(0, length), "binary"), blockBytes, "latin1")
    return hash("sha256", outer, encoding)
  }
}

export const makeSigner = (secret: string): Signer => {
  const plain = makeHmac(Buffer.from(secret))
  const standard = makeHmac(standardKey(secret))
  return {
    body: (body) => plain("", body, "hex"),
    standard: (id, timestamp, body) => "v1," + standard(`${id}.${timestamp}.`, body, "base64")
  }
}

/** A secret that suits both signatures and every library: 32 random bytes. */
export const generateSecret = (): string => `whsec_${randomBytes(32).toString("base64")}`

/** The secret before the last rotation, which signs too until `until`, in milliseconds since 1970. */
export interface PreviousSecret {
  readonly secret: string
  readonly until: number
}

/** What deliveries are signed by. */
export interface SigningSecrets {
  readonly secret: string | null
  readonly previousSecret: PreviousSecret | null
}

/** Stands for what cannot be decrypted: nothing may be sent, least of all unsigned. */
export const unreadable: unique symbol = Symbol("truss/services/Signing/unreadable")

/** What deliveries are to be signed by, if it can be read. */
export interface StoredSecrets extends Omit<SigningSecrets, "secret"> {
  readonly secret: SigningSecrets["secret"] | typeof unreadable
}

/** Adds the signatures of a request that is made at `nowMs` to its headers, which are names and values in turn. */
export type Sign = (headers: Array<string>, id: string, nowMs: number, body: string) => void

/** Signs with the secret, and during the overlap after a rotation with both, the newer one first. */
export const makeSign = ({ previousSecret, secret }: SigningSecrets): Sign => {
  if (secret === null) return () => {}
  const signer = makeSigner(secret)
  let previous = previousSecret === null
    ? undefined
    : { signer: makeSigner(previousSecret.secret), until: previousSecret.until }
  return (headers, id, nowMs, body) => {
    const timestamp = Math.floor(nowMs / 1000)
    const standard = signer.standard(id, timestamp, body)
    if (previous !== undefined && nowMs >= previous.until) previous = undefined
    if (previous === undefined) {
      headers.push("X-Truss-Signature", signer.body(body), "webhook-signature", standard)
    } else {
      headers.push(
        "X-Truss-Signature",
        signer.body(body),
        "X-Truss-Signature-Previous",
        previous.signer.body(body),
        "webhook-signature",
        `${standard} ${previous.signer.standard(id, timestamp, body)}`
      )
    }
  }
}
