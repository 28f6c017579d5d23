import { createHmac, createSecretKey, randomBytes } from "node:crypto"

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

export const makeSigner = (secret: string): Signer => {
  const plainKey = createSecretKey(secret, "utf8")
  const key = createSecretKey(standardKey(secret))
  return {
    body: (body) => createHmac("sha256", plainKey).update(body).digest("hex"),
    standard: (id, timestamp, body) =>
      "v1," + createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64")
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
