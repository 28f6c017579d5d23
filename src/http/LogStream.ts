import { Effect, Option, Stream } from "effect"
import { HttpServerResponse } from "effect/http"
import type { LogTail, Taken } from "../services/LogTails.ts"

/** How long a stream is silent at most: proxies close connections that nothing is sent on. */
const heartbeatEvery = "15 seconds"

const utf8 = new TextEncoder()

/** `id` alone makes an `EventSource` resume from there, and is no event. */
const opening = ({ reset, startId }: LogTail) =>
  `: the log as it is written\nid: ${startId}\n\n` +
  (reset ? `event: reset\ndata: {"reason":"unknown_event_id"}\n\n` : "")

/** A field that an `EventSource` passes over; for who needs the payload's bytes. */
const alteredField = "altered: line breaks\n"

const textOf = (entries: Exclude<Taken, string>) =>
  entries.map(({ altered, id, json }) => `id: ${id}\nevent: entry\n${altered ? alteredField : ""}data: ${json}\n\n`)
    .join("")

interface State {
  readonly begun: boolean
  readonly lastId: string
}

/** The answer with a webhook's log as server-sent events. */
export const logStream = (tail: LogTail): HttpServerResponse.HttpServerResponse => {
  const chunk = (text: string, next: State | undefined) => [[utf8.encode(text)], Option.fromUndefinedOr(next)] as const

  const step = Effect.fnUntraced(function*({ begun, lastId }: State) {
    if (!begun) return chunk(opening(tail), { begun: true, lastId })
    // Only the waiting is cut short: what is taken is sent.
    const waited = yield* Effect.timeoutOption(tail.ready, heartbeatEvery)
    if (Option.isNone(waited)) return chunk(": heartbeat\n\n", { begun, lastId })
    const taken = tail.take()
    if (taken === "ended") return [[], Option.none<State>()] as const
    if (taken === "overflow") {
      return chunk(`id: ${lastId}\nevent: overflow\ndata: ${JSON.stringify({ last_event_id: lastId })}\n\n`, undefined)
    }
    return chunk(textOf(taken), { begun, lastId: taken.at(-1)?.id ?? lastId })
  })

  return HttpServerResponse.stream(Stream.paginate({ begun: false, lastId: tail.startId } as State, step), {
    contentType: "text/event-stream",
    headers: { "cache-control": "no-cache, no-transform", "x-accel-buffering": "no" }
  })
}
