import { ByteSize, Effect, Schema } from "effect"
import { HttpIncomingMessage, type HttpServerRequest } from "effect/http"
import { ContentTooLarge, UnsupportedMediaType } from "./api/Problems.ts"
import { badRequest, badRequestOf } from "./Faults.ts"

/** The largest body of a request, in bytes. */
export const maxBodyBytes = 1_048_576

/** Of a larger body only the first fault is told: each costs 20 microseconds, and half a million fit into 1 MiB. */
const allFaultsBytes = 32_768

/** Deeper than any body that means something, and far from any parser's stack. */
const maxDepth = 64

const utf8 = new TextDecoder("utf-8", { fatal: true })

const tooLarge = () => new ContentTooLarge({ detail: "The body is over 1 MiB" })

/** Whether a body of that type is JSON; one that names none is taken for it. */
export const isJson = (contentType: string | undefined) =>
  contentType === undefined || /^\s*application\/json\s*(?:;\s*(?:charset\s*=\s*"?utf-8"?\s*)?)?$/i.test(contentType)

const isNested = (json: string): boolean => {
  let depth = 0
  for (let i = 0; i < json.length; i++) {
    switch (json.charCodeAt(i)) {
      case 0x22:
        for (i++; i < json.length && json.charCodeAt(i) !== 0x22; i++) if (json.charCodeAt(i) === 0x5c) i++
        break
      case 0x5b:
      case 0x7b:
        if (++depth > maxDepth) return true
        break
      case 0x5d:
      case 0x7d:
        depth--
    }
  }
  return false
}

const malformed = (message: string) => badRequest([{ path: "", message }])

/** The body's bytes, read no further than 1 MiB. */
export const readBytes = (request: HttpServerRequest.HttpServerRequest) =>
  Number(request.headers["content-length"] ?? 0) > maxBodyBytes
    ? Effect.fail(tooLarge())
    : request.arrayBuffer.pipe(
      Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(maxBodyBytes)),
      Effect.mapError(({ reason }) =>
        reason._tag === "RequestParseError" && reason.reason === "BodyTooLarge"
          ? tooLarge()
          : malformed("the body could not be read")
      )
    )

const readJson = Effect.fnUntraced(function*(request: HttpServerRequest.HttpServerRequest) {
  const bytes = yield* readBytes(request)
  if (bytes.byteLength === 0) return undefined
  const encoding = request.headers["content-encoding"]
  if (!isJson(request.headers["content-type"]) || (encoding !== undefined && encoding !== "identity")) {
    return yield* new UnsupportedMediaType({ detail: "The body must be application/json, in UTF-8, not compressed" })
  }
  return yield* Effect.try({
    try: () => {
      const text = utf8.decode(bytes)
      return isNested(text) ? undefined : { value: JSON.parse(text) as unknown, bytes: bytes.byteLength }
    },
    catch: () => malformed("must be valid JSON")
  }).pipe(
    Effect.filterOrFail((parsed) => parsed !== undefined, () => malformed(`must not be nested over ${maxDepth} deep`))
  )
})

/**
 * Reads and decodes a JSON object; an absent body stands for `empty` where it is given. Fails with 400 and every fault
 * at once (of a body over 32 KiB the first), 413 or 415.
 */
export const decodeBody = <A, I>(schema: Schema.Codec<A, I>, empty?: I) => {
  const decode = Schema.decodeUnknownEffect(schema, { errors: "all", onExcessProperty: "error" })
  const decodeLarge = Schema.decodeUnknownEffect(schema, { errors: "first", onExcessProperty: "error" })
  return Effect.fnUntraced(function*(request: HttpServerRequest.HttpServerRequest) {
    const body = yield* readJson(request)
    const value = body === undefined ? empty : body.value
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return yield* malformed("must be a JSON object")
    }
    const isLarge = body !== undefined && body.bytes > allFaultsBytes
    return yield* Effect.mapError(isLarge ? decodeLarge(value) : decode(value), badRequestOf)
  })
}
