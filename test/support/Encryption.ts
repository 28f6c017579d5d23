import { type EncryptionKeys, parseEncryptionKeys } from "../../src/services/EncryptionKey.ts"

/** The key of every service under test, unless it is about keys. */
export const testKey = Buffer.alloc(32, "test key").toString("base64")

export const keysOf = (...texts: ReadonlyArray<string>): EncryptionKeys => {
  const keys = parseEncryptionKeys(texts.join(","))
  if (keys === undefined) throw new Error("no encryption keys")
  return keys
}

export const testKeys = keysOf(testKey)
