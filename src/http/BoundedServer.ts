import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { Socket } from "node:net"

/** What one process lets its clients take, slow ones and those who mean it included. */
export interface ConnectionLimits {
  /** Connections at a time; idle ones are closed for new ones when they become scarce. */
  readonly maxConnections: number
  /** Requests on one connection that wait for their answers: the pipelining that somebody may do. */
  readonly maxPipelined: number
  /** Until a request's headers have arrived; 408. */
  readonly headersTimeoutMs: number
  /** Until the whole request has arrived; 408. */
  readonly requestTimeoutMs: number
  /** Between two requests on a connection. */
  readonly idleTimeoutMs: number
  /** How long a client may leave what was sent unread before its connection is cut. */
  readonly stallTimeoutMs: number
  /** What waits to be read, of all answers; beyond that the oldest large ones are cut. */
  readonly maxUnreadBytes: number
  /** How often the requests that are on their way, and what is unread, are looked at. */
  readonly checkEveryMs: number
}

export const defaultLimits: ConnectionLimits = {
  maxConnections: 2000,
  maxPipelined: 16,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  // Longer than the 60 s of common load balancers, which must be the first to close.
  idleTimeoutMs: 65_000,
  stallTimeoutMs: 30_000,
  maxUnreadBytes: 128 * 1_048_576,
  checkEveryMs: 1000
}

/** Request line and headers, in bytes; 431. */
export const maxHeaderBytes = 16_384

/** An answer that is cut to free memory has at least so much unread. */
const worthCutting = 1_048_576

const refusals: Readonly<Record<string, readonly [status: number, type: string, title: string, detail: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: [408, "request-timeout", "Request Timeout", "The request did not arrive in time"],
  HPE_HEADER_OVERFLOW: [
    431,
    "headers-too-large",
    "Request Header Fields Too Large",
    `Request line and headers are over ${maxHeaderBytes} bytes`
  ]
}
const unreadable = [400, "bad-request", "Bad Request", "This is no HTTP request that can be read"] as const

/** The answer to what never became a request. */
const refusal = (code: string | undefined): string => {
  const [status, type, title, detail] = refusals[code ?? ""] ?? unreadable
  const body = JSON.stringify({
    type: `urn:truss:problem:${type}`,
    title,
    status,
    detail,
    ...(status === 400 && { errors: [] })
  })
  return `HTTP/1.1 ${status} ${title}\r\ncontent-type: application/problem+json\r\n` +
    `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`
}

/** With a reset: what is unread would stay in the kernel otherwise, for as long as the client is there. */
const cut = (socket: Socket) => void socket.resetAndDestroy()

/**
 * An HTTP server whose clients cannot hold its connections or its memory: who sends too slowly, reads too slowly or asks
 * for too much at once is cut, and the others are served.
 */
export const boundedServer = (limits: ConnectionLimits): Server => {
  const server = createServer({
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.idleTimeoutMs,
    connectionsCheckingInterval: limits.checkEveryMs,
    maxHeaderSize: maxHeaderBytes,
    // An upgraded connection would be beyond all time-outs.
    shouldUpgradeCallback: () => false
  })
  server.maxConnections = limits.maxConnections

  /** What is not sent yet, oldest first. */
  const answers = new Set<ServerResponse>()
  const onSocket = new WeakMap<Socket, Set<ServerResponse>>()
  /** Connections between two requests, longest first. */
  const idle = new Set<Socket>()

  const track = ({ socket }: IncomingMessage, response: ServerResponse) => {
    const waiting = onSocket.get(socket) ?? new Set()
    onSocket.set(socket, waiting)
    waiting.add(response)
    answers.add(response)
    idle.delete(socket)
    response.once("close", () => {
      waiting.delete(response)
      answers.delete(response)
      if (waiting.size === 0 && !socket.destroyed) idle.add(socket)
    })
    if (waiting.size > limits.maxPipelined) cut(socket)
  }

  let open = 0
  const onConnection = (socket: Socket) => {
    open++
    socket.once("close", () => {
      open--
      idle.delete(socket)
    })
    if (open <= limits.maxConnections * 0.9) return
    for (const longest of idle) {
      idle.delete(longest)
      longest.destroy()
      return
    }
  }

  const unreadOf = (socket: Socket) => {
    let unread = 0
    for (const response of onSocket.get(socket) ?? []) unread += response.writableLength
    return unread
  }

  const lastUnread = new WeakMap<Socket, number>()

  /** Called when nothing moved on a connection for half of the time that it may: Bun does not count what was read. */
  const onStill = (socket: Socket) => {
    const unread = unreadOf(socket)
    if ((onSocket.get(socket)?.size ?? 0) === 0) socket.destroy()
    else if (unread > 0 && unread === lastUnread.get(socket)) cut(socket)
    else socket.setTimeout(limits.stallTimeoutMs / 2)
    lastUnread.set(socket, unread)
  }

  const cutUnread = () => {
    let unread = 0
    for (const response of answers) unread += response.writableLength
    for (const response of answers) {
      if (unread <= limits.maxUnreadBytes) return
      if (response.writableLength < worthCutting) continue
      unread -= response.writableLength
      if (response.socket !== null) cut(response.socket)
    }
  }

  const startLooking = () => {
    const looking = setInterval(cutUnread, limits.checkEveryMs).unref()
    server.once("close", () => clearInterval(looking))
  }

  return server
    .prependListener("request", track)
    .prependListener("checkContinue", track)
    .on("connection", onConnection)
    .once("listening", startLooking)
    .setTimeout(limits.stallTimeoutMs / 2, onStill)
    .on("clientError", (error: NodeJS.ErrnoException, duplex) => {
      const socket = duplex as Socket
      const begun = [...onSocket.get(socket) ?? []].some((response) => response.headersSent)
      if (!socket.writable || begun || error.code === "ECONNRESET") socket.destroy()
      else socket.end(refusal(error.code), () => socket.destroy())
    })
}
