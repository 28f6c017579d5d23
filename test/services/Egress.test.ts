import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import type { LookupAddress } from "node:dns"
import { type AddressInfo, createServer } from "node:net"
import { parseEgressAllow } from "../../src/domain/EgressAllow.ts"
import { Egress } from "../../src/services/Egress.ts"
import { toAttemptError } from "../../src/services/Sender.ts"
import { Transport } from "../../src/services/Transport.ts"
import { NameServer } from "../support/NameServer.ts"

const layer = Layer.unwrap(
  Effect.map(NameServer, ({ lookup }) => Egress.layer({ allow: parseEgressAllow("::1, hooks.internal")!, lookup }))
).pipe(
  Layer.provideMerge(NameServer.layer)
)

/** What one request comes to: the status, or the error as the log would say it. */
const send = (transport: Transport, url: string) =>
  Effect.callback<number | string>((resume) => {
    let status = 0
    transport.to(new URL(url))("", "{}", {
      onHeaders: (code) => {
        status = code
      },
      onData: () => {},
      onEnd: () => resume(Effect.succeed(status)),
      onError: (error) => resume(Effect.succeed(toAttemptError(error)))
    })
  })

/** Counts connections; answers each request and closes, so that the next one connects again. */
const endpoint = (host: "127.0.0.1" | "::1") =>
  Effect.gen(function*() {
    let connections = 0
    const server = createServer((socket) => {
      connections++
      socket.on("error", () => socket.destroy())
      socket.on("data", (data) => {
        // A TLS handshake.
        if (data[0] === 0x16) socket.end("no TLS here")
        if (!data.includes("{}")) return
        socket.end("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
      })
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, host, () => resume(Effect.void))),
      () => Effect.sync(() => void server.close())
    )
    return { port: (server.address() as AddressInfo).port, connections: () => connections }
  })

it.layer(layer, { excludeTestServices: true })("a lookup", (it) => {
  const lookUp = (host: string, all = true) =>
    Effect.flatMap(
      Egress,
      ({ lookup }) =>
        Effect.callback<string | ReadonlyArray<LookupAddress>, Error>((resume) =>
          lookup(host, { all }, (error, found) => resume(error === null ? Effect.succeed(found) : Effect.fail(error)))
        )
    )

  it.effect("has of a name's addresses those that may be reached", () =>
    Effect.gen(function*() {
      const names = yield* NameServer
      names.set("mixed.test", ["10.0.0.1", "93.184.216.34", "127.0.0.1", "fd00::1", "2606:4700::1111", "::1"])
      assert.deepStrictEqual(yield* lookUp("mixed.test"), [
        { address: "93.184.216.34", family: 4 },
        { address: "2606:4700::1111", family: 6 },
        { address: "::1", family: 6 }
      ])
      assert.strictEqual(yield* lookUp("mixed.test", false), "93.184.216.34")
    }))

  it.effect("has all the addresses of a name that is allowed, but for a cloud's metadata", () =>
    Effect.gen(function*() {
      const names = yield* NameServer
      names.set("hooks.internal", ["10.0.0.1", "169.254.169.254"])
      assert.deepStrictEqual(yield* lookUp("hooks.internal"), [{ address: "10.0.0.1", family: 4 }])
    }))

  it.effect("fails where no address is left, and says so otherwise than where there is none", () =>
    Effect.gen(function*() {
      const names = yield* NameServer
      names.set("inside.test", ["10.0.0.1", "::ffff:127.0.0.1"])
      assert.strictEqual(toAttemptError(yield* Effect.flip(lookUp("inside.test"))), "blocked_address")
      assert.strictEqual(toAttemptError(yield* Effect.flip(lookUp("inside.test", false))), "blocked_address")
      assert.strictEqual(toAttemptError(yield* Effect.flip(lookUp("nowhere.test"))), "dns")
    }))

  it.effect("is the guard's even by a function that pays no heed to what it was asked", () =>
    Effect.gen(function*() {
      const { lookup } = yield* Egress
      const error = yield* Effect.callback<unknown>((resume) =>
        lookup("any.test", {}, (error) => resume(Effect.succeed(error)))
      )
      assert.strictEqual(toAttemptError(error), "blocked_address")
    }).pipe(Effect.provide(Egress.layer({ lookup: (_host, _options, callback) => callback(null, "127.0.0.1", 4) }))))
})

it.layer(layer, { excludeTestServices: true })("a connection", (it) => {
  const open = Effect.gen(function*() {
    const egress = yield* Egress
    return yield* Effect.acquireRelease(
      Effect.sync(() => new Transport(egress)),
      (made) => Effect.sync(() => made.close())
    )
  })

  it.effect("is made by what the name leads to now, not by what it led to before", () =>
    Effect.gen(function*() {
      const names = yield* NameServer
      const transport = yield* open
      const { connections, port } = yield* endpoint("::1")
      const inside = yield* endpoint("127.0.0.1")
      const url = `http://changing.test:${port}/`
      names.set("changing.test", ["::1"])
      assert.strictEqual(yield* send(transport, url), 200)
      names.set("changing.test", ["127.0.0.1"])
      assert.strictEqual(yield* send(transport, url), "blocked_address")
      assert.strictEqual(yield* send(transport, `http://changing.test:${inside.port}/`), "blocked_address")
      assert.strictEqual(yield* send(transport, `https://changing.test:${inside.port}/`), "blocked_address")
      names.set("changing.test", ["127.0.0.1", "::1"])
      assert.strictEqual(yield* send(transport, url), 200)
      assert.strictEqual(connections(), 2)
      assert.strictEqual(inside.connections(), 0)
    }).pipe(Effect.scoped))

  it.effect("is made for a name that is allowed, wherever it leads, TLS included", () =>
    Effect.gen(function*() {
      const names = yield* NameServer
      const transport = yield* open
      const { connections, port } = yield* endpoint("127.0.0.1")
      names.set("hooks.internal", ["127.0.0.1"])
      assert.strictEqual(yield* send(transport, `http://hooks.internal:${port}/`), 200)
      assert.strictEqual(yield* send(transport, `https://hooks.internal:${port}/`), "tls")
      names.set("other.internal", ["127.0.0.1"])
      assert.strictEqual(yield* send(transport, `http://other.internal:${port}/`), "blocked_address")
      assert.strictEqual(connections(), 2)
    }).pipe(Effect.scoped))

  it.effect("is not made to an address in the URL that must not be reached, however it is written", () =>
    Effect.gen(function*() {
      const transport = yield* open
      const inside = yield* endpoint("127.0.0.1")
      for (
        const host of [
          "127.0.0.1",
          "2130706433",
          "0x7f.1",
          "0177.0.0.1",
          "127.1",
          "127.0.0.1.",
          "[::ffff:127.0.0.1]",
          "[::ffff:7f00:1]",
          "[64:ff9b::7f00:1]",
          "[::7f00:1]",
          "0.0.0.0",
          "[::]"
        ]
      ) {
        for (const scheme of ["http", "https"]) {
          const url = `${scheme}://${host}:${inside.port}/`
          assert.strictEqual(yield* send(transport, url), "blocked_address", url)
        }
      }
      assert.strictEqual(inside.connections(), 0)
      const { port } = yield* endpoint("::1")
      assert.strictEqual(yield* send(transport, `http://[::1]:${port}/`), 200)
    }).pipe(Effect.scoped))
})
