import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as tls from "node:tls"
import { loopback } from "../../src/domain/EgressAllow.ts"
import { Egress } from "../../src/services/Egress.ts"
import { toAttemptError } from "../../src/services/Sender.ts"
import { type Exchange, type Post, Transport } from "../../src/services/Transport.ts"

const layer = Egress.layer({ allow: loopback })

const transport = Effect.flatMap(
  Egress,
  (egress) => Effect.acquireRelease(Effect.sync(() => new Transport(egress)), (made) => Effect.sync(() => made.close()))
)

const listening = <S extends Server>(server: S) =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as AddressInfo).port)))
    }),
    () => Effect.sync(() => void server.close())
  )

/** A connection as the server sees it. */
interface Peer {
  readonly socket: Socket
  /** Resolves when the other side has closed it. */
  readonly closed: Promise<void>
  requests: number
}

/** A server that does as it likes with each whole request of a body `{}`. */
const raw = (
  onRequest: (peer: Peer, request: string) => void,
  make = (onSocket: (socket: Socket) => void): Server => createServer(onSocket)
) =>
  Effect.gen(function*() {
    const peers: Array<Peer> = []
    const server = make((socket) => {
      const peer: Peer = { socket, requests: 0, closed: new Promise((resolve) => socket.on("close", () => resolve())) }
      peers.push(peer)
      socket.on("error", () => socket.destroy())
      let text = ""
      socket.on("data", (data) => {
        text += data.toString("latin1")
        if (!text.endsWith("{}")) return
        peer.requests++
        onRequest(peer, text)
        text = ""
      })
    })
    const port = yield* listening(server)
    yield* Effect.addFinalizer(() => Effect.sync(() => peers.forEach(({ socket }) => socket.destroy())))
    return { url: new URL(`http://127.0.0.1:${port}/`), port, peers }
  })

/** What one request comes to: its status and body, or the error as the log would say it. */
const send = (post: Post, body = "{}") =>
  Effect.callback<string>((resume) => {
    let text = ""
    const exchange: Exchange = {
      onHeaders: (status) => (text = `${status} `),
      onData: (bytes, start, end) => (text += bytes.toString("latin1", start, end)),
      onEnd: () => resume(Effect.succeed(text)),
      onError: (error) => resume(Effect.succeed(toAttemptError(error)))
    }
    const request = post("", body, exchange)
    return Effect.sync(() => request.abort(exchange))
  })

const answer = (body: string, headers = "") =>
  `HTTP/1.1 200 OK\r\n${headers}content-length: ${body.length}\r\n\r\n${body}`

it.layer(layer, { excludeTestServices: true })("a connection", (it) => {
  it.effect("is used again after each way in which an answer can end, but with its connection", () =>
    Effect.gen(function*() {
      const answers = [
        answer("1"),
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n3\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
        answer("5")
      ]
      const { peers, url } = yield* raw((peer) => void peer.socket.write(answers[peer.requests - 1]!))
      const post = (yield* transport).to(url)
      for (const expected of ["200 1", "204 ", "200 3", "200 ", "200 5"]) {
        assert.strictEqual(yield* send(post), expected)
      }
      assert.deepStrictEqual(peers.map(({ requests }) => requests), [5])
    }).pipe(Effect.scoped))

  it.effect("is not used again when the server says so, in one of its ways", () =>
    Effect.gen(function*() {
      for (
        const last of [
          answer("x", "Connection: close\r\n"),
          "HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx",
          answer("x", "keep-alive: timeout=1\r\n")
        ]
      ) {
        const { peers, url } = yield* raw((peer) => void peer.socket.write(last))
        const post = (yield* transport).to(url)
        for (let n = 0; n < 2; n++) assert.strictEqual(yield* send(post), "200 x")
        assert.deepStrictEqual(peers.map(({ requests }) => requests), [1, 1])
        yield* Effect.promise(() => peers[1]!.closed)
      }
    }).pipe(Effect.scoped))

  it.effect("takes nothing for an answer that came before its request", () =>
    Effect.gen(function*() {
      // At once, in the same packet.
      const twice = yield* raw((peer) => void peer.socket.write(answer(String(peer.requests)) + answer("forged")))
      const post = (yield* transport).to(twice.url)
      for (let n = 0; n < 3; n++) assert.strictEqual(yield* send(post), "200 1")
      assert.lengthOf(twice.peers, 3)

      // Later, while the connection is idle.
      const late = yield* raw((peer) => void peer.socket.write(answer(String(peer.requests))))
      const other = (yield* transport).to(late.url)
      assert.strictEqual(yield* send(other), "200 1")
      late.peers[0]!.socket.write(answer("forged"))
      yield* Effect.promise(() => late.peers[0]!.closed)
      assert.strictEqual(yield* send(other), "200 1")
      assert.lengthOf(late.peers, 2)
    }).pipe(Effect.scoped))

  it.effect("whose request was broken off is closed: its answer is nobody's", () =>
    Effect.gen(function*() {
      const arrived: Array<() => void> = []
      const { peers, url } = yield* raw((peer, request) => {
        if (request.includes("/second")) return void peer.socket.write(answer("second"))
        arrived.forEach((resolve) => resolve())
      })
      const made = yield* transport
      const first = new Promise<void>((resolve) => arrived.push(resolve))
      const exchange: Exchange = {
        onHeaders: () => assert.fail("an answer"),
        onData: () => assert.fail("an answer"),
        onEnd: () => assert.fail("an end"),
        onError: () => assert.fail("an error")
      }
      const request = made.to(url)("", "{}", exchange)
      yield* Effect.promise(() => first)
      request.abort(exchange)
      yield* Effect.promise(() => peers[0]!.closed)
      assert.strictEqual(yield* send(made.to(new URL("/second", url))), "200 second")
      assert.lengthOf(peers, 2)
      // It has ended: there is nothing to break off.
      request.abort(exchange)
    }).pipe(Effect.scoped))

  it.effect("that answered before it had read the request is closed", () =>
    Effect.gen(function*() {
      let closed: Promise<void> = Promise.resolve()
      let connections = 0
      const port = yield* listening(createServer((socket) => {
        connections++
        socket.on("error", () => socket.destroy())
        closed = new Promise((resolve) => socket.on("close", () => resolve()))
        socket.once("data", () => {
          socket.pause()
          socket.write(answer("early"))
          socket.on("end", () => socket.destroy())
          setImmediate(() => socket.resume())
        })
      }))
      const post = (yield* transport).to(new URL(`http://127.0.0.1:${port}/`))
      assert.strictEqual(yield* send(post, "x".repeat(64 * 1048576)), "200 early")
      yield* Effect.promise(() => closed)
      assert.strictEqual(yield* send(post, "{}"), "200 early")
      assert.strictEqual(connections, 2)
    }).pipe(Effect.scoped))

  it.effect("that the server closed while it was idle is not used", () =>
    Effect.gen(function*() {
      const { peers, url } = yield* raw((peer) => void peer.socket.write(answer("x")))
      const post = (yield* transport).to(url)
      assert.strictEqual(yield* send(post), "200 x")
      peers[0]!.socket.end()
      yield* Effect.promise(() => peers[0]!.closed)
      assert.strictEqual(yield* send(post), "200 x")
      assert.lengthOf(peers, 2)
    }).pipe(Effect.scoped))

  it.effect("is closed when it has been idle for 4 s, and so are all when nothing is sent any more", () =>
    Effect.gen(function*() {
      const { peers, url } = yield* raw((peer) => void peer.socket.write(answer("x")))
      const made = yield* transport
      yield* Effect.all([send(made.to(url)), send(made.to(url))], { concurrency: 2 })
      assert.lengthOf(peers, 2)
      const from = performance.now()
      yield* Effect.promise(() => Promise.all(peers.map(({ closed }) => closed)))
      assert.isAbove(performance.now() - from, 3_500)
      assert.strictEqual(yield* send(made.to(url)), "200 x")
      made.close()
      yield* Effect.promise(() => peers[2]!.closed)
    }).pipe(Effect.scoped))

  it.effect("carries the length of the body's bytes, and the bytes", () =>
    Effect.gen(function*() {
      const requests: Array<string> = []
      const { url } = yield* raw((peer, request) => {
        requests.push(request)
        peer.socket.write(answer(""))
      })
      const post = (yield* transport).to(new URL("/hook?a=%20b", url))
      for (const body of ["{}", "\u00e9{}", "\u4e2d\ud83c\udf89{}"]) {
        assert.strictEqual(yield* send(post, body), "200 ")
        const bytes = Buffer.from(body)
        assert.strictEqual(
          requests.pop(),
          `POST /hook?a=%20b HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: ${bytes.length}\r\n\r\n` +
            bytes.toString("latin1")
        )
      }
    }).pipe(Effect.scoped))
})

it.layer(layer, { excludeTestServices: true })("a connection by TLS", (it) => {
  it.effect("is used again, and speaks HTTP/1.1 to the server of its name", () =>
    Effect.gen(function*() {
      // A certificate of one's own is known to no client, and Bun has no way to make it known later.
      if (!("setDefaultCACertificates" in tls) || process.versions["bun"] !== undefined) return
      const folder = mkdtempSync(join(tmpdir(), "truss-tls-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true })))
      const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")]
      execFileSync(
        "openssl",
        `req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout ${key} -out ${cert}`
          .split(" "),
        { stdio: "ignore" }
      )
      const known = tls.getCACertificates("default")
      tls.setDefaultCACertificates([...known, readFileSync(cert, "utf8")])
      yield* Effect.addFinalizer(() => Effect.sync(() => tls.setDefaultCACertificates(known)))
      const names: Array<string | false | null> = []
      const { peers, port } = yield* raw(
        (peer, request) => {
          const socket = peer.socket as tls.TLSSocket
          names.push(socket.alpnProtocol, (socket as { readonly servername?: string }).servername ?? null)
          socket.write(answer(String(Buffer.byteLength(request, "latin1"))))
        },
        (onSocket) =>
          tls.createServer(
            { key: readFileSync(key), cert: readFileSync(cert), ALPNProtocols: ["h2", "http/1.1"] },
            onSocket
          )
      )
      const made = yield* transport
      const post = made.to(new URL(`https://localhost:${port}/`))
      const body = "x".repeat(300_000) + "{}"
      const length = Buffer.byteLength(`POST / HTTP/1.1\r\nHost: localhost:${port}\r\nContent-Length: 300002\r\n\r\n`)
      for (let n = 0; n < 3; n++) assert.strictEqual(yield* send(post, body), `200 ${length + body.length}`)
      assert.deepStrictEqual(peers.map(({ requests }) => requests), [3])
      assert.deepStrictEqual(names.slice(0, 2), ["http/1.1", "localhost"])
      // The certificate is for the name, not for the address.
      assert.strictEqual(yield* send(made.to(new URL(`https://127.0.0.1:${port}/`))), "tls")
      assert.strictEqual(peers.reduce((sum, { requests }) => sum + requests, 0), 3)
    }).pipe(Effect.scoped))
})
