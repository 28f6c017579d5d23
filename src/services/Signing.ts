import { createHmac, createSecretKey } from "node:crypto"

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
