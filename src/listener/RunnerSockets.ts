import { NodeSocket } from "@effect/platform-node"
import { Effect, FiberSet, Layer, Result } from "effect"
import { type RunnerAddress, Runners } from "effect/cluster"
import { NetAddress } from "effect/net"
import { RpcClient, RpcSerialization } from "effect/rpc"
import { Socket, SocketServer } from "effect/socket"
import { type AddressInfo, connect, createServer, type Socket as NetSocket } from "node:net"
import { sealSocket } from "./SealedSocket.ts"

/** Connections of other runners at most. */
const maxConnections = 1_000

const openError = (cause: unknown) =>
  new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })

const sealed = (open: () => NetSocket, token: string, side: "client" | "server") =>
  NodeSocket.fromDuplex(
    Effect.acquireRelease(
      Effect.mapError(Effect.suspend(() => sealSocket(open(), token, side)), openError),
      (socket) => Effect.sync(() => socket.destroy()),
      { interruptible: true }
    )
  )

/** How this runner speaks to others. */
export const layerRunnerClients = (token: string) =>
  Layer.effect(
    Runners.RpcClientProtocol,
    Effect.gen(function*() {
      const serialization = yield* RpcSerialization.RpcSerialization
      return {
        codecFor: serialization.codecFor,
        make: Effect.fnUntraced(function*({ host, port }: RunnerAddress.RunnerAddress) {
          const socket = yield* sealed(() => connect({ host, port }), token, "client")
          return yield* RpcClient.makeProtocolSocket().pipe(
            Effect.provideService(Socket.Socket, socket),
            Effect.provideService(RpcSerialization.RpcSerialization, serialization)
          )
        })
      }
    })
  )

/** Where others speak to this runner. */
export const layerRunnerServer = (listen: { readonly host: string; readonly port: number }, token: string) =>
  Layer.effect(
    SocketServer.SocketServer,
    Effect.gen(function*() {
      let accept = (connection: NetSocket): void => void connection.destroy()
      const server = createServer({ pauseOnConnect: true }, (connection) => accept(connection))
      server.maxConnections = maxConnections
      yield* Effect.acquireRelease(
        Effect.callback<void, SocketServer.SocketServerError>((resume) => {
          const failed = (cause: Error) =>
            resume(Effect.fail(
              new SocketServer.SocketServerError({ reason: new SocketServer.SocketServerOpenError({ cause }) })
            ))
          server.once("error", failed)
          server.listen({ host: listen.host, port: listen.port }, () => {
            server.off("error", failed)
            resume(Effect.void)
          })
        }),
        () => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
      )
      const { address, port } = server.address() as AddressInfo
      return SocketServer.SocketServer.of({
        address: Result.getOrThrow(NetAddress.inetAddressFromIpString(address, port)),
        run: Effect.fnUntraced(function*<R, E, _>(handle: (socket: Socket.Socket) => Effect.Effect<_, E, R>) {
          const fork = yield* FiberSet.runtime(yield* FiberSet.make<unknown>())<R>()
          accept = (connection) => {
            // Before its handler has begun, and after it has ended, nobody else listens to these.
            connection.on("error", () => {})
            fork(
              sealed(() => connection, token, "server").pipe(
                Effect.flatMap(handle),
                Effect.tapError((error) => Effect.logDebug("a connection of a runner has ended", error)),
                Effect.ignoreCause,
                Effect.ensuring(Effect.sync(() => connection.destroy()))
              )
            )
          }
          return yield* Effect.never
        }, Effect.scoped) as never
      })
    })
  )
