import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer as createTlsServer } from "node:https"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Answer } from "../../src/domain/Attempt.ts"
import { decodeAttemptId } from "../../src/domain/AttemptRef.ts"
import { loopback } from "../../src/domain/EgressAllow.ts"
import { encodeEventId } from "../../src/domain/EventRef.ts"
import { Egress } from "../../src/services/Egress.ts"
import { type Endpoint, Sender, toAttemptError } from "../../src/services/Sender.ts"
import { Subscribers } from "../../src/services/Subscribers.ts"
import { Receiver } from "../support/Receiver.ts"

const layer = Layer.merge(Sender.layer, Receiver.layer).pipe(
  Layer.provide([Egress.layer({ allow: loopback }), Subscribers.layer])
)

const ref = { slot: 1, tableId: 2, seq: 3, at: 1_700_000_000_000_000 }

type Options = Partial<Endpoint & { readonly body: string; readonly nonce: number }>

/** Attempts at one endpoint, one after the other. */
const attempts = (url: string, more?: Options) =>
  Effect.map(Sender, (sender) => {
    const { body = "{}", nonce = 5, ...endpoint } = more ?? {}
    const post = sender.to({ url, headers: {}, secret: null, previousSecret: null, timeoutMs: 5_000, ...endpoint })
    return Effect.callback<Answer>((resume) =>
      Effect.sync(post({ ref, eventType: "INSERT", body, nonce }, (answer) => resume(Effect.succeed(answer))))
    )
  })

const send = (url: string, more?: Options) => Effect.flatten(attempts(url, more))

const listening = <S extends Server>(server: S) =>
  Effect.acquireRelease(
    Effect.callback<string>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(`127.0.0.1:${(server.address() as AddressInfo).port}`)))
    }),
    () => Effect.sync(() => void server.close())
  )

/** A server that does as it likes with a connection once a whole request has come. */
const raw = (onRequest: (socket: Socket) => void) =>
  Effect.gen(function*() {
    const sockets = new Set<Socket>()
    const address = yield* listening(createServer((socket) => {
      sockets.add(socket)
      socket.on("error", () => socket.destroy())
      let text = ""
      socket.on("data", (data) => {
        text += data.toString("latin1")
        if (text.endsWith("{}")) onRequest(socket)
      })
    }))
    yield* Effect.addFinalizer(() => Effect.sync(() => sockets.forEach((socket) => socket.destroy())))
    return `http://${address}/`
  })

const failed = (answer: Answer, error: Answer["error"]) =>
  assert.deepInclude(answer, { statusCode: null, responseBody: null, retryAfter: null, error })

it.layer(layer, { excludeTestServices: true })("a request", (it) => {
  it.effect("has the body's bytes, its headers and those of the webhook", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const body = `{"é":"🎉${"x".repeat(200_000)}"}`
      const answer = yield* send(receiver.url("/sent?a=1&b=%20"), {
        body,
        nonce: 123456789,
        headers: { "X-Own": "caf\u00e9 1", "user-agent": "mine", __proto__x: "y" }
      })
      assert.deepInclude(answer, { statusCode: 200, responseBody: "ok", error: null, retryAfter: null })
      assert.isAbove(answer.latencyMs, 0)
      const [request] = receiver.at("/sent?a=1&b=%20")
      assert.strictEqual(request!.text, body)
      assert.strictEqual(request!.headers["content-length"], String(Buffer.byteLength(body)))
      assert.strictEqual(request!.headers["x-own"], "caf\u00e9 1")
      assert.strictEqual(request!.headers["user-agent"], "mine")
      assert.strictEqual(request!.headers["webhook-id"], encodeEventId(ref))
      assert.deepStrictEqual(decodeAttemptId(String(request!.headers["x-truss-delivery"])), {
        eventSeq: 3,
        nonce: 123456789
      })
      assert.isUndefined(request!.headers["x-truss-signature"])
      assert.isUndefined(request!.headers["webhook-signature"])
      assert.isUndefined(request!.headers["transfer-encoding"])
      for (const name of ["host", "user-agent", "content-type", "content-length", "webhook-id", "x-truss-event"]) {
        const all = request!.rawHeaders.filter((header, i) => i % 2 === 0 && header.toLowerCase() === name)
        assert.lengthOf(all, 1, name)
      }
    }))

  it.effect("reaches hosts by name, by IPv6 where there is one, and ports of URLs", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      assert.strictEqual((yield* send(`http://localhost:${receiver.port}/named`)).statusCode, 200)
      assert.strictEqual(receiver.at("/named")[0]!.headers.host, `localhost:${receiver.port}`)
    }))

  it.effect("uses its connection again, and another when the endpoint has closed it", () =>
    Effect.gen(function*() {
      let connections = 0
      const server = createServer((socket) => {
        connections++
        let requests = 0
        socket.on("error", () => socket.destroy())
        socket.on("data", (data) => {
          if (!data.toString("latin1").startsWith("POST")) return
          requests++
          socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
          // Without a word, as a server does that is restarted.
          if (requests === 2) socket.end()
        })
      })
      const url = `http://${yield* listening(server)}/`
      for (let made = 1; made <= 6; made++) {
        assert.strictEqual((yield* send(url)).statusCode, 200)
        if (made === 2) assert.strictEqual(connections, 1)
        // The end of a connection has reached this side when another one has been used.
        yield* send(`http://localhost:${(yield* Receiver).port}/between`)
      }
      assert.isAbove(connections, 1)
    }).pipe(Effect.scoped))

  it.effect("that is ended early has no answer", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      receiver.respond("/early", () => ({ fault: "hang" }))
      const fiber = yield* Effect.forkChild(send(receiver.url("/early")))
      const [request] = yield* receiver.waitFor("/early", 1)
      assert.strictEqual(request!.text, "{}")
      yield* Fiber.interrupt(fiber)
    }))
})

it.layer(layer, { excludeTestServices: true })("an answer", (it) => {
  it.effect("is success with any 2xx, with or without a body", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      receiver.respond("/empty", () => ({ status: 204, body: "" }))
      assert.deepInclude(yield* send(receiver.url("/empty")), { statusCode: 204, responseBody: "", error: null })
      receiver.respond("/accepted", () => ({ status: 202, body: "" }))
      assert.deepInclude(yield* send(receiver.url("/accepted")), { statusCode: 202, responseBody: "", error: null })
    }))

  it.effect("that redirects is not followed, and keeps its status", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      for (const status of [301, 302, 303, 304, 307, 308]) {
        receiver.respond("/redirects", () => ({ status, headers: { location: receiver.url("/target") }, body: "" }))
        assert.deepInclude(yield* send(receiver.url("/redirects")), { statusCode: status, error: "redirect" })
      }
      assert.isEmpty(receiver.at("/target"))
    }))

  it.effect("of an error has its status, its body and what Retry-After says", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      receiver.respond("/error", () => ({ status: 503, headers: { "retry-after": "7" }, body: "later" }))
      assert.deepInclude(yield* send(receiver.url("/error")), {
        statusCode: 503,
        responseBody: "later",
        error: null,
        retryAfter: "7"
      })
    }))

  it.effect("of 10 MB is cut after 1024 bytes, and the rest is not waited for", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const bytes = Buffer.alloc(10 * 1048576, "x")
      receiver.respond("/flood", () => ({ body: bytes, headers: { "content-length": String(bytes.length) } }))
      receiver.respond("/chunks", () => ({ body: bytes }))
      for (const path of ["/flood", "/chunks"]) {
        const answer = yield* send(receiver.url(path))
        assert.deepInclude(answer, { statusCode: 200, error: null, responseBody: "x".repeat(1024) })
      }
      receiver.respond("/exact", () => ({ body: "y".repeat(1024) }))
      assert.strictEqual((yield* send(receiver.url("/exact"))).responseBody, "y".repeat(1024))
      receiver.respond("/little_more", () => ({ body: "z".repeat(1100) }))
      assert.strictEqual((yield* send(receiver.url("/little_more"))).responseBody, "z".repeat(1024))
      const endless = yield* raw((socket) => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n${"e".repeat(1024)}`)
      })
      const answer = yield* send(endless, { timeoutMs: 3_000 })
      assert.deepInclude(answer, { statusCode: 200, responseBody: "e".repeat(1024) })
      assert.isBelow(answer.latencyMs, 2_000)
    }).pipe(Effect.scoped))

  it.effect("is text whatever its bytes are", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      receiver.respond("/bytes", () => ({ body: Buffer.from([0x61, 0x00, 0xff, 0xc3, 0xa9, 0xf0, 0x9f]) }))
      assert.strictEqual((yield* send(receiver.url("/bytes"))).responseBody, "a\ufffd\ufffdé\ufffd")
      receiver.respond("/cut", () => ({ body: "x" + "é".repeat(1000) }))
      const { responseBody } = yield* send(receiver.url("/cut"))
      assert.strictEqual(responseBody, "x" + "é".repeat(511) + "\ufffd")
    }))

  it.effect("may be preceded by 100 Continue", () =>
    Effect.gen(function*() {
      const url = yield* raw((socket) =>
        void socket.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok")
      )
      assert.deepInclude(yield* send(url), { statusCode: 201, responseBody: "ok", error: null })
    }).pipe(Effect.scoped))

  for (const interim of ["103 Early Hints\r\nlink: </a>", "102 Processing"]) {
    it.effect(`may be preceded by ${interim.split("\r")[0]}`, () =>
      Effect.gen(function*() {
        const url = yield* raw((socket) =>
          void socket.write(`HTTP/1.1 ${interim}\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok`)
        )
        assert.deepInclude(yield* send(url), { statusCode: 201, responseBody: "ok", error: null })
      }).pipe(Effect.scoped))
  }

  it.effect("is not one that asks for another protocol", () =>
    Effect.gen(function*() {
      const upgrade = yield* raw((socket) =>
        void socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
      )
      const answer = yield* send(upgrade, { timeoutMs: 1_000 })
      assert.isNotNull(answer.error)
      assert.isNull(answer.statusCode)
    }).pipe(Effect.scoped))

  it.effect("may end with the connection, and may take longer than an idle connection is kept", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const closing = yield* raw((socket) => void socket.end("HTTP/1.0 200 OK\r\n\r\nuntil the end"))
      assert.deepInclude(yield* send(closing), { statusCode: 200, responseBody: "until the end", error: null })
      receiver.respond("/slow", () => ({ after: new Promise((resolve) => setTimeout(resolve, 4_500)) }))
      assert.deepInclude(yield* send(receiver.url("/slow"), { timeoutMs: 15_000 }), { statusCode: 200, error: null })
    }).pipe(Effect.scoped))
})

it.layer(layer, { excludeTestServices: true })(
  "an attempt without an answer",
  (it) => {
    it.effect("is a timeout when it has not ended in time, whatever had arrived", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        receiver.respond("/hang", () => ({ fault: "hang" }))
        receiver.respond("/body", () => ({ fault: "hangInBody", headers: { "retry-after": "5" } }))
        for (const path of ["/hang", "/body"]) {
          const answer = yield* send(receiver.url(path), { timeoutMs: 200 })
          failed(answer, "timeout")
          assert.isAtLeast(answer.latencyMs, 195)
          assert.isBelow(answer.latencyMs, 1_500)
        }
        const dripping = yield* raw((socket) => {
          socket.write("HTTP/1.1 200 OK\r\n")
          const timer = setInterval(() => socket.write("x: y\r\n"), 20)
          socket.on("close", () => clearInterval(timer))
        })
        failed(yield* send(dripping, { timeoutMs: 300 }), "timeout")
      }).pipe(Effect.scoped))

    it.effect("is connection_reset when the endpoint hangs up", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        receiver.respond("/reset", () => ({ fault: "reset" }))
        receiver.respond("/half", () => ({ fault: "resetInBody", headers: { "retry-after": "5" } }))
        failed(yield* send(receiver.url("/reset")), "connection_reset")
        failed(yield* send(receiver.url("/half")), "connection_reset")
        failed(yield* send(yield* raw((socket) => void socket.end())), "connection_reset")
        failed(yield* send(yield* raw((socket) => void socket.end("HTTP/1.1 200 OK\r\nx: y"))), "connection_reset")
      }).pipe(Effect.scoped))

    it.effect("is connection_refused when nobody listens", () =>
      Effect.gen(function*() {
        const address = yield* Effect.scoped(listening(createServer()))
        failed(yield* send(`http://${address}/`), "connection_refused")
      }))

    it.effect("is dns when the name does not resolve", () =>
      Effect.gen(function*() {
        failed(yield* send("http://no-such-host.invalid/", { timeoutMs: 20_000 }), "dns")
      }))

    it.effect("is tls when the certificate is not trusted, or the endpoint speaks no TLS", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        failed(yield* send(receiver.url("/plain").replace("http:", "https:")), "tls")
        const folder = mkdtempSync(join(tmpdir(), "truss-tls-"))
        yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true })))
        const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")]
        const made = yield* Effect.exit(Effect.sync(() =>
          execFileSync(
            "openssl",
            `req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout ${key} -out ${cert}`
              .split(" "),
            { stdio: "ignore" }
          )
        ))
        if (made._tag === "Failure") return
        let requests = 0
        const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (_, response) => {
          requests++
          response.end()
        })
        failed(yield* send(`https://${yield* listening(server)}/`), "tls")
        assert.strictEqual(requests, 0)
      }).pipe(Effect.scoped))

    it.effect("is protocol when what comes is no HTTP", () =>
      Effect.gen(function*() {
        failed(yield* send(yield* raw((socket) => void socket.end("SSH-2.0-OpenSSH\r\n\r\n"))), "protocol")
        failed(
          yield* send(yield* raw((socket) => void socket.end("HTTP/1.1 200 OK\r\ncontent-length: a lot\r\n\r\n"))),
          "protocol"
        )
      }).pipe(Effect.scoped))

    it("names what the system's errors mean", () => {
      const of = (code: string) => toAttemptError(Object.assign(new Error(code), { code }))
      assert.strictEqual(of("EHOSTUNREACH"), "unreachable")
      assert.strictEqual(of("ENETUNREACH"), "unreachable")
      assert.strictEqual(of("EAI_AGAIN"), "dns")
      assert.strictEqual(of("EPIPE"), "connection_reset")
      assert.strictEqual(of("ETIMEDOUT"), "timeout")
      assert.strictEqual(of("DEPTH_ZERO_SELF_SIGNED_CERT"), "tls")
      assert.strictEqual(of("CERT_HAS_EXPIRED"), "tls")
      assert.strictEqual(of("ERR_TLS_CERT_ALTNAME_INVALID"), "tls")
      assert.strictEqual(toAttemptError("nonsense"), "connection_reset")
      assert.strictEqual(toAttemptError(undefined), "connection_reset")
    })
  }
)
