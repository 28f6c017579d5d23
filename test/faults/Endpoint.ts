import { Effect, type Scope } from "effect"
import type { IncomingMessage, ServerResponse } from "node:http"
import { randomOf } from "../support/Random.ts"
import { listen } from "../support/Receiver.ts"
import { type Behaviour, drawMixed } from "./Schedule.ts"

/** A request that arrived whole. */
export interface Request {
  readonly path: string
  /** Milliseconds since 1970. */
  readonly at: number
  /** `webhook-id`. */
  readonly eventId: string
  /** `X-Truss-Delivery`. */
  readonly deliveryId: string
  readonly body: string
  readonly behaviour: Behaviour
}

/** The receiver of every webhook of a schedule: a path each. */
export interface Endpoints {
  readonly url: (path: string) => string
  /** In the order in which they arrived. */
  readonly requests: ReadonlyArray<Request>
  readonly behave: (path: string, behaviour: Behaviour) => void
}

const tenMegabytes = Buffer.alloc(10 * 1024 * 1024, "x")

const slowMs = 60

const dribble = (response: ServerResponse) => {
  response.writeHead(200, { "content-length": "1000" })
  const timer = setInterval(() => response.write("."), 40)
  response.on("close", () => clearInterval(timer))
}

const answer = (behaviour: Behaviour, random: () => number, response: ServerResponse) => {
  switch (behaviour) {
    case "ok":
    case "mixed":
      return void response.end("ok")
    case "slow":
      return void setTimeout(() => response.end("ok"), slowMs)
    case "error":
      return void response.writeHead(500).end("no")
    case "busy":
      return void response.writeHead(429, { "retry-after": random() < 0.5 ? "0" : "1" }).end("later")
    case "gone":
      return void response.writeHead(410).end("gone")
    case "hang":
      return
    case "dribble":
      return dribble(response)
    case "reset":
      return void response.socket?.resetAndDestroy()
    case "huge":
      return void response.writeHead(200).end(tenMegabytes)
    case "garbage":
      return void response.socket?.end("\u0000\u0001\r\n\r\nHTTP/9.9 what? \u00ff\r\n\r\n")
  }
}

/** Whether the service gets a 2xx in time, if nothing breaks. */
export const answersWell = (behaviour: Behaviour): boolean =>
  behaviour === "ok" || behaviour === "slow" || behaviour === "huge"

/** Starts the receiver, closed with the scope. */
export const startEndpoints = (seed: number): Effect.Effect<Endpoints, never, Scope.Scope> =>
  Effect.gen(function*() {
    const requests: Array<Request> = []
    const behaviours = new Map<string, Behaviour>()
    const random = randomOf(seed)

    const onRequest = (message: IncomingMessage, response: ServerResponse) => {
      const chunks: Array<Buffer> = []
      message.on("error", () => {})
      response.on("error", () => {})
      message.on("data", (chunk: Buffer) => chunks.push(chunk))
      message.on("end", () => {
        const path = message.url ?? ""
        const set = behaviours.get(path) ?? "ok"
        const behaviour = set === "mixed" ? drawMixed(random) : set
        requests.push({
          path,
          at: Date.now(),
          eventId: String(message.headers["webhook-id"]),
          deliveryId: String(message.headers["x-truss-delivery"]),
          body: Buffer.concat(chunks).toString("utf8"),
          behaviour
        })
        answer(behaviour, random, response)
      })
    }

    const port = yield* listen(onRequest)
    return {
      url: (path) => `http://127.0.0.1:${port}${path}`,
      requests,
      behave: (path, behaviour) => void behaviours.set(path, behaviour)
    }
  })
