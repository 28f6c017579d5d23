import { Context, Deferred, Effect, Layer } from "effect"
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type ServerResponse
} from "node:http"
import type { AddressInfo } from "node:net"

/** A request as it arrived. */
export interface Received {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  /** Names and values in turn, as they were written. */
  readonly rawHeaders: ReadonlyArray<string>
  readonly bytes: Buffer
  readonly text: string
  readonly body: DeliveryBody
  /** Milliseconds since 1970. */
  readonly at: number
  /** How many requests were open when it had arrived, itself included. */
  readonly open: number
}

/** The body of a delivery; digits that no JavaScript number holds are in `text`. */
export interface DeliveryBody {
  readonly event: string
  readonly schema: string
  readonly table: string
  readonly row: Readonly<Record<string, unknown>> | null
  readonly old_row: Readonly<Record<string, unknown>> | null
  readonly timestamp: string
  readonly truncated?: true
}

/** What to answer: 200 with `ok` unless said otherwise. */
export interface Reply {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: string | Uint8Array
  /** Answers only after this. */
  readonly after?: Promise<unknown>
  /** `hang` never answers, `hangInBody` stops after the headers, `reset` and `resetInBody` drop the connection. */
  readonly fault?: "hang" | "hangInBody" | "reset" | "resetInBody"
}

export type Respond = (request: Received, index: number) => Reply

export interface ReceiverShape {
  readonly port: number
  /** The address of a path on the receiver. */
  readonly url: (path?: string) => string
  /** Every request, in the order in which they arrived whole. */
  readonly requests: ReadonlyArray<Received>
  /** Those whose path is this one. */
  readonly at: (path: string) => ReadonlyArray<Received>
  /** From now on, answers requests to this path so. */
  readonly respond: (path: string, respond: Respond) => void
  /** Waits until a path has had `until` requests, or until the predicate holds. */
  readonly waitFor: (
    path: string,
    until: number | ((requests: ReadonlyArray<Received>) => boolean),
    timeoutMs?: number
  ) => Effect.Effect<ReadonlyArray<Received>>
}

const parsed = (text: string): DeliveryBody => {
  try {
    return JSON.parse(text)
  } catch {
    return { event: "", schema: "", table: "", row: null, old_row: null, timestamp: "" }
  }
}

/** Answers HTTP on a random port of this machine, for as long as the scope. */
export const listen = (onRequest: RequestListener) =>
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const server = createServer({ keepAliveTimeout: 30_000 }, onRequest)
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  ).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

/** A real HTTP server on a random port that remembers what it was sent. */
export class Receiver extends Context.Service<Receiver, ReceiverShape>()("truss/test/Receiver") {
  static readonly make = Effect.gen(function*() {
    const requests: Array<Received> = []
    const responders = new Map<string, Respond>()
    const watchers = new Set<() => void>()
    let open = 0

    const at = (path: string) => requests.filter((request) => request.url === path)

    const answer = (request: Received, response: ServerResponse) => {
      const reply = responders.get(request.url)?.(request, at(request.url).length - 1) ?? {}
      const body = reply.body ?? "ok"
      const write = () => {
        if (reply.fault === "hang") return
        if (reply.fault === "reset") return response.socket?.resetAndDestroy()
        if (reply.fault === "hangInBody" || reply.fault === "resetInBody") {
          response.writeHead(reply.status ?? 200, { "content-length": "100", ...reply.headers })
          return response.write("half", () => {
            if (reply.fault === "resetInBody") response.socket?.destroy()
          })
        }
        response.writeHead(reply.status ?? 200, reply.headers)
        return response.end(body)
      }
      if (reply.after === undefined) write()
      else void reply.after.then(write)
    }

    const onRequest = (message: IncomingMessage, response: ServerResponse) => {
      const chunks: Array<Buffer> = []
      open++
      response.on("close", () => open--)
      message.on("data", (chunk: Buffer) => chunks.push(chunk))
      message.on("end", () => {
        const bytes = Buffer.concat(chunks)
        const text = bytes.toString("utf8")
        const request: Received = {
          method: message.method ?? "",
          url: message.url ?? "",
          headers: message.headers,
          rawHeaders: message.rawHeaders,
          bytes,
          text,
          body: parsed(text),
          at: Date.now(),
          open
        }
        requests.push(request)
        answer(request, response)
        for (const watcher of watchers) watcher()
      })
    }

    const port = yield* listen(onRequest)

    const waitFor: ReceiverShape["waitFor"] = (path, until, timeoutMs = 20_000) =>
      Effect.gen(function*() {
        const done = yield* Deferred.make<void>()
        const holds = typeof until === "number"
          ? () => at(path).length >= until
          : () => until(at(path))
        const look = () => {
          if (holds()) Deferred.doneUnsafe(done, Effect.void)
        }
        yield* Effect.acquireUseRelease(
          Effect.sync(() => {
            watchers.add(look)
            look()
          }),
          () =>
            Deferred.await(done).pipe(Effect.timeoutOrElse({
              duration: timeoutMs,
              orElse: () =>
                Effect.die(
                  new Error(`${path}: ${at(path).length} requests after ${timeoutMs} ms, waiting for ${until}`)
                )
            })),
          () => Effect.sync(() => watchers.delete(look))
        )
        return at(path)
      })

    return {
      port,
      url: (path = "/") => `http://127.0.0.1:${port}${path}`,
      requests,
      at,
      respond: (path, respond) => void responders.set(path, respond),
      waitFor
    } satisfies ReceiverShape
  })

  static readonly layer = Layer.effect(Receiver, Receiver.make)
}
