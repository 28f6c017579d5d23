/** What a library alone sends to the receiver: no database, no log, nothing but requests, so many in flight. */
import * as http from "node:http"
import { connect } from "node:net"
import { Agent, request } from "undici"
import { answer, type FromCeiling, type ToCeiling } from "./Messages.ts"
import { now } from "./SharedClock.ts"
import { headersFor } from "./SignedHeaders.ts"

/** Requests that one socket of the raw client writes at once. */
const rawPipeline = 8

type SendOne = (body: string, n: number) => Promise<void>

const undiciClient = ({ inFlight, sign, url }: ToCeiling): { send: SendOne; close: () => unknown } => {
  const dispatcher = new Agent({ connections: inFlight, pipelining: 1 })
  return {
    send: async (body, n) => {
      const response = await request(url, { method: "POST", dispatcher, body, headers: headersFor(body, n, sign) })
      await response.body.dump()
    },
    close: () => dispatcher.close()
  }
}

const nodeClient = ({ inFlight, sign, url }: ToCeiling): { send: SendOne; close: () => unknown } => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: inFlight, scheduling: "lifo" })
  const { hostname, pathname, port } = new URL(url)
  return {
    send: (body, n) =>
      new Promise((resolve, reject) => {
        const options = { method: "POST", agent, hostname, port, path: pathname, headers: headersFor(body, n, sign) }
        http.request(options, (response) => {
          response.resume()
          response.on("end", resolve)
        }).on("error", reject).end(body)
      }),
    close: () => agent.destroy()
  }
}

const drive = async (order: ToCeiling, send: SendOne) => {
  let next = 0
  const lane = async () => {
    while (next < order.requests) {
      const n = next++
      await send(order.bodies[n % order.bodies.length]!, n)
    }
  }
  const start = now()
  await Promise.all(Array.from({ length: order.inFlight }, lane))
  return now() - start
}

/** Bytes made beforehand and answers only counted: what the receiver takes, not what a client does. */
const driveRaw = async (order: ToCeiling) => {
  const { hostname, pathname, port } = new URL(order.url)
  const body = order.bodies[0]!
  const headers = Object.entries(headersFor(body, 0, true)).map(([name, value]) => `${name}: ${value}\r\n`).join("")
  const page = `POST ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\n${headers}\r\n${body}`.repeat(rawPipeline)
  let next = 0
  const lane = () =>
    new Promise<void>((resolve, reject) => {
      const socket = connect({ host: hostname, port: Number(port), noDelay: true })
      let missing = 0
      const more = () => {
        if (next >= order.requests) return socket.end()
        next += rawPipeline
        missing = rawPipeline * answer.length
        return socket.write(page)
      }
      socket.on("connect", more)
      socket.on("data", (data: Buffer) => {
        missing -= data.length
        if (missing === 0) more()
      })
      socket.on("close", resolve)
      socket.on("error", reject)
    })
  const start = now()
  await Promise.all(Array.from({ length: order.inFlight }, lane))
  return now() - start
}

const run = async (order: ToCeiling): Promise<number> => {
  if (order.client === "raw") return driveRaw(order)
  const client = order.client === "undici" ? undiciClient(order) : nodeClient(order)
  const elapsedMs = await drive(order, client.send)
  await client.close()
  return elapsedMs
}

const say = (message: FromCeiling) => process.send?.(message)

process.on("SIGINT", () => {})
process.on("disconnect", () => process.exit())
process.on("message", (order: ToCeiling) => {
  run(order).then((elapsedMs) => say({ elapsedMs }), (error: unknown) => say({ error: String(error) }))
})
