import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto"
import type { WebhookId } from "../domain/Webhook.ts"
import type { EncryptionKey } from "./EncryptionKey.ts"

const algorithm = "aes-256-gcm"
const nonceBytes = 12
const authTagLength = 16

/** Where a value stands in its webhook. Names of headers ignore case. */
export type Place = "secret" | "previous_secret" | `headers.${string}`

export const headerPlace = (name: string): Place => `headers.${name.toLowerCase()}`

/** What values begin with that were stored in the clear, before there was encryption. */
export const plainPrefix = "v0."

/** What values begin with that this key encrypted. */
export const sealedPrefix = (keyId: string): string => `v1.${keyId}.`

// A value that was moved to another webhook, column or header does not decrypt there.
const boundTo = (prefix: string, id: WebhookId, place: Place) => Buffer.from(`${prefix}${id}.${place}`, "utf8")

/** `v1.<key id>.<base64url>` of a random 96-bit nonce, what AES-256-GCM makes of the value, and its tag. */
export const seal = (key: EncryptionKey, id: WebhookId, place: Place, value: string): string => {
  const prefix = sealedPrefix(key.id)
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv(algorithm, key.material, nonce, { authTagLength })
  cipher.setAAD(boundTo(prefix, id, place))
  const sealed = [nonce, cipher.update(value, "utf8"), cipher.final(), cipher.getAuthTag()]
  return prefix + Buffer.concat(sealed).toString("base64url")
}

/** The value that was sealed; `undefined` when no key fits, the place is another, or a bit has changed. */
export const unseal = (
  keys: ReadonlyArray<EncryptionKey>,
  id: WebhookId,
  place: Place,
  sealed: string
): string | undefined => {
  const key = keys.find((key) => sealed.startsWith(sealedPrefix(key.id)))
  if (key === undefined) return undefined
  const prefix = sealedPrefix(key.id)
  const bytes = Buffer.from(sealed.slice(prefix.length), "base64url")
  if (bytes.length < nonceBytes + authTagLength) return undefined
  try {
    const decipher = createDecipheriv(algorithm, key.material, bytes.subarray(0, nonceBytes), { authTagLength })
    decipher.setAAD(boundTo(prefix, id, place))
    decipher.setAuthTag(bytes.subarray(-authTagLength))
    return decipher.update(bytes.subarray(nonceBytes, -authTagLength), undefined, "utf8") + decipher.final("utf8")
  } catch {
    return undefined
  }
}
