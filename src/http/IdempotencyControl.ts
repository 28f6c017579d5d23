import { Effect, Fiber, Layer } from "effect"
import { HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "effect/http"
import { createHash } from "node:crypto"
import { IdempotencyKeys, type KeptAnswer, type KeyedRequest } from "../services/IdempotencyKeys.ts"
import { Principal } from "./api/Access.ts"
import { Idempotency } from "./api/Idempotency.ts"
import { IdempotencyKeyReused, StillRunning, Unavailable } from "./api/Problems.ts"
import { badRequest } from "./Faults.ts"
import { isReadOnly } from "./ReadOnlyEndpoints.ts"
import { readBytes } from "./RequestBody.ts"

const keyPattern = /^[\x20-\x7e]{1,255}$/

const keptHeaders = ["content-type", "etag", "location"]

const shownOnce = ["secret", "key"]

const problem = (error: HttpServerRespondable.Respondable) => HttpServerRespondable.toResponse(error)

/** A secret is not kept in the clear for a day so that an answer can be given twice. */
const withoutSecrets = (json: string): string => {
  if (!shownOnce.some((name) => json.includes(`"${name}"`))) return json
  const body: unknown = JSON.parse(json)
  if (typeof body !== "object" || body === null || !shownOnce.some((name) => Object.hasOwn(body, name))) return json
  return JSON.stringify(Object.fromEntries(Object.entries(body).filter(([name]) => !shownOnce.includes(name))))
}

const utf8 = new TextDecoder()

/** What is kept of an answer; `undefined` for one that says that nothing was done and that it may be tried again. */
const toKept = ({ body, headers, status }: HttpServerResponse.HttpServerResponse): KeptAnswer | undefined => {
  if (status >= 500 || status === 409) return undefined
  const kept: Record<string, string> = {}
  for (const name of keptHeaders) if (headers[name] !== undefined) kept[name] = headers[name]
  if (body._tag === "Empty") return { status, headers: kept, body: "" }
  if (body._tag !== "Uint8Array") return undefined
  kept["content-type"] ??= body.contentType
  const text = utf8.decode(body.body)
  return {
    status,
    headers: kept,
    body: kept["content-type"].startsWith("application/json") ? withoutSecrets(text) : text
  }
}

const replayed = ({ body, headers, status }: KeptAnswer): HttpServerResponse.HttpServerResponse => {
  const contentType = headers["content-type"]
  const options = { status, headers: { ...headers, "idempotency-replayed": "true" } }
  return contentType === undefined
    ? HttpServerResponse.empty(options)
    : HttpServerResponse.text(body, { ...options, contentType })
}

const digestOf = (request: HttpServerRequest.HttpServerRequest, body: ArrayBuffer) =>
  createHash("sha256").update(`${request.method} ${request.url}\n`).update(new Uint8Array(body)).digest()

/** Around every handler: requests without the header, and those that are no POST, pass as they are. */
export const layerIdempotency = Layer.effect(
  Idempotency,
  Effect.gen(function*() {
    const keys = yield* IdempotencyKeys
    const scope = yield* Effect.scope

    /**
     * Runs whatever becomes of the connection: the client that lost it comes again with the same key, and is to find
     * the answer.
     */
    const run = Effect.fnUntraced(function*<E, R>(
      handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
      token: string,
      request: KeyedRequest
    ) {
      const release = Effect.ignore(keys.release(token, request), { log: "Warn" })
      const answered = handler.pipe(
        Effect.catch((error) => HttpServerRespondable.isRespondable(error) ? problem(error) : Effect.fail(error)),
        Effect.onError(() => release),
        Effect.tap((response) => {
          const answer = toKept(response)
          return answer === undefined ? release : Effect.ignore(keys.keep(token, request, answer), { log: "Warn" })
        })
      )
      const alive = keys.renew(token, request).pipe(
        Effect.ignore({ log: "Warn" }),
        Effect.delay("5 seconds"),
        Effect.forever
      )
      const fiber = yield* Effect.forkIn(Effect.raceFirst(answered, alive), scope)
      return yield* Fiber.join(fiber)
    })

    return Idempotency.of((handler, { endpoint }) =>
      Effect.gen(function*() {
        const request = yield* HttpServerRequest.HttpServerRequest
        const key = request.headers["idempotency-key"]
        if (request.method !== "POST" || key === undefined) return yield* handler
        if (!keyPattern.test(key)) {
          return yield* problem(
            badRequest([{ path: "idempotency-key", message: "must have 1 to 255 printable ASCII characters" }])
          )
        }
        // There is nothing to be kept from happening twice.
        if (isReadOnly(endpoint)) return yield* handler
        const body = yield* Effect.option(readBytes(request))
        // The handler says what is wrong with a body that cannot be read, and does nothing.
        if (body._tag === "None") return yield* handler
        const { id: owner } = yield* Principal
        const keyed = { owner, key, digest: digestOf(request, body.value) }
        const claim = yield* Effect.option(keys.claim(keyed))
        if (claim._tag === "None") return yield* problem(new Unavailable({ detail: "The database does not answer" }))
        switch (claim.value._tag) {
          case "Run":
            return yield* run(handler, claim.value.token, keyed)
          case "Kept":
            return replayed(claim.value.answer)
          case "Running":
            return yield* problem(
              new StillRunning({ detail: "The first request with this Idempotency-Key still runs: ask again" })
            )
          case "Reused":
            return yield* problem(
              new IdempotencyKeyReused({
                detail: "This Idempotency-Key was used for another path or body: every request needs a key of its own"
              })
            )
        }
      })
    )
  })
)
