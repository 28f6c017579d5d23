import packet from "dns-packet"
import { Context, Effect, Layer } from "effect"
import { createSocket, type Socket } from "node:dgram"
import type { LookupAddress } from "node:dns"
import { isIP, type LookupFunction } from "node:net"

/** A DNS server on this machine whose answers a test changes as it likes. Names that it was not told do not exist. */
export class NameServer extends Context.Service<NameServer, {
  /** From now on this name has these addresses; `silence`: questions for it are never answered. */
  readonly set: (name: string, answer: ReadonlyArray<string> | "silence") => void
  /** How often a name was asked for its IPv4 addresses. */
  readonly asked: (name: string) => number
  /** Asks this server alone, as `dns.lookup` asks the system. */
  readonly lookup: LookupFunction
}>()("truss/test/NameServer") {
  static readonly layer = Layer.effect(
    NameServer,
    Effect.gen(function*() {
      const answers = new Map<string, ReadonlyArray<string> | "silence">()
      const counts = new Map<string, number>()
      const server = createSocket("udp4")
      server.on("message", (bytes, from) => {
        const query = packet.decode(bytes)
        const { name, type } = query.questions![0]!
        if (type === "A") counts.set(name, (counts.get(name) ?? 0) + 1)
        const answer = answers.get(name)
        if (answer === "silence") return
        const found = (answer ?? []).filter((address) => isIP(address) === (type === "A" ? 4 : 6))
        server.send(
          packet.encode({
            type: "response",
            id: query.id!,
            flags: packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | (answer === undefined ? 3 : 0),
            questions: query.questions!,
            answers: found.map((data) => ({ type: type === "A" ? "A" : "AAAA", name, ttl: 0, data }))
          }),
          from.port,
          from.address
        )
      })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.bind(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
      )
      const { port } = server.address()
      const open = new Set<Socket>()
      yield* Effect.addFinalizer(() => Effect.sync(() => open.forEach((socket) => socket.close())))

      // Not by `dns.Resolver`: on Bun that remembers answers whatever their time to live.
      const ask = (name: string, type: "A" | "AAAA") =>
        new Promise<ReadonlyArray<LookupAddress>>((done) => {
          const socket = createSocket("udp4")
          open.add(socket)
          socket.once("message", (bytes) => {
            open.delete(socket)
            socket.close()
            const { answers = [] } = packet.decode(bytes)
            done(answers.flatMap((answer) =>
              answer.type === "A" || answer.type === "AAAA"
                ? [{ address: answer.data, family: answer.type === "A" ? 4 : 6 }]
                : []
            ))
          })
          socket.send(packet.encode({ type: "query", id: 1, questions: [{ type, name }] }), port, "127.0.0.1")
        })
      const lookup: LookupFunction = (host, options, callback) =>
        void Promise.all([ask(host, "A"), ask(host, "AAAA")]).then((found) => {
          const [first, ...more] = found.flat()
          if (first === undefined) callback(Object.assign(new Error(host), { code: "ENOTFOUND" }), [])
          else if (options.all === true) callback(null, [first, ...more])
          else callback(null, first.address, first.family)
        })
      return {
        set: (name, answer) => void answers.set(name, answer),
        asked: (name) => counts.get(name) ?? 0,
        lookup
      }
    })
  )
}
