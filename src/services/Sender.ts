/**
 * Sends one POST and tells what came of it. Callbacks and no fibers: this runs once an event, and a fiber around each
 * request halves how many are sent.
 */
import { Context, Effect, Layer } from "effect"
import type { Answer, AttemptError } from "../domain/Attempt.ts"
import { encodeAttemptId } from "../domain/AttemptRef.ts"
import { encodeEventId, type EventRef } from "../domain/EventRef.ts"
import type { EventType } from "../domain/EventType.ts"
import { isInProcess } from "../domain/InProcess.ts"
import { handedOverStatus, isListenSink } from "../domain/ListenSink.ts"
import { Egress } from "./Egress.ts"
import { makeSign, type StoredSecrets, unreadable } from "./Signing.ts"
import { Subscribers } from "./Subscribers.ts"
import { nodeTransport, type Transport, undiciTransport } from "./Transport.ts"
import { version } from "./Version.ts"

/** Bytes of an answer's body that are kept. */
const keptBytes = 1024

/** What may follow is read and dropped when it is no more than this, so that the connection can be used again. */
const drainedBytes = 65_536

/** What a webhook's deliveries have in common. */
export interface Endpoint extends StoredSecrets {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly timeoutMs: number
}

/** One request: its id by Standard Webhooks, its bytes, and headers of its own, names and values in turn. */
export interface Message {
  readonly id: string
  readonly body: string
  readonly headers: ReadonlyArray<string>
}

/** One delivery: the event's bytes as they are stored, and the number its log entry will have. */
export interface Delivery {
  readonly ref: EventRef
  readonly eventType: EventType
  readonly body: string
  readonly nonce: number
  /** Its span, where the endpoint is told: see DeliveryTrace.ts. */
  readonly traceparent?: string | undefined
}

export type Done = (answer: Answer) => void

/** Starts an attempt; the returned function ends it early, without an answer. */
export type SendOne<A> = (what: A, done: Done) => () => void
export type Send = SendOne<Delivery>
export type SendMessage = SendOne<Message>

/** One attempt as an effect, for whoever waits for its answer. */
export const attempt = <A>(send: SendOne<A>, what: A): Effect.Effect<Answer> =>
  Effect.callback((resume) => Effect.sync(send(what, (answer) => resume(Effect.succeed(answer)))))

const refusals: Record<string, AttemptError> = {
  ECONNREFUSED: "connection_refused",
  ECONNRESET: "connection_reset",
  EPIPE: "connection_reset",
  ECONNABORTED: "connection_reset",
  ConnectionClosed: "connection_reset",
  ConnectionRefused: "connection_refused",
  UND_ERR_SOCKET: "connection_reset",
  UND_ERR_CLOSED: "connection_reset",
  UND_ERR_DESTROYED: "connection_reset",
  UND_ERR_CONNECT_TIMEOUT: "timeout",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "protocol",
  UND_ERR_RES_EXCEEDED_MAX_SIZE: "protocol",
  UND_ERR_HEADERS_OVERFLOW: "protocol",
  ERR_BLOCKED_ADDRESS: "blocked_address",
  ENOTFOUND: "dns",
  EAI_AGAIN: "dns",
  EAI_FAIL: "dns",
  ENODATA: "dns",
  ETIMEDOUT: "timeout",
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  EADDRNOTAVAIL: "unreachable",
  EHOSTDOWN: "unreachable",
  ENETDOWN: "unreachable"
}

/** What a socket's or the parser's error means to whoever reads the log. */
export const toAttemptError = (error: unknown): AttemptError => {
  const code = typeof error === "object" && error !== null && "code" in error ? String(error.code) : ""
  const known = refusals[code]
  if (known !== undefined) return known
  if (code.startsWith("HPE_") || error instanceof Error && error.name === "HTTPParserError") return "protocol"
  if (code.startsWith("EAI_") || code.startsWith("ERR_DNS") || code.startsWith("DNS")) return "dns"
  if (/TLS|SSL|CERT|SIGNATURE|ISSUER|EPROTO|UNABLE_TO|DEPTH_ZERO/.test(code)) return "tls"
  return "connection_reset"
}

/** Every attempt fails, and the log says why: without its secrets nothing goes to an endpoint. */
const refuse: SendMessage = (_, done) => {
  const timer = setImmediate(() =>
    done({ statusCode: null, responseBody: null, latencyMs: 0, error: "secret_unreadable", retryAfter: null })
  )
  return () => clearImmediate(timer)
}

const handedOver: Answer = {
  statusCode: handedOverStatus,
  responseBody: null,
  latencyMs: 0,
  error: null,
  retryAfter: null
}

/** Sends nothing: who follows the log takes it from there. */
const handOver: SendMessage = (_, done) => {
  const soon = setImmediate(() => done(handedOver))
  return () => clearImmediate(soon)
}

/** There is no function to call any more: the attempt was broken off before it began. */
const breakOff: Send = (_, done) => {
  const soon = setImmediate(() =>
    done({ statusCode: null, responseBody: null, latencyMs: 0, error: "aborted", retryAfter: null })
  )
  return () => clearImmediate(soon)
}

/** How an endpoint's requests look; made once, used for each. */
const makeSend = (endpoint: Endpoint, transports: Transports): SendMessage => {
  if (isListenSink(endpoint.url)) return handOver
  const { previousSecret, secret } = endpoint
  if (secret === unreadable) return refuse
  const url = new URL(endpoint.url)
  let post = transports.first.to(url)
  const sign = makeSign({ secret, previousSecret })
  const own = Object.entries(endpoint.headers)
  const common = [
    ...(own.some(([name]) => name.toLowerCase() === "user-agent") ? [] : ["User-Agent", `Truss-Webhooks/${version}`]),
    ...own.flat(),
    "Host",
    url.host,
    "Content-Type",
    "application/json"
  ]
  return ({ body, headers: more, id }, done) => {
    const started = performance.now()
    const now = Date.now()
    const headers = common.concat(more, ["webhook-id", id, "webhook-timestamp", String(Math.floor(now / 1000))])
    sign(headers, id, now, body)
    const chunks: Array<Buffer> = []
    let size = 0
    let status = 0
    let retryAfter: string | null = null
    let flood = false
    let over = false
    let starting = true
    let timer: NodeJS.Timeout | undefined = undefined
    const end = (statusCode: number | null, responseBody: string | null, error: AttemptError | null): void => {
      if (starting) return queueMicrotask(() => end(statusCode, responseBody, error))
      if (over) return
      over = true
      clearTimeout(timer)
      done({ statusCode, responseBody, latencyMs: performance.now() - started, error, retryAfter })
    }
    const finish = () => {
      clearTimeout(timer)
      end(status, toText(chunks), status >= 300 && status < 400 ? "redirect" : null)
    }
    const fail = (error: unknown) => {
      clearTimeout(timer)
      // undici gives up on a server that says 100 Continue without being asked; the other way bears it.
      if (error instanceof Error && error.message === "bad response") post = transports.second().to(url)
      retryAfter = null
      end(null, null, toAttemptError(error))
    }
    const abort = post(headers, body, {
      onHeaders: (code, after, length) => {
        status = code
        retryAfter = after
        flood = !(length <= drainedBytes)
      },
      onData: (chunk) => {
        if (size >= keptBytes) return
        chunks.push(size + chunk.length > keptBytes ? chunk.subarray(0, keptBytes - size) : chunk)
        size += chunk.length
        if (size < keptBytes) return
        // All that is kept has come. A little more may follow on a connection worth keeping; a flood is cut off.
        finish()
        if (flood) abort()
        else timer = setTimeout(abort, 1_000)
      },
      onEnd: finish,
      onError: fail
    })
    starting = false
    timer = setTimeout(() => {
      retryAfter = null
      end(null, null, "timeout")
      abort()
    }, endpoint.timeoutMs)
    return () => {
      over = true
      clearTimeout(timer)
      abort()
    }
  }
}

const toMessage = ({ body, eventType, nonce, ref, traceparent }: Delivery, hasOwn: boolean): Message => {
  const headers = ["X-Truss-Event", eventType, "X-Truss-Delivery", encodeAttemptId({ eventSeq: ref.seq, nonce })]
  if (traceparent !== undefined && !hasOwn) headers.push("traceparent", traceparent)
  return { id: encodeEventId(ref), body, headers }
}

interface Transports {
  readonly first: Transport
  /** Made when it is needed. */
  readonly second: () => Transport
}

const decoder = new TextDecoder("utf-8")

/** PostgreSQL's text has no NUL; what is no UTF-8 becomes U+FFFD. */
const toText = (chunks: ReadonlyArray<Buffer>): string =>
  chunks.length === 0
    ? ""
    : decoder.decode(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)).replaceAll("\0", "\ufffd")

/** The process's outgoing connections, and the functions that are called instead of an endpoint. */
export class Sender extends Context.Service<Sender, {
  /** How deliveries to this endpoint are sent. */
  to(endpoint: Endpoint): Send
  /** How anything else is sent there. */
  messages(endpoint: Endpoint): SendMessage
}>()("truss/services/Sender") {
  static readonly layer = Layer.effect(
    Sender,
    Effect.gen(function*() {
      const egress = yield* Egress
      const subscribers = yield* Subscribers
      const open: Array<Transport> = []
      const opened = (transport: Transport) => {
        open.push(transport)
        return transport
      }
      yield* Effect.addFinalizer(() => Effect.sync(() => open.forEach((transport) => transport.close())))
      const first = opened(process.versions["bun"] === undefined ? undiciTransport(egress) : nodeTransport(egress))
      const transports: Transports = { first, second: () => open[1] ?? opened(nodeTransport(egress)) }
      const messages = (endpoint: Endpoint) => makeSend(endpoint, transports)
      return Sender.of({
        to: (endpoint) => {
          if (isInProcess(endpoint.url)) {
            const subscriber = subscribers.get(endpoint.url)
            return subscriber === undefined
              ? breakOff
              : (delivery, done) => subscriber.start(delivery, endpoint.timeoutMs, done)
          }
          const send = messages(endpoint)
          const hasOwn = Object.keys(endpoint.headers).some((name) => name.toLowerCase() === "traceparent")
          return (delivery, done) => send(toMessage(delivery, hasOwn), done)
        },
        messages
      })
    })
  )
}
