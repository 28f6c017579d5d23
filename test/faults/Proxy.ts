import { Effect, type Scope } from "effect"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"

/** The way between a process of the service and PostgreSQL, which can be cut and frozen. */
export interface Proxy {
  readonly port: number
  /** Ends every connection at both ends. */
  readonly cut: Effect.Effect<void>
  /** Nothing passes, neither way, and nobody is told; connections that are made meanwhile wait. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  /** Ends one end of every connection; whoever is at the other waits for answers that never come. */
  readonly cutHalf: (gone: "service" | "server") => Effect.Effect<void>
  /** Ends what `cutHalf` left. */
  readonly clear: Effect.Effect<void>
}

interface Pair {
  readonly service: Socket
  readonly server: Socket
  half: boolean
}

/** Forwards from a port of its own; ends with the scope. */
export const startProxy = (to: { readonly host: string; readonly port: number }): Effect.Effect<
  Proxy,
  never,
  Scope.Scope
> =>
  Effect.gen(function*() {
    const pairs = new Set<Pair>()
    let frozen = false

    const end = (pair: Pair) => {
      pairs.delete(pair)
      pair.service.destroy()
      pair.server.destroy()
    }

    const forward = (pair: Pair, from: Socket, into: Socket) => {
      from.on("data", (chunk) => {
        if (!pair.half && !into.write(chunk)) from.pause()
      })
      into.on("drain", () => {
        if (!frozen) from.resume()
      })
      from.on("end", () => {
        if (!pair.half) into.end()
      })
      // A half that was cut on purpose must not take the other one with it.
      from.on("close", () => {
        if (!pair.half) end(pair)
      })
      from.on("error", () => {})
      if (frozen) from.pause()
    }

    const server = yield* Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const server = createServer({ allowHalfOpen: true, noDelay: true }, (service) => {
          const pair: Pair = { service, server: connect({ ...to, allowHalfOpen: true, noDelay: true }), half: false }
          pairs.add(pair)
          forward(pair, pair.service, pair.server)
          forward(pair, pair.server, pair.service)
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const pair of pairs) end(pair)
        })
    )

    const set = (value: boolean) => {
      frozen = value
      for (const { server, service } of pairs) {
        for (const socket of [server, service]) {
          if (value) socket.pause()
          else socket.resume()
        }
      }
    }

    return {
      port: (server.address() as AddressInfo).port,
      cut: Effect.sync(() => [...pairs].forEach(end)),
      freeze: Effect.sync(() => set(true)),
      thaw: Effect.sync(() => set(false)),
      cutHalf: (gone) =>
        Effect.sync(() => {
          for (const pair of pairs) {
            pair.half = true
            pair[gone].destroy()
          }
        }),
      clear: Effect.sync(() => [...pairs].filter((pair) => pair.half).forEach(end))
    }
  })
