/**
 * Sends one POST and tells what came of it. Callbacks and no fibers: this runs once an event, and `node:http` alone
 * sends 35,000 requests a second where a fiber around each halves that.
 */
import { Context, Effect, Layer } from "effect"
import * as http from "node:http"
import * as https from "node:https"
import type { Answer, AttemptError } from "../domain/Attempt.ts"
import { encodeAttemptId } from "../domain/AttemptRef.ts"
import { encodeEventId, type EventRef } from "../domain/EventRef.ts"
import type { EventType } from "../domain/EventType.ts"
import { makeSigner } from "./Signing.ts"
import { version } from "./Version.ts"

/** Bytes of an answer's body that are kept. */
const keptBytes = 1024

/** Idle sockets are closed after this, before most servers would (Node's own closes after 5 s). */
const idleSocketMs = 4_000

/** What a webhook's deliveries have in common. */
export interface Endpoint {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly secret: string | null
  readonly timeoutMs: number
}

/** One delivery: the event's bytes as they are stored, and the number its log entry will have. */
export interface Delivery {
  readonly ref: EventRef
  readonly eventType: EventType
  readonly body: string
  readonly nonce: number
}

export type Done = (answer: Answer) => void

/** Starts an attempt; the returned function ends it early, without an answer. */
export type Send = (delivery: Delivery, done: Done) => () => void

const refusals: Record<string, AttemptError> = {
  ECONNREFUSED: "connection_refused",
  ECONNRESET: "connection_reset",
  EPIPE: "connection_reset",
  ECONNABORTED: "connection_reset",
  ConnectionClosed: "connection_reset",
  ConnectionRefused: "connection_refused",
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
  if (code.startsWith("HPE_")) return "protocol"
  if (code.startsWith("EAI_") || code.startsWith("ERR_DNS") || code.startsWith("DNS")) return "dns"
  if (/TLS|SSL|CERT|SIGNATURE|ISSUER|EPROTO|UNABLE_TO|DEPTH_ZERO/.test(code)) return "tls"
  return "connection_reset"
}

/** How one webhook's requests look; made once, used for each. */
const makeSend = (endpoint: Endpoint, agents: { http: http.Agent; https: https.Agent }): Send => {
  const url = new URL(endpoint.url)
  const secure = url.protocol === "https:"
  const request = secure ? https.request : http.request
  const signer = endpoint.secret === null ? undefined : makeSigner(endpoint.secret)
  const hostname = url.hostname.startsWith("[") ? url.hostname.slice(1, -1) : url.hostname
  const base = {
    method: "POST",
    protocol: url.protocol,
    hostname,
    path: url.pathname + url.search,
    agent: secure ? agents.https : agents.http,
    ...(url.port === "" ? {} : { port: Number(url.port) })
  }
  const common = {
    "User-Agent": `Truss-Webhooks/${version}`,
    ...endpoint.headers,
    Host: url.host,
    "Content-Type": "application/json"
  }
  return (delivery, done) => {
    const started = performance.now()
    const id = encodeEventId(delivery.ref)
    const timestamp = Math.floor(Date.now() / 1000)
    const headers: Record<string, string | number> = {
      ...common,
      "Content-Length": Buffer.byteLength(delivery.body),
      "X-Truss-Event": delivery.eventType,
      "X-Truss-Delivery": encodeAttemptId({ eventSeq: delivery.ref.seq, nonce: delivery.nonce }),
      "webhook-id": id,
      "webhook-timestamp": timestamp
    }
    if (signer !== undefined) {
      headers["X-Truss-Signature"] = signer.body(delivery.body)
      headers["webhook-signature"] = signer.standard(id, timestamp, delivery.body)
    }
    let over = false
    let timer: NodeJS.Timeout | undefined = undefined
    const end = (statusCode: number | null, body: string | null, error: AttemptError | null, retryAfter: string | null) => {
      if (over) return
      over = true
      clearTimeout(timer)
      done({ statusCode, responseBody: body, latencyMs: performance.now() - started, error, retryAfter })
    }
    const onResponse = (response: http.IncomingMessage) => {
      const chunks: Array<Buffer> = []
      let size = 0
      const finish = () => {
        const status = response.statusCode ?? null
        const error = status !== null && status >= 300 && status < 400 ? "redirect" : null
        end(status, toText(chunks), error, response.headers["retry-after"] ?? null)
      }
      response.on("data", (chunk: Buffer) => {
        if (size >= keptBytes) return
        chunks.push(size + chunk.length > keptBytes ? chunk.subarray(0, keptBytes - size) : chunk)
        size += chunk.length
        if (size < keptBytes) return
        // All that is kept has come. A little more may follow on a connection worth keeping; a flood is cut off.
        finish()
        if (!(Number(response.headers["content-length"]) <= 65_536)) req.destroy()
        else response.setTimeout(1_000, () => req.destroy())
      })
      response.on("end", finish)
      response.on("error", (error) => end(null, null, toAttemptError(error), null))
      response.on("aborted", () => end(null, null, "connection_reset", null))
    }
    const req = request({ ...base, headers }, onResponse)
    req.on("error", (error) => end(null, null, toAttemptError(error), null))
    timer = setTimeout(() => {
      end(null, null, "timeout", null)
      req.destroy()
    }, endpoint.timeoutMs)
    req.end(delivery.body)
    return () => {
      over = true
      clearTimeout(timer)
      req.destroy()
    }
  }
}

const decoder = new TextDecoder("utf-8")

/** PostgreSQL's text has no NUL; what is no UTF-8 becomes U+FFFD. */
const toText = (chunks: ReadonlyArray<Buffer>): string =>
  chunks.length === 0
    ? ""
    : decoder.decode(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)).replaceAll("\0", "\ufffd")

/** The process's outgoing connections. */
export class Sender extends Context.Service<Sender, {
  /** How deliveries to this endpoint are sent. */
  to(endpoint: Endpoint): Send
}>()("truss/services/Sender") {
  static readonly layer = Layer.effect(
    Sender,
    Effect.gen(function*() {
      const options = { keepAlive: true, timeout: idleSocketMs, scheduling: "lifo", maxFreeSockets: 1024 } as const
      const agents = yield* Effect.acquireRelease(
        Effect.sync(() => ({ http: new http.Agent(options), https: new https.Agent(options) })),
        (agents) =>
          Effect.sync(() => {
            agents.http.destroy()
            agents.https.destroy()
          })
      )
      return Sender.of({ to: (endpoint) => makeSend(endpoint, agents) })
    })
  )
}
