import { Effect, Queue, Schema } from "effect"
import { createHmac, timingSafeEqual } from "node:crypto"
import { createServer, type IncomingMessage } from "node:http"

/** A row of the demo's table. */
export const Order = Schema.Struct({
  id: Schema.Int,
  customer: Schema.String,
  total: Schema.Finite,
  status: Schema.String
})
export type Order = typeof Order.Type

const Body = Schema.fromJsonString(Schema.Struct({
  event: Schema.String,
  row: Schema.NullOr(Order),
  old_row: Schema.NullOr(Order),
  timestamp: Schema.String
}))
export type Body = typeof Body.Type

/** A request that came in, and what was answered. */
export interface Arrival {
  readonly eventId: string
  /** `undefined` when it is no change of an order. */
  readonly body: Body | undefined
  readonly text: string
  readonly verified: boolean
  readonly statusCode: number
  /** `performance.now()` when the request was complete. */
  readonly at: number
}

const decode = Schema.decodeUnknownOption(Body)

const verify = (secret: string, body: Buffer, signature: unknown): boolean => {
  if (typeof signature !== "string") return false
  const expected = createHmac("sha256", secret).update(body).digest()
  const given = Buffer.from(signature, "hex")
  return given.length === expected.length && timingSafeEqual(given, expected)
}

const readBody = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/**
 * What a user would write: an HTTP server that verifies `X-Truss-Signature` and answers 204, or 401. `failNext` makes
 * it answer 500 once. It listens on a free port of this machine for as long as the scope.
 */
export const openReceiver = Effect.fnUntraced(function*(secret: string) {
  const arrivals = yield* Queue.unbounded<Arrival>()
  const failing = { next: false }
  const server = createServer(async (request, response) => {
    const body = await readBody(request).catch(() => undefined)
    if (body === undefined) return
    const at = performance.now()
    const verified = verify(secret, body, request.headers["x-truss-signature"])
    const statusCode = !verified ? 401 : failing.next ? 500 : 204
    if (verified) failing.next = false
    response.writeHead(statusCode).end()
    const text = body.toString()
    const decoded = decode(text)
    Queue.offerUnsafe(arrivals, {
      eventId: String(request.headers["webhook-id"]),
      body: decoded._tag === "Some" ? decoded.value : undefined,
      text,
      verified,
      statusCode,
      at
    })
  })
  const port = yield* Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.once("error", (error) => resume(Effect.die(error)))
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  )
  return {
    url: `http://127.0.0.1:${port}/orders`,
    arrivals,
    failNext: Effect.sync(() => {
      failing.next = true
    })
  }
})

export type Receiver = Effect.Success<ReturnType<typeof openReceiver>>
