import { Effect, type Scope } from "effect"
import { type Received, Receiver, type Reply } from "./Receiver.ts"

/** What an endpoint does with a request. */
export type Behaviour = "ok" | "error" | "hang" | "reset" | { readonly slowMs: number }

/** The change that a delivery tells of: `INSERT:mark`, where the row's column `mark` is new with every change. */
export const changeOf = ({ body }: Received): string => `${body.event}:${(body.row ?? body.old_row)?.["mark"]}`

export const eventIdOf = ({ headers }: Received): string => String(headers["webhook-id"])

/** The log entry's id. */
export const deliveryIdOf = ({ headers }: Received): string => String(headers["x-truss-delivery"])

/** One path of the receiver, and what arrived there. */
export interface Endpoint {
  readonly url: string
  /** What it does from now on; a function decides for each request. */
  readonly behave: (behaviour: Behaviour | ((request: Received) => Behaviour)) => void
  readonly received: () => ReadonlyArray<Received>
  /** Requests by change. */
  readonly byChange: () => ReadonlyMap<string, ReadonlyArray<Received>>
}

/** A receiver of webhooks that knows what came twice. */
export interface Recorder {
  readonly endpoint: (path: string) => Endpoint
}

const reply = (behaviour: Behaviour): Reply => {
  if (typeof behaviour === "object") {
    return { after: new Promise((resolve) => void setTimeout(resolve, behaviour.slowMs)) }
  }
  return behaviour === "ok" ? {} : behaviour === "error" ? { status: 500 } : { fault: behaviour }
}

interface Arrivals {
  readonly received: Array<Received>
  readonly byChange: Map<string, Array<Received>>
}

/** Starts a receiver, closed with the scope. */
export const startRecorder: Effect.Effect<Recorder, never, Scope.Scope> = Effect.map(Receiver.make, (receiver) => {
  const paths = new Map<string, Arrivals>()
  let next = 0
  const arrivalsAt = (path: string): Arrivals => {
    const found = paths.get(path) ?? { received: [], byChange: new Map() }
    paths.set(path, found)
    return found
  }
  const arrivals = (path: string): Arrivals => {
    for (; next < receiver.requests.length; next++) {
      const request = receiver.requests[next]!
      const { byChange, received } = arrivalsAt(request.url)
      const change = changeOf(request)
      received.push(request)
      const same = byChange.get(change)
      if (same === undefined) byChange.set(change, [request])
      else same.push(request)
    }
    return arrivalsAt(path)
  }
  return {
    endpoint: (path) => ({
      url: receiver.url(path),
      behave: (behaviour) =>
        receiver.respond(path, (request) => reply(typeof behaviour === "function" ? behaviour(request) : behaviour)),
      received: () => arrivals(path).received,
      byChange: () => arrivals(path).byChange
    })
  }
})
