import { createHmac, createSecretKey, type KeyObject, randomBytes } from "node:crypto"

/** A key for secrets at rest. Its material is in a `KeyObject`, which no log and no JSON shows. */
export interface EncryptionKey {
  /** Tells the key from others without telling anything about it: 16 hex digits, always the same for the same key. */
  readonly id: string
  readonly material: KeyObject
}

/** The keys of a process: the first encrypts, all decrypt. */
export type EncryptionKeys = readonly [EncryptionKey, ...ReadonlyArray<EncryptionKey>]

const keyBytes = 32

const toKey = (bytes: Buffer): EncryptionKey => {
  const material = createSecretKey(bytes)
  const id = createHmac("sha256", material).update("truss-webhooks encryption key").digest("hex").slice(0, 16)
  return { id, material }
}

/** Reads 32 bytes in base64, of either alphabet, padded or not; `undefined` for anything else. */
const parseEncryptionKey = (text: string): EncryptionKey | undefined => {
  const bytes = Buffer.from(text, "base64")
  const written = text.replaceAll("-", "+").replaceAll("_", "/").replace(/=$/, "")
  return bytes.length === keyBytes && bytes.toString("base64").slice(0, -1) === written ? toKey(bytes) : undefined
}

/** Reads keys with commas or line breaks between them, newest first; `undefined` if one of them is none. */
export const parseEncryptionKeys = (text: string): EncryptionKeys | undefined => {
  const keys = new Map<string, EncryptionKey>()
  for (const part of text.trim().split(/\s*,\s*|\s+/)) {
    const key = parseEncryptionKey(part)
    if (key === undefined) return undefined
    keys.set(key.id, key)
  }
  const [first, ...rest] = keys.values()
  return first === undefined ? undefined : [first, ...rest]
}

/** A new key as text, as `openssl rand -base64 32` prints it. */
export const generateEncryptionKey = (): string => randomBytes(keyBytes).toString("base64")

/** A new key that is kept nowhere: for a database that lives no longer than the process. */
export const newEncryptionKeys = (): EncryptionKeys => [toKey(randomBytes(keyBytes))]
