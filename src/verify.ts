/**
 * Verifies deliveries where they arrive: `truss-webhooks/verify`. One file without dependencies, on WebCrypto alone, so
 * that it runs in Node, Bun, Deno, browsers and edge runtimes.
 */

/** The request's body as it came: its bytes, or its text if nothing has parsed it. */
export type Body = string | ArrayBuffer | ArrayBufferView

/** The request's headers: names in any case, a repeated header as an array. */
export type HeadersInput =
  | Iterable<readonly [name: string, value: string]>
  | Readonly<Record<string, string | ReadonlyArray<string> | undefined>>

export interface VerifyOptions {
  readonly body: Body
  /** A `Headers`, a `Map`, pairs, or an object such as `request.headers` of Node. */
  readonly headers: HeadersInput
  /** The webhook's secret, or several of which one must fit, such as the old and the new one. */
  readonly secret: string | ReadonlyArray<string>
}

export interface VerifyStandardOptions extends VerifyOptions {
  /** How far `webhook-timestamp` may be from this machine's clock, either way; 300 unless said. */
  readonly toleranceSeconds?: number | undefined
  /** Milliseconds since 1970; this machine's clock unless said. */
  readonly now?: number | undefined
}

/** A change as it is delivered; numbers beyond 2^53 lose digits here, the body's text has them all. */
export type Change<Row = Record<string, unknown>> =
  & {
    readonly schema: string
    readonly table: string
    /** When the change was made, ISO 8601 in UTC. */
    readonly timestamp: string
    /** The body was over the limit: the rows hold no more than the primary key. */
    readonly truncated?: true
  }
  & (
    | { readonly event: "INSERT" | "TEST"; readonly row: Row; readonly old_row: null }
    | { readonly event: "UPDATE"; readonly row: Row; readonly old_row: Row }
    | { readonly event: "DELETE"; readonly row: null; readonly old_row: Row }
    | { readonly event: "TRUNCATE"; readonly row: null; readonly old_row: null }
  )

/**
 * - `missing_header`, `malformed_header`: the request is not a signed delivery
 * - `timestamp_out_of_tolerance`: an old request that is sent again, or a clock that is wrong
 * - `no_match`: another secret, or another body than was sent
 * - `body_not_raw`: what was given is not what came over the wire, but what a parser made of it
 * - `not_json`: the signature holds, and the body is not JSON
 * - `bad_argument`: no secret, no headers, a tolerance that is no number
 * - `no_webcrypto`: this runtime, or a page that is not served over HTTPS, has none
 */
export type VerificationReason =
  | "missing_header"
  | "malformed_header"
  | "timestamp_out_of_tolerance"
  | "no_match"
  | "body_not_raw"
  | "not_json"
  | "bad_argument"
  | "no_webcrypto"

/** The request must be refused. `message` says why and what to do; it has nothing of the secret or the body in it. */
export class VerificationError extends Error {
  override readonly name = "VerificationError"
  readonly reason: VerificationReason
  constructor(reason: VerificationReason, message: string) {
    super(message)
    this.reason = reason
  }
}

const encoder = new TextEncoder()

const rawBodyHint =
  "pass the request's bytes as they came: `await request.arrayBuffer()` of a Request, the chunks of a " +
  "node:http request, `express.raw({ type: \"application/json\" })` in Express instead of `express.json()`"

/** A copy: nobody can change it between the check and the parsing. */
const bytesOf = (body: unknown): Uint8Array<ArrayBuffer> => {
  if (typeof body === "string") return encoder.encode(body)
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice()
  // One of another realm, such as a worker's or a test runner's, is no instance of ours.
  if (Object.prototype.toString.call(body) === "[object ArrayBuffer]") {
    return new Uint8Array(body as ArrayBuffer).slice()
  }
  throw new VerificationError(
    "body_not_raw",
    body === undefined || body === null
      ? `There is no body; ${rawBodyHint}`
      : `The body is ${
        typeof body === "object" ? "an object, such as a parser makes" : `a ${typeof body}`
      }, and writing it ` +
        `as JSON again gives other bytes than were signed; ${rawBodyHint}`
  )
}

/** Every value of every header, by its name in lower case. */
type HeaderValues = ReadonlyMap<string, ReadonlyArray<string>>

const readHeaders = (headers: HeadersInput): HeaderValues => {
  if (typeof headers !== "object" || headers === null) {
    throw new VerificationError("bad_argument", "There are no headers; pass those of the request")
  }
  const pairs = Symbol.iterator in headers ? headers as Iterable<readonly [string, string]> : Object.entries(headers)
  const read = new Map<string, Array<string>>()
  for (const [name, value] of pairs) {
    if (value === undefined) continue
    const key = String(name).toLowerCase()
    read.set(key, [...read.get(key) ?? [], ...[value].flat().map(String)])
  }
  return read
}

const valuesOf = (headers: HeaderValues, name: string) => headers.get(name) ?? []

const missing = (name: string) =>
  new VerificationError(
    "missing_header",
    `There is no header ${name}: this is no signed delivery, the webhook has no secret, or a proxy took the header off`
  )

const valueOf = (headers: HeaderValues, name: string): string => {
  const [value, ...more] = valuesOf(headers, name)
  if (value === undefined || value === "") throw missing(name)
  if (more.length > 0) throw new VerificationError("malformed_header", `The header ${name} is there more than once`)
  return value
}

const secretsOf = (secret: unknown): ReadonlyArray<string> => {
  const secrets: ReadonlyArray<unknown> = Array.isArray(secret) ? secret : [secret]
  if (secrets.length === 0 || secrets.some((one) => typeof one !== "string" || one === "")) {
    throw new VerificationError("bad_argument", "The secret is empty or missing: is the environment variable set?")
  }
  return secrets as ReadonlyArray<string>
}

/** Only the one way to write these bytes: otherwise a changed signature could hold. */
const fromBase64 = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text) || text.length % 4 !== 0) return undefined
  const binary = atob(text)
  return btoa(binary) === text ? Uint8Array.from(binary, (char) => char.charCodeAt(0)) : undefined
}

const fromHex = (text: string): Uint8Array<ArrayBuffer> | undefined =>
  /^[0-9a-f]{64}$/.test(text) ? Uint8Array.from(text.match(/../g)!, (pair) => parseInt(pair, 16)) : undefined

/** The bytes behind `whsec_` when they are base64 of 24–64 bytes, else the whole secret. */
const standardKey = (secret: string): Uint8Array<ArrayBuffer> => {
  const bytes = secret.startsWith("whsec_") ? fromBase64(secret.slice(6)) : undefined
  return bytes !== undefined && bytes.length >= 24 && bytes.length <= 64 ? bytes : encoder.encode(secret)
}

/** Each costs an HMAC of the body; there are two while a secret is being rotated. */
const maxSignatures = 16

/** Whether one of the keys made one of the signatures. `subtle.verify` compares in constant time. */
const matches = async (
  keys: ReadonlyArray<Uint8Array<ArrayBuffer>>,
  signatures: ReadonlyArray<Uint8Array<ArrayBuffer>>,
  signed: Uint8Array<ArrayBuffer>
): Promise<boolean> => {
  const subtle = globalThis.crypto?.subtle
  if (subtle === undefined) {
    throw new VerificationError(
      "no_webcrypto",
      "There is no WebCrypto here: Node has it from version 20 on, browsers on pages served over HTTPS or by localhost"
    )
  }
  if (signatures.length > maxSignatures) {
    throw new VerificationError("malformed_header", `There are more than ${maxSignatures} signatures`)
  }
  for (const bytes of keys) {
    const key = await subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["verify"])
    for (const signature of signatures) if (await subtle.verify("HMAC", key, signature, signed)) return true
  }
  return false
}

/** What most likely went wrong, from what can be seen without the right secret. */
const noMatch = (bytes: Uint8Array, headers: HeaderValues, secrets: ReadonlyArray<string>): VerificationError => {
  const [length] = valuesOf(headers, "content-length")
  if (length !== undefined && /^\d+$/.test(length) && Number(length) !== bytes.length) {
    return new VerificationError(
      "body_not_raw",
      `The body has ${bytes.length} bytes, and the request had ${length}: it was changed since it came, by parsing it and ` +
        `writing it again, by decoding it, or by cutting it off; ${rawBodyHint}`
    )
  }
  if (secrets.some((secret) => secret !== secret.trim())) {
    return new VerificationError(
      "no_match",
      "The signature does not fit, and the secret begins or ends with a space or a line break: take that off"
    )
  }
  return new VerificationError(
    "no_match",
    `The signature does not fit: the secret is not the webhook's, or the body is not what was sent; ${rawBodyHint}`
  )
}

const parse = <Row>(bytes: Uint8Array): Change<Row> => {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes))
  } catch {
    throw new VerificationError("not_json", "The signature holds, but the body is not JSON")
  }
}

/**
 * Verifies `X-Truss-Signature`, the hex HMAC-SHA256 of the body, and gives the change. While a secret is being rotated
 * `X-Truss-Signature-Previous` counts as well, so that a receiver may have either. Rejects with a `VerificationError`.
 *
 * It does not cover the time of the request: `verifyStandard` keeps a recorded one from being sent again.
 */
export const verifySignature = async <Row = Record<string, unknown>>(options: VerifyOptions): Promise<Change<Row>> => {
  const headers = readHeaders(options.headers)
  const secrets = secretsOf(options.secret)
  const bytes = bytesOf(options.body)
  const given = valuesOf(headers, "x-truss-signature").filter((value) => value !== "")
  if (given.length === 0) throw missing("X-Truss-Signature")
  const signatures = [...given, ...valuesOf(headers, "x-truss-signature-previous")].map(fromHex)
  if (signatures[0] === undefined) {
    throw new VerificationError("malformed_header", "X-Truss-Signature is not 64 lower-case hex digits")
  }
  const keys = secrets.map((secret) => encoder.encode(secret))
  if (!await matches(keys, signatures.filter((one) => one !== undefined), bytes)) throw noMatch(bytes, headers, secrets)
  return parse(bytes)
}

/**
 * Verifies `webhook-signature` as Standard Webhooks has it, over the event's id, the time of the attempt and the body,
 * and gives the change. Of several signatures, which there are while a secret is being rotated, one must fit. Rejects
 * with a `VerificationError`. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
export const verifyStandard = async <Row = Record<string, unknown>>(
  options: VerifyStandardOptions
): Promise<Change<Row>> => {
  const { now = Date.now(), toleranceSeconds = 300 } = options
  const headers = readHeaders(options.headers)
  if (!(toleranceSeconds >= 0)) throw new VerificationError("bad_argument", "toleranceSeconds must be 0 or more")
  const secrets = secretsOf(options.secret)
  const bytes = bytesOf(options.body)
  const id = valueOf(headers, "webhook-id")
  const timestamp = valueOf(headers, "webhook-timestamp")
  const given = valuesOf(headers, "webhook-signature").flatMap((value) => value.split(" ")).filter((one) => one !== "")
  if (given.length === 0) throw missing("webhook-signature")
  if (!/^\d{1,12}$/.test(timestamp)) {
    throw new VerificationError("malformed_header", "webhook-timestamp is not a time in seconds since 1970")
  }
  const signatures = given.flatMap((one) => (one.startsWith("v1,") ? fromBase64(one.slice(3)) : undefined) ?? [])
  if (signatures.length === 0) {
    throw new VerificationError("malformed_header", "webhook-signature has no signature of the kind v1,<base64>")
  }
  const age = Math.floor(now / 1000) - Number(timestamp)
  if (!(Math.abs(age) <= toleranceSeconds)) {
    throw new VerificationError(
      "timestamp_out_of_tolerance",
      `The request was signed ${Math.abs(age)} s ${
        age > 0 ? "ago" : "from now"
      }, and ${toleranceSeconds} s are let pass: ` +
        "it was recorded and sent again, or a clock is wrong"
    )
  }
  const prefix = encoder.encode(`${id}.${timestamp}.`)
  const signed = new Uint8Array(prefix.length + bytes.length)
  signed.set(prefix)
  signed.set(bytes, prefix.length)
  if (!await matches(secrets.map(standardKey), signatures, signed)) throw noMatch(bytes, headers, secrets)
  return parse(bytes)
}
