/**
 * Reads the answers of one connection, HTTP/1.1 by RFC 9112, as their bytes come. Strict where leniency would let an
 * answer end elsewhere than its server thinks: what follows on the connection would be taken for another request's.
 */

/** Where the parts of an answer go, while `read` runs: the bytes are not kept. */
export interface ResponseSink {
  readonly onHeaders: (status: number, retryAfter: string | null, contentLength: number) => void
  readonly onData: (bytes: Buffer, start: number, end: number) => void
}

/** What is no HTTP, or too much of it. */
export class ProtocolError extends Error {
  readonly code = "ERR_HTTP_PROTOCOL"
}

/** Bytes of an answer's head at most, and of what frames its chunks. */
const mostOverhead = 16_384

const state = {
  head: 0,
  length: 1,
  untilClose: 2,
  chunkSize: 3,
  chunkExtension: 4,
  chunkSizeEnd: 5,
  chunk: 6,
  chunkCr: 7,
  chunkLf: 8,
  trailer: 9,
  trailerLine: 10,
  trailerLf: 11,
  lastLf: 12,
  done: 13
} as const

const CR = 13
const LF = 10
const HTAB = 9
const SP = 32
const COLON = 58
const SEMICOLON = 59

/** RFC 9110, section 5.6.2. */
const isTokenByte = Uint8Array.from(
  { length: 256 },
  (_, byte) => /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(String.fromCharCode(byte)) ? 1 : 0
)

/** Section 5.5: no control character but HTAB. */
const isValueByte = Uint8Array.from({ length: 256 }, (_, byte) => byte === HTAB || byte >= SP && byte !== 127 ? 1 : 0)

const hexDigit = Int8Array.from({ length: 256 }, (_, byte) => {
  const digit = Number.parseInt(String.fromCharCode(byte), 16)
  return Number.isNaN(digit) ? -1 : digit
})

const statusLine = Buffer.from("HTTP/1.")
const nothing = Buffer.alloc(0)

/** So that most names are passed over by their length. */
const longestName = "transfer-encoding".length
const isKnownLength = Uint8Array.from(
  { length: longestName + 1 },
  (_, length) =>
    ["connection", "retry-after", "content-length", "transfer-encoding"].some((n) => n.length === length) ? 1 : 0
)

const listed = (value: string, token: string) => value.split(",").some((part) => part.trim().toLowerCase() === token)

export class ResponseReader {
  private state: number = state.head
  private pending: Buffer = nothing
  /** Bytes of the body, or of the chunk, that are still to come. */
  private left = 0
  private overhead = 0
  private digits = 0
  private status = 0
  private minor = 1
  private contentLength = NaN
  private encoding = ""
  private connection = ""
  private retryAfter: string | null = null
  private keepAliveValue = ""

  /** Another answer follows. */
  reset(): void {
    this.state = state.head
    this.pending = nothing
    this.overhead = 0
  }

  /** The answer is complete. */
  get isDone(): boolean {
    return this.state === state.done
  }

  /** The answer ends with its connection. */
  get endsWithConnection(): boolean {
    return this.state === state.untilClose
  }

  /** Whether the server takes another request on the connection. */
  get keepsAlive(): boolean {
    if (this.connection !== "" && listed(this.connection, "close")) return false
    return this.minor === 1 || listed(this.connection, "keep-alive")
  }

  /** For how many seconds the server keeps an idle connection, if it says so. */
  get keptSeconds(): number | undefined {
    if (this.keepAliveValue === "") return undefined
    const seconds = /(?:^|[,;\s])timeout=(\d{1,6})(?:$|[,;\s])/i.exec(this.keepAliveValue)?.[1]
    return seconds === undefined ? undefined : Number(seconds)
  }

  /** Takes what has come; returns how far it went: to `end`, or to where the answer ended. Throws `ProtocolError`. */
  read(bytes: Buffer, start: number, end: number, sink: ResponseSink): number {
    let at = start
    while (this.state !== state.done && at < end) {
      switch (this.state) {
        case state.head:
          at = this.readHead(bytes, at, end, sink)
          break
        case state.length: {
          const to = Math.min(end, at + this.left)
          this.left -= to - at
          if (this.left === 0) this.state = state.done
          sink.onData(bytes, at, to)
          at = to
          break
        }
        case state.untilClose:
          sink.onData(bytes, at, end)
          at = end
          break
        case state.chunk: {
          const to = Math.min(end, at + this.left)
          this.left -= to - at
          if (this.left === 0) this.state = state.chunkCr
          sink.onData(bytes, at, to)
          at = to
          break
        }
        default:
          this.readFrame(bytes[at]!)
          at++
      }
    }
    return at
  }

  private readHead(bytes: Buffer, start: number, end: number, sink: ResponseSink): number {
    const before = this.pending.length
    const all = before === 0 ? bytes : Buffer.concat([this.pending, bytes.subarray(start, end)])
    const from = before === 0 ? start : 0
    const to = before === 0 ? end : all.length
    const after = this.parseHead(all, from, to)
    if (after < 0) {
      this.pending = before === 0 ? Buffer.from(bytes.subarray(start, end)) : all
      if (this.pending.length > mostOverhead) throw new ProtocolError("the headers are too long")
      return end
    }
    if (after - from > mostOverhead) throw new ProtocolError("the headers are too long")
    this.pending = nothing
    if (this.status >= 200) this.begin(sink)
    else if (this.status === 101) throw new ProtocolError("another protocol was not asked for")
    return before === 0 ? after : start + after - before
  }

  /** Decides how the body ends: RFC 9112, section 6.3. */
  private begin(sink: ResponseSink): void {
    const { contentLength, encoding, status } = this
    this.overhead = 0
    if (encoding !== "" && !Number.isNaN(contentLength)) throw new ProtocolError("a length beside a transfer encoding")
    if (status === 204 || status === 304) this.state = state.done
    else if (encoding !== "") {
      const isChunked = encoding.slice(encoding.lastIndexOf(",") + 1).trim().toLowerCase() === "chunked"
      this.state = isChunked ? state.chunkSize : state.untilClose
      this.left = 0
      this.digits = 0
    } else if (Number.isNaN(contentLength)) this.state = state.untilClose
    else {
      this.left = contentLength
      this.state = contentLength === 0 ? state.done : state.length
    }
    sink.onHeaders(status, this.retryAfter, contentLength)
  }

  /** Where the head that begins at `start` ends; -1 when not all of it is there. */
  private parseHead(bytes: Buffer, start: number, end: number): number {
    let at = start
    // An empty line before it: RFC 9112, section 2.2.
    while (at + 1 < end && bytes[at] === CR && bytes[at + 1] === LF) at += 2
    for (let n = 0; n < statusLine.length; n++) {
      if (at + n >= end) return -1
      if (bytes[at + n] !== statusLine[n]) throw new ProtocolError("no HTTP/1")
    }
    if (at + 12 >= end) return -1
    const minor = bytes[at + 7]! - 48
    const [a, b, c] = [bytes[at + 9]! - 48, bytes[at + 10]! - 48, bytes[at + 11]! - 48]
    if (
      minor !== 0 && minor !== 1 || bytes[at + 8] !== SP || !(a >= 1 && a <= 9 && b >= 0 && b <= 9 && c >= 0 && c <= 9)
    ) {
      throw new ProtocolError("the status line is malformed")
    }
    if (bytes[at + 12] !== SP && bytes[at + 12] !== CR) throw new ProtocolError("the status line is malformed")
    this.minor = minor
    this.status = a * 100 + b * 10 + c
    this.contentLength = NaN
    this.encoding = this.connection = this.keepAliveValue = ""
    this.retryAfter = null
    at = lineEnd(bytes, at + 12, end)
    while (at >= 0 && at < end) {
      if (bytes[at] === CR) {
        if (at + 1 >= end) return -1
        if (bytes[at + 1] !== LF) throw new ProtocolError("a carriage return alone")
        return at + 2
      }
      const nameStart = at
      while (at < end && isTokenByte[bytes[at]!] === 1) at++
      if (at >= end) return -1
      if (bytes[at] !== COLON || at === nameStart) throw new ProtocolError("a header's name is malformed")
      const nameEnd = at
      const next = lineEnd(bytes, at + 1, end)
      if (next < 0) return -1
      const length = nameEnd - nameStart
      if (length <= longestName && isKnownLength[length] === 1) {
        this.note(bytes.toString("latin1", nameStart, nameEnd).toLowerCase(), bytes, nameEnd + 1, next - 2)
      }
      at = next
    }
    return -1
  }

  private note(name: string, bytes: Buffer, start: number, end: number): void {
    switch (name) {
      case "content-length": {
        const value = bytes.toString("latin1", start, end).trim()
        if (!/^\d{1,15}$/.test(value)) throw new ProtocolError("the length is no number")
        if (!Number.isNaN(this.contentLength)) throw new ProtocolError("two lengths")
        this.contentLength = Number(value)
        return
      }
      case "transfer-encoding": {
        const value = bytes.toString("latin1", start, end).trim()
        this.encoding = this.encoding === "" ? value || "identity" : `${this.encoding},${value}`
        return
      }
      case "connection":
        this.connection = this.connection === ""
          ? bytes.toString("latin1", start, end)
          : `${this.connection},${bytes.toString("latin1", start, end)}`
        return
      case "keep-alive":
        this.keepAliveValue = bytes.toString("latin1", start, end)
        return
      case "retry-after":
        this.retryAfter ??= bytes.toString("latin1", start, end).trim()
    }
  }

  /** One byte of what stands around chunks: RFC 9112, section 7.1. */
  private readFrame(byte: number): void {
    switch (this.state) {
      case state.chunkSize: {
        const digit = hexDigit[byte]!
        if (digit >= 0) {
          if (++this.digits > 12) throw new ProtocolError("a chunk is too long")
          this.left = this.left * 16 + digit
        } else if (this.digits === 0) throw new ProtocolError("a chunk has no length")
        else if (byte === CR) this.state = state.chunkSizeEnd
        else if (byte === SEMICOLON) this.state = state.chunkExtension
        else throw new ProtocolError("a chunk's length is no number")
        return
      }
      case state.chunkExtension:
        this.count(byte)
        if (byte === CR) this.state = state.chunkSizeEnd
        return
      case state.chunkSizeEnd:
        this.lineFeed(byte, this.left === 0 ? state.trailer : state.chunk)
        return
      case state.chunkCr:
        if (byte !== CR) throw new ProtocolError("a chunk does not end where it should")
        this.state = state.chunkLf
        this.digits = 0
        return
      case state.chunkLf:
        this.lineFeed(byte, state.chunkSize)
        return
      case state.trailer:
      case state.trailerLine:
        if (byte === CR) this.state = this.state === state.trailer ? state.lastLf : state.trailerLf
        else {
          this.count(byte)
          this.state = state.trailerLine
        }
        return
      case state.trailerLf:
        this.lineFeed(byte, state.trailer)
        return
      case state.lastLf:
        this.lineFeed(byte, state.done)
    }
  }

  private lineFeed(byte: number, next: number): void {
    if (byte !== LF) throw new ProtocolError("a carriage return alone")
    this.state = next
  }

  private count(byte: number): void {
    if (byte !== CR && isValueByte[byte] !== 1) throw new ProtocolError("a control character")
    if (++this.overhead > mostOverhead) throw new ProtocolError("too much beside the body")
  }
}

/** Where the next line begins; -1 when this one has not ended. */
const lineEnd = (bytes: Buffer, start: number, end: number): number => {
  let at = start
  while (at < end && isValueByte[bytes[at]!] === 1) at++
  if (at >= end) return -1
  if (bytes[at] !== CR) throw new ProtocolError("a control character")
  if (at + 1 >= end) return -1
  if (bytes[at + 1] !== LF) throw new ProtocolError("a carriage return alone")
  return at + 2
}
