import { Deferred, Effect } from "effect"
import { connect } from "node:net"

/** A connection that sends what it is told and nothing else. */
export interface RawClient {
  /** What arrived so far. */
  readonly text: () => string
  readonly send: (text: string) => void
  readonly isOpen: () => boolean
  /** Waits until the other side has ended or cut the connection; the text that arrived by then. */
  readonly closed: Effect.Effect<string>
}

/** How a client is slow. */
export interface Slowness {
  /** Does not read what arrives. */
  readonly deaf?: boolean
  /** Sends this again and again, so many milliseconds apart. */
  readonly trickle?: { readonly text: string; readonly everyMs: number }
}

/** Connects and sends; closed with the scope. */
export const rawClient = Effect.fnUntraced(function*(port: number, first: string, { deaf, trickle }: Slowness = {}) {
  const closed = yield* Deferred.make<string>()
  let text = ""
  const socket = yield* Effect.acquireRelease(
    Effect.callback<ReturnType<typeof connect>>((resume) => {
      const socket = connect({ port, host: "127.0.0.1" }, () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )
  // A deaf client sees the end only when it writes: it is told by the server's reset.
  if (deaf !== true) socket.on("data", (chunk) => text += chunk.toString("latin1"))
  socket.on("close", () => Deferred.doneUnsafe(closed, Effect.succeed(text)))
  socket.write(first, "latin1")
  if (trickle !== undefined) {
    const timer = setInterval(() => socket.writable && socket.write(trickle.text), trickle.everyMs)
    socket.on("close", () => clearInterval(timer))
  }
  return {
    text: () => text,
    send: (more) => void socket.write(more, "latin1"),
    isOpen: () => !socket.destroyed,
    closed: Deferred.await(closed)
  } satisfies RawClient
})
