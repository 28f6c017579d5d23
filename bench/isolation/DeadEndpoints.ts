import { Effect } from "effect"
import { createServer, type Socket } from "node:net"

/** Nobody listens there. */
export const refusingUrl = "http://127.0.0.1:1/orders"

/** An endpoint that accepts connections, reads, and never answers; for as long as the scope. Gives its URL. */
export const openHangingEndpoint = Effect.acquireRelease(
  Effect.callback<{ readonly url: string; readonly close: () => void }>((resume) => {
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on("error", () => socket.destroy())
      socket.on("close", () => sockets.delete(socket))
      socket.resume()
    })
    server.listen(0, "127.0.0.1", 1024, () => {
      const address = server.address()
      const port = typeof address === "object" ? address?.port ?? 0 : 0
      const close = () => {
        server.close()
        for (const socket of sockets) socket.destroy()
      }
      resume(Effect.succeed({ url: `http://127.0.0.1:${port}/orders`, close }))
    })
  }),
  ({ close }) => Effect.sync(close)
).pipe(Effect.map(({ url }) => url))
