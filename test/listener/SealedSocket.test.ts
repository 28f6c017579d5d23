import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import type { Duplex } from "node:stream"
import { sealSocket } from "../../src/listener/SealedSocket.ts"

const token = "t".repeat(32)

/** The two ends of a connection; `between` sees and may change what the client sends. */
const ends = (between: (chunk: Buffer) => Buffer = (chunk) => chunk) =>
  Effect.gen(function*() {
    const listen = (onConnection: (socket: Socket) => void) =>
      Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createServer>>((resume) => {
          const server = createServer(onConnection)
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => void server.close())
      )
    let accepted: (socket: Socket) => void
    const accepting = new Promise<Socket>((resolve) => (accepted = resolve))
    const far = yield* listen((socket) => accepted(socket))
    const near = yield* listen((from) => {
      const to = connect((far.address() as AddressInfo).port, "127.0.0.1")
      from.on("data", (chunk: Buffer) => to.write(between(chunk)))
      to.on("data", (chunk) => from.write(chunk))
      for (const [one, other] of [[from, to], [to, from]] as const) {
        one.on("error", () => {})
        one.on("close", () => other.destroy())
      }
    })
    const client = connect((near.address() as AddressInfo).port, "127.0.0.1")
    const server = yield* Effect.promise(() => accepting)
    yield* Effect.addFinalizer(() => Effect.sync(() => [client, server].forEach((socket) => socket.destroy())))
    return { client, server }
  })

const both = (client: Socket, server: Socket, theirs = token) =>
  Effect.all([Effect.exit(sealSocket(client, token, "client")), Effect.exit(sealSocket(server, theirs, "server"))], {
    concurrency: 2
  })

const readBytes = (from: Duplex, count: number) =>
  Effect.callback<Buffer, Error>((resume) => {
    const chunks: Array<Buffer> = []
    let bytes = 0
    from.on("data", (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes >= count) resume(Effect.succeed(Buffer.concat(chunks)))
    })
    from.on("close", () => resume(Effect.fail(new Error(`closed after ${bytes} bytes`))))
  })

const opened = Effect.fnUntraced(function*(between?: (chunk: Buffer) => Buffer) {
  const { client, server } = yield* ends(between)
  const [near, far] = yield* both(client, server)
  return { near: yield* near, far: yield* far }
})

describe("a sealed socket", () => {
  it.live("carries bytes both ways, and nobody between can read them", () =>
    Effect.gen(function*() {
      const seen: Array<Buffer> = []
      const { far, near } = yield* opened((chunk) => (seen.push(chunk), chunk))
      const text = Buffer.from("webhook ".repeat(100_000))
      near.write(text)
      assert.isTrue((yield* readBytes(far, text.length)).equals(text))
      far.write("thanks")
      assert.strictEqual(String(yield* readBytes(near, 6)), "thanks")
      assert.isAbove(Buffer.concat(seen).length, text.length)
      assert.notInclude(Buffer.concat(seen).toString("latin1"), "webhook")
    }).pipe(Effect.scoped))

  it.live("is refused by both sides when they have different tokens", () =>
    Effect.gen(function*() {
      const { client, server } = yield* ends()
      const [near, far] = yield* both(client, server, "u".repeat(32))
      assert.strictEqual(near._tag, "Failure")
      assert.strictEqual(far._tag, "Failure")
      assert.isTrue(client.destroyed && server.destroyed)
    }).pipe(Effect.scoped))

  it.live("is refused to a peer that says nothing, or plays back what it recorded", () =>
    Effect.gen(function*() {
      const silent = yield* ends()
      const refused = yield* Effect.flip(sealSocket(silent.server, token, "server"))
      assert.include(refused.message, "in time")

      const recorded: Array<Buffer> = []
      const { near } = yield* opened((chunk) => (recorded.push(chunk), chunk))
      near.write("wake")
      const again = yield* ends()
      again.client.write(Buffer.concat(recorded))
      const replayed = yield* Effect.flip(sealSocket(again.server, token, "server"))
      assert.include(replayed.message, "token")
    }).pipe(Effect.scoped))

  it.live("ends when a byte of it was changed, and gives nothing of that frame", () =>
    Effect.gen(function*() {
      let tamper = false
      const { far, near } = yield* opened((chunk) => {
        if (tamper) chunk[chunk.length - 20]! ^= 1
        return chunk
      })
      tamper = true
      near.write("a message of some length for the other side")
      const error = yield* Effect.flip(readBytes(far, 1))
      assert.strictEqual(error.message, "closed after 0 bytes")
    }).pipe(Effect.scoped))
})
