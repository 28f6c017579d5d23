import { assert, describe, it } from "@effect/vitest"
import { ProtocolError, ResponseReader } from "../../src/services/ResponseReader.ts"

/** What comes of bytes that arrive in these pieces. */
const read = (...pieces: ReadonlyArray<string>) => {
  const reader = new ResponseReader()
  const heads: Array<{ status: number; retryAfter: string | null; contentLength: number }> = []
  let body = ""
  let rest = ""
  for (const piece of pieces) {
    // Others' bytes stand around those that count.
    const bytes = Buffer.from(`##${piece}##`, "latin1")
    const at = reader.read(bytes, 2, bytes.length - 2, {
      onHeaders: (status, retryAfter, contentLength) => void heads.push({ status, retryAfter, contentLength }),
      onData: (data, start, end) => (body += data.toString("latin1", start, end))
    })
    rest += bytes.toString("latin1", at, bytes.length - 2)
  }
  const { endsWithConnection, isDone, keepsAlive, keptSeconds } = reader
  return { heads, body, rest, isDone, endsWithConnection, keepsAlive, keptSeconds }
}

const whole = (text: string) => {
  const answer = read(text)
  for (let at = 1; at < text.length; at++) {
    assert.deepStrictEqual(read(text.slice(0, at), text.slice(at)), answer, `in two pieces at ${at}`)
  }
  assert.deepStrictEqual(read(...text), answer, "byte by byte")
  assert.lengthOf(answer.heads, 1)
  return { ...answer, ...answer.heads[0] }
}

const ok = (headers: string, body = "") => `HTTP/1.1 200 OK\r\n${headers}\r\n\r\n${body}`

describe("an answer", () => {
  it("ends where its length says, in whatever pieces it comes", () => {
    assert.deepInclude(whole(ok("content-type: text/plain\r\nContent-Length: 2", "ok")), {
      status: 200,
      contentLength: 2,
      body: "ok",
      rest: "",
      isDone: true,
      keepsAlive: true
    })
    assert.deepInclude(whole(ok("content-length:0")), { body: "", isDone: true })
    assert.deepInclude(whole(ok("content-length:\t 3 \t", "abc")), { body: "abc", isDone: true })
  })

  it("leaves what follows alone", () => {
    assert.deepInclude(read(ok("content-length: 2", "okHTTP/1.1 200")), { body: "ok", rest: "HTTP/1.1 200" })
    assert.deepInclude(read(ok("transfer-encoding: chunked", "0\r\n\r\nmore")), { body: "", rest: "more" })
    assert.deepInclude(read("HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok"), { body: "", rest: "ok" })
    assert.deepInclude(read("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n0"), { rest: "0" })
  })

  it("in chunks ends with the empty one, its trailers included", () => {
    const text = ok(
      "Transfer-Encoding: Chunked",
      "5\r\nhello\r\n00A;name=\"value\"\r\n, \r\n0\r\n\r\nx\r\n0\r\nRetry-After: 9\r\nx: y\r\n\r\n"
    )
    assert.deepInclude(whole(text), { body: "hello, \r\n0\r\n\r\nx", retryAfter: null, isDone: true })
    assert.deepInclude(whole(ok("transfer-encoding: gzip, chunked", "1\r\nx\r\n0\r\n\r\n")), {
      body: "x",
      isDone: true
    })
    assert.deepInclude(whole(ok("transfer-encoding: gzip\r\ntransfer-encoding: chunked", "0\r\n\r\n")), {
      isDone: true
    })
  })

  it("without either ends with its connection", () => {
    for (const headers of ["x: y", "transfer-encoding: gzip", "transfer-encoding: chunked, gzip"]) {
      assert.deepInclude(whole(ok(headers, "some")), { body: "some", isDone: false, endsWithConnection: true })
    }
    assert.deepInclude(whole("HTTP/1.0 200\r\n\r\n"), { status: 200, endsWithConnection: true })
  })

  it("may come after others that are not the last", () => {
    const text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\ncontent-length: 7\r\nlink: </a>\r\n\r\n" +
      "HTTP/1.1 503 Later\r\nRetry-After:  7 \r\nretry-after: 8\r\ncontent-length: 1\r\n\r\n!"
    assert.deepInclude(whole(text), { status: 503, retryAfter: "7", contentLength: 1, body: "!", isDone: true })
  })

  it("says whether the connection may be used again, and for how long", () => {
    const of = (version: string, headers: string) => {
      const { keepsAlive, keptSeconds } = whole(`HTTP/${version} 200 OK\r\ncontent-length: 0\r\n${headers}\r\n`)
      return [keepsAlive, keptSeconds]
    }
    assert.deepStrictEqual(of("1.1", ""), [true, undefined])
    assert.deepStrictEqual(of("1.1", "connection: x\r\nConnection: Foo , CLOSE\r\n"), [false, undefined])
    assert.deepStrictEqual(of("1.1", "connection: keep-alive\r\nkeep-alive: max=5, timeout=72\r\n"), [true, 72])
    assert.deepStrictEqual(of("1.0", ""), [false, undefined])
    assert.deepStrictEqual(of("1.0", "connection: Keep-Alive\r\n"), [true, undefined])
  })

  it("of another request begins anew", () => {
    const reader = new ResponseReader()
    const statuses: Array<number> = []
    for (
      const text of ["HTTP/1.0 503 a\r\nretry-after: 5\r\ncontent-length: 3\r\n\r\nabc", ok("content-length: 1", "x")]
    ) {
      const bytes = Buffer.from(text)
      reader.reset()
      reader.read(bytes, 0, bytes.length, { onHeaders: (status) => void statuses.push(status), onData: () => {} })
      assert.isTrue(reader.isDone)
    }
    assert.deepStrictEqual(statuses, [503, 200])
    assert.isTrue(reader.keepsAlive)
  })
})

describe("what is refused", () => {
  const refused = (name: string, text: string) =>
    it(name, () => {
      assert.throws(() => read(text), ProtocolError)
      assert.throws(() => read(...text), ProtocolError)
    })

  refused("two ways to tell the length", ok("content-length: 2\r\ntransfer-encoding: chunked", "0\r\n\r\n"))
  refused("a transfer encoding without a name beside a length", ok("content-length: 2\r\ntransfer-encoding:", "ok"))
  refused("two lengths", ok("content-length: 2\r\nContent-Length: 2", "ok"))
  refused("a list of lengths", ok("content-length: 2, 2", "ok"))
  refused("a signed length", ok("content-length: +2", "ok"))
  refused("no length", ok("content-length:", "ok"))
  refused("a length in hexadecimal", ok("content-length: 0x2", "ok"))
  refused("a length beyond what counts exactly", ok(`content-length: ${"9".repeat(16)}`))
  refused("a space before a colon", ok("content-length : 2", "ok"))
  refused("a header without a colon", ok("content-length\r\nx: y"))
  refused("a header without a name", ok(": x"))
  refused("a header that goes on in another line", ok("x: a\r\n b\r\ncontent-length: 2", "ok"))
  refused("lines that end with a line feed alone", "HTTP/1.1 200 OK\ncontent-length: 2\n\nok")
  refused("a header's line that does", ok("x: y\ncontent-length: 2", "ok"))
  refused("a carriage return inside a header", ok("x: a\rb\r\ncontent-length: 2", "ok"))
  refused("a control character inside a header", ok("x: a\0b\r\ncontent-length: 2", "ok"))
  refused("what is no HTTP", "SSH-2.0-OpenSSH\r\n")
  refused("HTTP/2", "HTTP/2.0 200 OK\r\n\r\n")
  refused("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n")
  refused("a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n")
  refused("another protocol", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n")
  refused("a chunk without a length", ok("transfer-encoding: chunked", "\r\nx\r\n"))
  refused("a chunk with a space behind its length", ok("transfer-encoding: chunked", "1 \r\nx\r\n"))
  refused("a chunk that is longer than it says", ok("transfer-encoding: chunked", "1\r\nxy\r\n0\r\n\r\n"))
  refused("a chunk whose line ends with a line feed alone", ok("transfer-encoding: chunked", "1\nx\r\n"))
  refused("a chunk of more than a number holds", ok("transfer-encoding: chunked", `${"f".repeat(13)}\r\n`))

  it("headers of more than 16 KiB, ended or not, and as much beside chunks", () => {
    assert.throws(() => read(ok(`x: ${"y".repeat(17_000)}`)), /too long/)
    assert.throws(() => read("HTTP/1.1 200 OK\r\nx: ", "y".repeat(17_000)), /too long/)
    assert.throws(
      () =>
        read(ok("transfer-encoding: chunked"), ...Array.from({ length: 20 }, () => `1;${"x".repeat(1000)}\r\ny\r\n`)),
      /too much/
    )
    assert.throws(() => read(ok("transfer-encoding: chunked", "0\r\n"), "x: y\r\n".repeat(5000)), /too much/)
  })
})
