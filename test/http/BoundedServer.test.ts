import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { boundedServer, type ConnectionLimits, defaultLimits } from "../../src/http/BoundedServer.ts"
import { rawClient } from "../support/RawClient.ts"
import { until } from "../support/RunningService.ts"

const mebibyte = 1_048_576

/** `/big` answers with 32 MiB, more than the kernel takes; `/slow` when it is told to; anything else at once. */
const serve = Effect.fnUntraced(function*(limits: Partial<ConnectionLimits>) {
  const slow = yield* Deferred.make<() => void>()
  const server = boundedServer({ ...defaultLimits, checkEveryMs: 50, ...limits })
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const big = () => void response.end(Buffer.alloc(32 * mebibyte, "x"))
    if (request.url === "/big") big()
    else if (request.url === "/slow") Deferred.doneUnsafe(slow, Effect.succeed(big))
    else request.resume().once("end", () => response.end("ok")).once("error", () => {})
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
    () =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  )
  const { port } = server.address() as AddressInfo
  const connections = Effect.callback<number>((resume) =>
    void server.getConnections((_, count) => resume(Effect.succeed(count)))
  )
  const get = Effect.promise(() => fetch(`http://127.0.0.1:${port}/`).then(async (answer) => await answer.text()))
  return {
    port,
    get,
    /** The answer of `/slow`, once it was asked for. */
    slow: Deferred.await(slow),
    connected: (count: number) => until(`${count} connections`, connections, (open) => open === count)
  }
})

const get = (path: string, more = "") => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n${more}\r\n`

describe("a bounded server", () => {
  it.live("cuts who sends headers slowly or never, with 408", () =>
    Effect.scoped(Effect.gen(function*() {
      const { get: others, port } = yield* serve({ headersTimeoutMs: 300, requestTimeoutMs: 300 })
      const clients = yield* Effect.all([
        rawClient(port, ""),
        rawClient(port, "GET / HTTP/1.1\r\nhost: localhost\r\n"),
        rawClient(port, "GET / HTTP/1.1\r\nhost: localhost\r\n", { trickle: { text: "a: b\r\n", everyMs: 20 } })
      ])
      assert.strictEqual(yield* others, "ok")
      const [, stopped, slow] = yield* Effect.forEach(clients, ({ closed }) => closed, { concurrency: "unbounded" })
      for (const text of [stopped!, slow!]) {
        assert.match(text, /^HTTP\/1\.1 408 /)
        assert.include(text, "application/problem+json")
        assert.include(text, "urn:truss:problem:request-timeout")
      }
    })))

  it.live("cuts who sends a body slowly", () =>
    Effect.scoped(Effect.gen(function*() {
      const { connected, get: others, port } = yield* serve({ headersTimeoutMs: 300, requestTimeoutMs: 300 })
      const head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n"
      const stopped = yield* rawClient(port, head)
      const slow = yield* rawClient(port, head, { trickle: { text: "a", everyMs: 20 } })
      assert.strictEqual(yield* others, "ok")
      yield* Effect.all([stopped.closed, slow.closed], { concurrency: 2 })
      yield* connected(1)
    })))

  it.live("closes a connection that is idle between requests, and takes another request on it before", () =>
    Effect.scoped(Effect.gen(function*() {
      const { port } = yield* serve({ idleTimeoutMs: 300 })
      const client = yield* rawClient(port, get("/"))
      yield* until(
        "an answer",
        Effect.sync(client.text),
        (text) => text.endsWith("ok\r\n0\r\n\r\n") || text.endsWith("ok")
      )
      client.send(get("/"))
      assert.strictEqual((yield* client.closed).match(/200 OK/g)?.length, 2)
    })))

  it.live("cuts who does not read the answer, and waits for an answer that is being made", () =>
    Effect.scoped(Effect.gen(function*() {
      const { connected, get: others, port, slow } = yield* serve({ stallTimeoutMs: 300 })
      const patient = yield* rawClient(port, get("/slow"), { deaf: true })
      const answer = yield* slow
      yield* rawClient(port, get("/big"), { deaf: true })
      yield* connected(2)
      yield* connected(1)
      assert.isTrue(patient.isOpen())
      // The time-out has passed once already for this one: it must run again from the answer on.
      answer()
      yield* connected(0)
      assert.strictEqual(yield* others, "ok")
    })))

  it.live("does not cut who reads slowly, but reads", () =>
    Effect.scoped(Effect.gen(function*() {
      const { port } = yield* serve({ stallTimeoutMs: 400 })
      const answer = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/big`))
      let bytes = 0
      const before = Date.now()
      yield* Effect.promise(async () => {
        for await (const chunk of answer.body!) {
          bytes += chunk.byteLength
          // Some 1.5 s for the whole, with pauses below the limit.
          if (bytes % (4 * mebibyte) < chunk.byteLength) await new Promise((resolve) => setTimeout(resolve, 180))
        }
      })
      assert.strictEqual(bytes, 32 * mebibyte)
      assert.isAbove(Date.now() - before, 800)
    })))

  it.live("cuts the oldest unread answers when there are too many", () =>
    Effect.scoped(Effect.gen(function*() {
      const { connected, get: others, port } = yield* serve({ maxUnreadBytes: 70 * mebibyte })
      yield* Effect.forEach(Array.from({ length: 8 }), () => rawClient(port, get("/big"), { deaf: true }))
      yield* connected(2)
      assert.strictEqual(yield* others, "ok")
    })))

  it.live("cuts who asks for too much at once on one connection", () =>
    Effect.scoped(Effect.gen(function*() {
      const { connected, port } = yield* serve({})
      const some = yield* rawClient(port, get("/").repeat(8))
      yield* until("eight answers", Effect.sync(some.text), (text) => text.match(/200 OK/g)?.length === 8)
      yield* rawClient(port, get("/slow").repeat(17))
      yield* connected(1)
    })))

  it.live("closes idle connections for new ones when they become scarce", () =>
    Effect.scoped(Effect.gen(function*() {
      const { get: others, port } = yield* serve({ maxConnections: 20 })
      const idle = yield* Effect.forEach(Array.from({ length: 18 }), () => rawClient(port, get("/")))
      yield* Effect.forEach(idle, ({ text }) => until("an answer", Effect.sync(text), (text) => text.includes("ok")))
      yield* Effect.forEach(Array.from({ length: 10 }), () => rawClient(port, "GET / HTTP/1.1\r\n"))
      assert.strictEqual(yield* others, "ok")
      yield* Effect.forEach(idle.slice(0, 9), ({ closed }) => closed, { concurrency: "unbounded" })
      assert.isTrue(idle.at(-1)!.isOpen())
    })))

  it.live("answers 431 to too many headers and 400 to what is no request", () =>
    Effect.scoped(Effect.gen(function*() {
      const { port } = yield* serve({})
      const large = yield* rawClient(port, get("/", `a: ${"a".repeat(20_000)}\r\n`))
      assert.match(yield* large.closed, /^HTTP\/1\.1 431 [^]*urn:truss:problem:headers-too-large/)
      const long = yield* rawClient(port, get(`/${"a".repeat(20_000)}`))
      assert.match(yield* long.closed, /^HTTP\/1\.1 431 /)
      for (
        const text of [
          "NONSENSE\r\n\r\n",
          "\u0016\u0003\u0001\u0002\r\n\r\n",
          get("/", "a b\r\n"),
          get("/", "a: \0\r\n")
        ]
      ) {
        const client = yield* rawClient(port, text)
        assert.match(yield* client.closed, /^HTTP\/1\.1 400 [^]*urn:truss:problem:bad-request/, JSON.stringify(text))
      }
    })))

  it.live("does not upgrade a connection", () =>
    Effect.scoped(Effect.gen(function*() {
      const { port } = yield* serve({ idleTimeoutMs: 300 })
      const client = yield* rawClient(port, get("/", "connection: upgrade\r\nupgrade: websocket\r\n"))
      assert.match(yield* client.closed, /^HTTP\/1\.1 200 OK/)
    })))
})
