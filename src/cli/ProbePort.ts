import { Effect } from "effect"
import { createServer } from "node:net"
import { ListenError } from "../http/Server.ts"

/** Whether the port can be listened on: gives it, or a free one for 0. */
export const probePort = (host: string, port: number) =>
  Effect.callback<number, ListenError>((resume) => {
    const server = createServer()
    server.once("error", (error) => {
      const inUse = "code" in error && error.code === "EADDRINUSE"
      const reason = inUse ? "port_in_use" : "other"
      resume(Effect.fail(new ListenError({ reason, host, port, detail: error.message })))
    })
    server.listen(port, host, () => {
      const address = server.address()
      server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : port)))
    })
  })
