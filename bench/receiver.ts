/**
 * The endpoint of all measurements, in its own process: HTTP/1.1 as far as the senders need it, a constant 200, and a
 * count. It must not be what is measured, so it parses nothing but the length, and answers what came together together.
 */
import { createServer, type Socket } from "node:net"
import { answer, type FromReceiver, type ToReceiver } from "./Messages.ts"
import { now } from "./SharedClock.ts"

const headersEnd = Buffer.from("\r\n\r\n")
const idKey = Buffer.from("\"id\":")
const contentLength = /\r\ncontent-length: *(\d+)/i

let requests = 0
let bodyBytes = 0
let connections = 0
let expected = 0
let keepArrivals = false
let arrivals: Array<readonly [id: number, at: number]> = []
let cpu = process.cpuUsage()

const say = (message: FromReceiver) => process.send?.(message)

const idIn = (data: Buffer, from: number): number => {
  let at = data.indexOf(idKey, from) + idKey.length
  let id = 0
  for (let digit = data[at]! - 48; digit >= 0 && digit <= 9; digit = data[++at]! - 48) id = id * 10 + digit
  return id
}

const arrived = (data: Buffer, start: number, end: number) => {
  requests++
  bodyBytes += end - start
  if (keepArrivals) arrivals.push([idIn(data, start), now()])
  if (requests === expected) say({ kind: "reached", at: now() })
}

const serve = (socket: Socket) => {
  connections++
  let rest: Buffer | undefined = undefined
  socket.setNoDelay(true)
  socket.on("error", () => socket.destroy())
  socket.on("data", (chunk: Buffer) => {
    const data: Buffer = rest === undefined ? chunk : Buffer.concat([rest, chunk])
    let position = 0
    let answers = 0
    while (position < data.length) {
      const end = data.indexOf(headersEnd, position)
      if (end === -1) break
      const length = Number(contentLength.exec(data.toString("latin1", position, end))?.[1] ?? 0)
      const bodyStart = end + headersEnd.length
      if (bodyStart + length > data.length) break
      position = bodyStart + length
      answers++
      arrived(data, bodyStart, position)
    }
    rest = position === data.length ? undefined : data.subarray(position)
    if (answers > 0) socket.write(answers === 1 ? answer : answer.repeat(answers), "latin1")
  })
}

const onMessage = (message: ToReceiver) => {
  if (message.kind === "report") {
    const { system, user } = process.cpuUsage(cpu)
    say({ kind: "report", requests, bodyBytes, connections, cpuMicros: user + system, arrivals })
    return
  }
  requests = 0
  bodyBytes = 0
  connections = 0
  expected = message.expect
  keepArrivals = message.arrivals
  arrivals = []
  cpu = process.cpuUsage()
  say({ kind: "ready" })
}

// Ctrl-C reaches the whole group; this one ends with the benchmark, when nothing sends any more.
process.on("SIGINT", () => {})
process.on("disconnect", () => process.exit())
process.on("message", onMessage)

const server = createServer(serve)
server.listen(0, "127.0.0.1", 1024, () => {
  const address = server.address()
  if (typeof address === "object" && address !== null) say({ kind: "listening", port: address.port })
})
