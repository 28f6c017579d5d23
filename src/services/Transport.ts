/** One request's way to a server and back, as callbacks; two ways, since undici does not run on Bun. */
import * as http from "node:http"
import * as https from "node:https"
import { Agent } from "undici"
import { type Egress, hostOf } from "./Egress.ts"

/** What comes back. After `onEnd` or `onError` nothing else does. */
export interface Exchange {
  readonly onHeaders: (status: number, retryAfter: string | null, contentLength: number) => void
  readonly onData: (chunk: Buffer) => void
  readonly onEnd: () => void
  readonly onError: (error: unknown) => void
}

/** Sends one POST; `headers` are names and values in turn. The returned function breaks it off. */
export type Post = (headers: Array<string>, body: string, exchange: Exchange) => () => void

export interface Transport {
  /** How requests to this URL are sent. */
  readonly to: (url: URL) => Post
  readonly close: () => void
}

/** Idle sockets are closed after this, before most servers would: Node's own closes after 5 s. */
const idleSocketMs = 4_000
const connectTimeoutMs = 30_000

const first = (value: string | ReadonlyArray<string> | undefined): string | null =>
  value === undefined ? null : typeof value === "string" ? value : value[0] ?? null

const broken = Object.assign(new Error("broken off"), { code: "ECONNABORTED" })

/** What an address that must not be reached is sent: nothing. */
const refuse = (error: Error): Post => (_headers, _body, exchange) => {
  queueMicrotask(() => exchange.onError(error))
  return () => {}
}

/** On Node: `dispatch` of undici, 1.4 times what `node:http` sends. */
export const undiciTransport = (egress: Egress["Service"]): Transport => {
  const agent = new Agent({
    pipelining: 1,
    keepAliveTimeout: idleSocketMs,
    keepAliveMaxTimeout: 60_000,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: connectTimeoutMs, lookup: egress.lookup }
  })
  return {
    to: (url) => {
      const refusal = egress.refusal(hostOf(url))
      if (refusal !== undefined) return refuse(refusal)
      const origin = url.origin
      const path = url.pathname + url.search
      return (headers, body, exchange) => {
        let abort: ((reason: Error) => void) | undefined
        let aborted = false
        agent.dispatch({ origin, path, method: "POST", headers, body }, {
          onRequestStart: (controller) => {
            if (aborted) return controller.abort(broken)
            abort = (reason) => controller.abort(reason)
          },
          onResponseStart: (_, status, headers) => {
            if (status >= 200) {
              exchange.onHeaders(status, first(headers["retry-after"]), Number(first(headers["content-length"]) ?? NaN))
            }
          },
          onResponseData: (_, chunk) => exchange.onData(chunk),
          onResponseEnd: () => exchange.onEnd(),
          onResponseError: (_, error) => exchange.onError(error)
        })
        return () => {
          aborted = true
          abort?.(broken)
        }
      }
    },
    close: () => void agent.destroy()
  }
}

/** On Bun, and for servers that undici cannot talk to. */
export const nodeTransport = (egress: Egress["Service"]): Transport => {
  const options = {
    keepAlive: true,
    timeout: idleSocketMs,
    scheduling: "lifo",
    maxFreeSockets: 1024,
    lookup: egress.lookup
  } as const
  const agents = { "http:": new http.Agent(options), "https:": new https.Agent(options) }
  return {
    to: (url) => {
      const refusal = egress.refusal(hostOf(url))
      if (refusal !== undefined) return refuse(refusal)
      const secure = url.protocol === "https:"
      const request = secure ? https.request : http.request
      const base = {
        method: "POST",
        protocol: url.protocol,
        hostname: hostOf(url),
        path: url.pathname + url.search,
        agent: secure ? agents["https:"] : agents["http:"],
        ...(url.port === "" ? {} : { port: Number(url.port) })
      }
      return (headers, body, exchange) => {
        const bytes = Buffer.from(body)
        const record: Record<string, string | number> = { "Content-Length": bytes.length }
        for (let i = 0; i < headers.length; i += 2) record[headers[i]!] = headers[i + 1]!
        const req = request({ ...base, headers: record }, (response) => {
          const { headers } = response
          exchange.onHeaders(
            response.statusCode ?? 0,
            first(headers["retry-after"]),
            Number(headers["content-length"] ?? NaN)
          )
          response.on("data", exchange.onData)
          response.on("end", exchange.onEnd)
          response.on("error", exchange.onError)
          response.on("aborted", () => exchange.onError(broken))
        })
        req.on("error", exchange.onError)
        // A string would take the headers along into UTF-8.
        req.end(bytes)
        return () => void req.destroy()
      }
    },
    close: () => {
      agents["http:"].destroy()
      agents["https:"].destroy()
    }
  }
}
