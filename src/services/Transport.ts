/**
 * Sends POST requests over connections that are kept: HTTP/1.1 straight on sockets, since a client library's share of a
 * request is more than twice that of the two system calls (docs/internals/performance.md). One request at a time on a
 * connection; one that ended in any way but the expected one is closed, so that no answer is taken for another's.
 */
import { connect as connectPlain, isIP, type Socket, type TcpNetConnectOpts } from "node:net"
import { connect as connectSecure } from "node:tls"
import { type Egress, hostOf } from "./Egress.ts"
import { ResponseReader, type ResponseSink } from "./ResponseReader.ts"

/** What comes back. After `onEnd` or `onError` nothing else does. */
export interface Exchange extends ResponseSink {
  readonly onEnd: () => void
  readonly onError: (error: unknown) => void
}

/** A request under way. */
export interface Request {
  /** Breaks it off: its exchange hears no more of it. Nothing happens when it has ended. */
  abort(exchange: Exchange): void
}

/** Sends one POST. `headers` are whole lines, each with its line break, without the host and the length. */
export type Post = (headers: string, body: string, exchange: Exchange) => Request

/** Idle connections are closed after this, before most servers would: Node's own closes after 5 s. */
const idleMs = 4_000
const mostIdleMs = 60_000

/** What a server says of how long it keeps a connection is not quite believed. */
const idleMarginMs = 1_000

/** Between two looks for connections that have been idle for too long. */
const sweepMs = 1_000

const failure = (code: string, message: string) => Object.assign(new Error(message), { code })

const done: Request = { abort: () => {} }

// Bun has no `onread`.
const readsIntoBuffer = process.versions["bun"] === undefined

/** What is read is dealt with before anything else is: one buffer for all. */
const shared = Buffer.allocUnsafeSlow(65_536)

const write = (socket: Socket, head: string, body: string): void => {
  const length = Buffer.byteLength(body)
  const start = `${head}Content-Length: ${length}\r\n\r\n`
  // A length that is the same means ASCII: one string, since headers are Latin-1.
  if (length === body.length) return void socket.write(start + body, "latin1")
  const bytes = Buffer.allocUnsafe(start.length + length)
  bytes.write(body, bytes.write(start, 0, "latin1"))
  socket.write(bytes)
}

class Connection implements Request {
  private readonly pool: Pool
  private readonly socket: Socket
  private readonly reader = new ResponseReader()
  private exchange: Exchange | undefined
  private isOpen = false
  /** What is to be sent when the connection is open. */
  private head = ""
  private body = ""
  /** Until when it may be used again, by `performance.now()`. */
  idleUntil = 0

  constructor(pool: Pool) {
    this.pool = pool
    this.socket = pool.connect((bytes, length) => this.received(bytes, length))
    if (!readsIntoBuffer || pool.isSecure) this.socket.on("data", (bytes: Buffer) => this.received(bytes, bytes.length))
    // Before a certificate is known to be good, nothing may be written.
    this.socket.on(pool.isSecure ? "secureConnect" : "connect", () => {
      this.isOpen = true
      if (this.exchange !== undefined) write(this.socket, this.head, this.body)
      this.head = this.body = ""
    })
    this.socket.on("end", () => this.ended())
    this.socket.on("error", (error) => this.fail(error))
    this.socket.on("close", () => {
      this.fail(failure("ECONNRESET", "the connection was closed"))
      pool.remove(this)
    })
  }

  get isUsable(): boolean {
    return this.socket.writable && performance.now() < this.idleUntil
  }

  send(head: string, body: string, exchange: Exchange): this {
    this.exchange = exchange
    this.reader.reset()
    if (this.isOpen) write(this.socket, head, body)
    else {
      this.head = head
      this.body = body
    }
    return this
  }

  abort(exchange: Exchange): void {
    if (this.exchange === exchange) this.destroy()
  }

  destroy(): void {
    this.exchange = undefined
    this.socket.destroy()
  }

  private received(bytes: Buffer, length: number): void {
    const { exchange, reader } = this
    // What nobody asked for would be taken for the answer to the next request.
    if (exchange === undefined) return this.destroy()
    let at: number
    try {
      at = reader.read(bytes, 0, length, exchange)
    } catch (error) {
      return this.fail(error)
    }
    if (this.exchange === exchange && reader.isDone) this.complete(exchange, at === length)
  }

  /** The answer is there. Early ones leave part of the request unsent, late bytes belong to none. */
  private complete(exchange: Exchange, isAll: boolean): void {
    const { reader, socket } = this
    this.exchange = undefined
    const idle = reader.keptSeconds === undefined
      ? idleMs
      : Math.min(mostIdleMs, reader.keptSeconds * 1000 - idleMarginMs)
    if (isAll && idle > 0 && reader.keepsAlive && socket.writable && socket.writableLength === 0) {
      this.idleUntil = performance.now() + idle
      this.pool.keep(this)
    } else socket.destroy()
    exchange.onEnd()
  }

  private ended(): void {
    const { exchange } = this
    if (exchange !== undefined && this.reader.endsWithConnection) {
      this.exchange = undefined
      exchange.onEnd()
    }
    this.fail(failure("ECONNRESET", "the connection was closed"))
  }

  private fail(error: unknown): void {
    const { exchange } = this
    this.destroy()
    exchange?.onError(error)
  }
}

/** The connections to one origin. */
class Pool {
  private readonly all = new Set<Connection>()
  /** The one that was used last is used next, so that those that are not needed become idle. */
  private readonly idle: Array<Connection> = []
  readonly isSecure: boolean
  private readonly options: TcpNetConnectOpts
  private readonly onEmpty: () => void
  /** By which the next TLS handshake is shorter. */
  private session: Buffer | undefined

  constructor(url: URL, lookup: Egress["Service"]["lookup"], onEmpty: () => void) {
    this.isSecure = url.protocol === "https:"
    this.options = {
      host: hostOf(url),
      port: url.port === "" ? (this.isSecure ? 443 : 80) : Number(url.port),
      lookup,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 60_000
    }
    this.onEmpty = onEmpty
  }

  send(head: string, body: string, exchange: Exchange): Request {
    for (let connection = this.idle.pop(); connection !== undefined; connection = this.idle.pop()) {
      if (connection.isUsable) return connection.send(head, body, exchange)
      connection.destroy()
    }
    const connection = new Connection(this)
    this.all.add(connection)
    return connection.send(head, body, exchange)
  }

  connect(received: (bytes: Buffer, length: number) => void): Socket {
    if (!this.isSecure) {
      return connectPlain({
        ...this.options,
        ...(readsIntoBuffer
          ? {
            onread: {
              buffer: shared,
              callback: (length: number) => {
                received(shared, length)
                return true
              }
            }
          }
          : {})
      })
    }
    const { host = "" } = this.options
    const socket = connectSecure({
      ...this.options,
      // RFC 6066, section 3: a name, without the dot that may end it; without one the address is what is certified.
      ...(isIP(host) === 0 ? { servername: host.replace(/\.$/, "") } : {}),
      ALPNProtocols: ["http/1.1"],
      ...(this.session === undefined ? {} : { session: this.session })
    })
    socket.on("session", (session) => {
      this.session = session
    })
    return socket
  }

  keep(connection: Connection): void {
    this.idle.push(connection)
  }

  remove(connection: Connection): void {
    this.all.delete(connection)
    const index = this.idle.indexOf(connection)
    if (index >= 0) this.idle.splice(index, 1)
    if (this.all.size === 0) this.onEmpty()
  }

  /** Closes what has been idle for too long. */
  sweep(): void {
    for (const connection of this.idle.filter(({ isUsable }) => !isUsable)) connection.destroy()
  }

  close(): void {
    for (const connection of this.all) connection.destroy()
  }
}

/** The process's connections to endpoints, by origin. */
export class Transport {
  private readonly pools = new Map<string, Pool>()
  private readonly egress: Egress["Service"]
  private sweeper: NodeJS.Timeout | undefined

  constructor(egress: Egress["Service"]) {
    this.egress = egress
  }

  /** How requests to this URL are sent. */
  to(url: URL): Post {
    const refusal = this.egress.refusal(hostOf(url))
    if (refusal !== undefined) {
      return (_headers, _body, exchange) => {
        queueMicrotask(() => exchange.onError(refusal))
        return done
      }
    }
    const { origin } = url
    const start = `POST ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\n`
    return (headers, body, exchange) =>
      (this.pools.get(origin) ?? this.open(origin, url)).send(start + headers, body, exchange)
  }

  close(): void {
    clearInterval(this.sweeper)
    for (const pool of this.pools.values()) pool.close()
  }

  private open(origin: string, url: URL): Pool {
    const pool: Pool = new Pool(url, this.egress.lookup, () => {
      if (this.pools.get(origin) === pool) this.pools.delete(origin)
      if (this.pools.size > 0) return
      clearInterval(this.sweeper)
      this.sweeper = undefined
    })
    this.pools.set(origin, pool)
    this.sweeper ??= setInterval(() => this.pools.forEach((open) => open.sweep()), sweepMs).unref()
    return pool
  }
}
