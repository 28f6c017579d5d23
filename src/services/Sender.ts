/**
 * Sends one POST and tells what came of it. Callbacks and no fibers: this runs once an event, and a fiber around each
 * request halves how many are sent.
 */
import { Context, Effect, Layer } from "effect"
import type { Answer, AttemptError } from "../domain/Attempt.ts"
import { encodeAttemptId } from "../domain/AttemptRef.ts"
import { encodeEventId, type EventRef } from "../domain/EventRef.ts"
import type { EventType } from "../domain/EventType.ts"
import { handedOverStatus, isListenSink } from "../domain/ListenSink.ts"
import { Egress } from "./Egress.ts"
import { makeSign, type StoredSecrets, unreadable } from "./Signing.ts"
import { type Exchange, type Request, Transport } from "./Transport.ts"
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
  ERR_HTTP_PROTOCOL: "protocol",
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
  if (code.startsWith("EAI_") || code.startsWith("ERR_DNS") || code.startsWith("DNS")) return "dns"
  if (/TLS|SSL|CERT|SIGNATURE|ISSUER|EPROTO|UNABLE_TO|DEPTH_ZERO/.test(code)) return "tls"
  return "connection_reset"
}

/** Every attempt fails, and the log says why. */
const refuse = (error: AttemptError): SendMessage => (_, done) => {
  const timer = setImmediate(() =>
    done({ statusCode: null, responseBody: null, latencyMs: 0, error, retryAfter: null })
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

/** What may stand in a header: anything else could end it and begin another one. */
const headerText = /^[\t\x20-\x7e\x80-\xff]*$/

const linesOf = (headers: ReadonlyArray<string>): string => {
  let lines = ""
  for (let i = 0; i < headers.length; i += 2) lines += `${headers[i]}: ${headers[i + 1]}\r\n`
  return lines
}

const decoder = new TextDecoder("utf-8")

/** PostgreSQL's text has no NUL; what is no UTF-8 becomes U+FFFD. */
const toText = (latin1: string): string =>
  /^[\t\r\n\x20-\x7e]*$/.test(latin1)
    ? latin1
    : decoder.decode(Buffer.from(latin1, "latin1")).replaceAll("\0", "\ufffd")

/** One request and what is known of its answer: an object and no closures, since there is one for each event. */
class Attempt implements Exchange {
  private readonly done: Done
  private readonly startedAt = performance.now()
  private request: Request | undefined
  private timer: NodeJS.Timeout | undefined
  /** What is kept of the body, a byte in each character. */
  private kept = ""
  private status = 0
  private retryAfter: string | null = null
  private isFlood = false
  private isOver = false

  constructor(done: Done) {
    this.done = done
  }

  begin(request: Request, timeoutMs: number): void {
    this.request = request
    this.timer = setTimeout(() => this.timeOut(), timeoutMs)
  }

  /** Ends it without an answer. */
  cancel(): void {
    this.isOver = true
    this.abort()
  }

  onHeaders(status: number, retryAfter: string | null, contentLength: number): void {
    this.status = status
    this.retryAfter = retryAfter
    this.isFlood = !(contentLength <= drainedBytes)
  }

  onData(bytes: Buffer, start: number, end: number): void {
    const room = keptBytes - this.kept.length
    if (room === 0) return
    this.kept += bytes.toString("latin1", start, Math.min(end, start + room))
    if (this.kept.length < keptBytes) return
    // All that is kept has come. A little more may follow on a connection worth keeping; a flood is cut off.
    this.onEnd()
    if (this.isFlood) this.abort()
    else this.timer = setTimeout(() => this.abort(), 1_000)
  }

  onEnd(): void {
    this.end(this.status, toText(this.kept), this.status >= 300 && this.status < 400 ? "redirect" : null)
  }

  onError(error: unknown): void {
    this.retryAfter = null
    this.end(null, null, toAttemptError(error))
  }

  private timeOut(): void {
    this.retryAfter = null
    this.abort()
    this.end(null, null, "timeout")
  }

  private abort(): void {
    clearTimeout(this.timer)
    this.request?.abort(this)
  }

  private end(statusCode: number | null, responseBody: string | null, error: AttemptError | null): void {
    clearTimeout(this.timer)
    if (this.isOver) return
    this.isOver = true
    this.done({
      statusCode,
      responseBody,
      latencyMs: performance.now() - this.startedAt,
      error,
      retryAfter: this.retryAfter
    })
  }
}

/** How an endpoint's requests look; made once, used for each. */
const makeSend = (endpoint: Endpoint, transport: Transport): SendMessage => {
  if (isListenSink(endpoint.url)) return handOver
  const { previousSecret, secret } = endpoint
  // Without its secrets nothing goes to an endpoint.
  if (secret === unreadable) return refuse("secret_unreadable")
  const post = transport.to(new URL(endpoint.url))
  const sign = makeSign({ secret, previousSecret })
  const own = Object.entries(endpoint.headers)
  const common = linesOf([
    ...(own.some(([name]) => name.toLowerCase() === "user-agent") ? [] : ["User-Agent", `Truss-Webhooks/${version}`]),
    ...own.flat(),
    "Content-Type",
    "application/json"
  ])
  if (!own.flat().every((text) => headerText.test(text))) return refuse("protocol")
  return ({ body, headers: more, id }, done) => {
    const attempt = new Attempt(done)
    const now = Date.now()
    const headers = [...more, "webhook-id", id, "webhook-timestamp", String(Math.floor(now / 1000))]
    sign(headers, id, now, body)
    attempt.begin(post(common + linesOf(headers), body, attempt), endpoint.timeoutMs)
    return () => attempt.cancel()
  }
}

const toMessage = ({ body, eventType, nonce, ref, traceparent }: Delivery, hasOwn: boolean): Message => {
  const headers = ["X-Truss-Event", eventType, "X-Truss-Delivery", encodeAttemptId({ eventSeq: ref.seq, nonce })]
  if (traceparent !== undefined && !hasOwn) headers.push("traceparent", traceparent)
  return { id: encodeEventId(ref), body, headers }
}

/** The process's outgoing connections. */
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
      const transport = new Transport(egress)
      yield* Effect.addFinalizer(() => Effect.sync(() => transport.close()))
      const checked = (send: SendMessage): SendMessage => (message, done) =>
        (headerText.test(message.id) && message.headers.every((text) => headerText.test(text))
          ? send
          : refuse("protocol"))(
            message,
            done
          )
      return Sender.of({
        to: (endpoint) => {
          const send = makeSend(endpoint, transport)
          const hasOwn = Object.keys(endpoint.headers).some((name) => name.toLowerCase() === "traceparent")
          return (delivery, done) => send(toMessage(delivery, hasOwn), done)
        },
        messages: (endpoint) => checked(makeSend(endpoint, transport))
      })
    })
  )
}
