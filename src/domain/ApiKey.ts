import { Schema } from "effect"
import { Time } from "./Time.ts"
import { printable } from "./Webhook.ts"

/** What a key may do: `read` reads, `write` changes things too. */
export const KeyScope = Schema.Literals(["read", "write"])
export type KeyScope = typeof KeyScope.Type

/** An API key as it is shown: `prefix` is its first 16 characters, the rest is not stored. */
export const ApiKey = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  scope: KeyScope,
  prefix: Schema.String,
  created_at: Time,
  last_used_at: Schema.NullOr(Time)
}).annotate({ identifier: "ApiKey" })
export type ApiKey = typeof ApiKey.Type

/** The body of `POST /keys`. */
export const ApiKeyCreate = Schema.Struct({
  name: printable("name", 1, 200),
  scope: KeyScope
}).annotate({ identifier: "ApiKeyCreate" })
export type ApiKeyCreate = typeof ApiKeyCreate.Type

/** A new API key: the only time that `key` is shown. */
export const CreatedApiKey = Schema.Struct({ ...ApiKey.fields, key: Schema.String }).annotate({
  identifier: "CreatedApiKey"
})

/** Every key starts with this, so that scanners for leaked secrets know it. */
export const keyPrefix = "truss_sk_"

const generated = /^truss_sk_[A-Za-z0-9_-]{43}$/

/** Whether a string can be a key that was made here: `truss_sk_` and 32 random bytes in base64url. */
export const isGeneratedKey = (key: string): boolean => generated.test(key)

/** No such API key. */
export class ApiKeyNotFound extends Schema.TaggedError<ApiKeyNotFound>()("ApiKeyNotFound", {
  id: Schema.String
}) {}
