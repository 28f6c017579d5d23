import { Clock, Console, Effect, Layer, Option, Redacted, Schedule, Schema, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { hostname } from "node:os"
import type { AttemptError } from "../domain/Attempt.ts"
import { encodeAttemptId } from "../domain/AttemptRef.ts"
import { parseEgressAllow } from "../domain/EgressAllow.ts"
import { ChangeType } from "../domain/EventType.ts"
import { listenSinkUrl } from "../domain/ListenSink.ts"
import { EndpointUrl } from "../domain/Webhook.ts"
import { Egress } from "../services/Egress.ts"
import { attempt, Sender, type SendMessage } from "../services/Sender.ts"
import { Subscribers } from "../services/Subscribers.ts"
import { CommandFailed } from "./Failure.ts"
import { serverFlags, withSettings } from "./Flags.ts"
import { rawMember } from "./RawMember.ts"
import { untilStopped } from "./RunMain.ts"
import { ServerApi, ServerAway, toCommandFailed } from "./ServerApi.ts"
import { eventsFlag, tableFlag, type TableName } from "./TableFlags.ts"
import { BadUsage } from "./Usage.ts"

/** Whoever runs the command says where to. */
const anywhere = parseEgressAllow("0.0.0.0/0, ::/0")!

const isEndpoint = (text: string) => Option.isSome(Schema.decodeUnknownOption(EndpointUrl)(text))

/** An entry of the log, as far as it is needed, and the bytes that it is about. */
interface Entry {
  readonly id: string
  readonly eventId: string
  readonly eventType: string
  readonly replayOf: string | null
  /** Null where it is kept no more. */
  readonly body: string | null
}

const toEntry = (json: string): Entry => {
  const { event_id, event_type, id, replay_of } = JSON.parse(json)
  const body = rawMember(json, "payload")
  return {
    id,
    eventId: event_id,
    eventType: event_type,
    replayOf: replay_of,
    body: body === undefined || body === "null" ? null : body
  }
}

/** What became of one event here. */
interface Outcome {
  readonly statusCode: number | null
  readonly latencyMs: number | null
  readonly error: AttemptError | "not_kept" | null
}

/** What the command does with each event. */
type Handle = (entry: Entry) => Effect.Effect<Outcome>

/** Nobody is there: it may only just be starting again. */
const isAway = (error: AttemptError | null): boolean =>
  error === "connection_refused" || error === "unreachable" || error === "dns"

/** An answer that breaks off is asked for again so often: what breaks the receiver must not stop everything. */
const resets = 5

/** Sends it as a delivery is sent, again and again while nobody is there; whatever is answered is the end of it. */
const forwardBy = (send: SendMessage, url: string): Handle =>
  Effect.fnUntraced(function*({ body, eventId, eventType, id }) {
    if (body === null) return { statusCode: null, latencyMs: null, error: "not_kept" as const }
    const message = { id: eventId, body, headers: ["X-Truss-Event", eventType, "X-Truss-Delivery", id] }
    let waits = 0
    let broken = 0
    while (true) {
      const { error, latencyMs, statusCode } = yield* attempt(send, message)
      const again = isAway(error) || error === "connection_reset" && ++broken < resets
      if (!again) return { statusCode, latencyMs: Math.round(latencyMs * 100) / 100, error }
      if (waits === 0) yield* Console.error(`truss-webhooks: ${url}: ${error}; waiting for it`)
      yield* Effect.sleep(Math.min(2_000, 100 * 2 ** waits++))
    }
  })

const keep: Handle = ({ body }) =>
  Effect.succeed({ statusCode: null, latencyMs: null, error: body === null ? "not_kept" as const : null })

interface Options {
  readonly json: boolean
  readonly print: boolean
}

const lineOf = ({ json, print }: Options, at: string, entry: Entry, outcome: Outcome): string => {
  if (json) {
    const text = JSON.stringify({
      at,
      log_id: entry.id,
      event_id: entry.eventId,
      event_type: entry.eventType,
      replay_of: entry.replayOf,
      status_code: outcome.statusCode,
      latency_ms: outcome.latencyMs,
      error: outcome.error
    })
    if (!print) return text
    return `${text.slice(0, -1)},"payload":${(entry.body ?? "null").replaceAll(/[\r\n]+/g, " ")}}`
  }
  if (print) return entry.body ?? `truss-webhooks: the payload of ${entry.id} is kept no more`
  return [
    at.slice(11, 23),
    entry.eventType.padEnd(8),
    entry.eventId,
    outcome.error ?? outcome.statusCode,
    ...(outcome.latencyMs === null ? [] : [`${outcome.latencyMs.toFixed(1)} ms`]),
    ...(entry.replayOf === null ? [] : ["replay"])
  ].join("  ")
}

/** Comes before every entry of a log. */
const beginning = encodeAttemptId({ eventSeq: 0, nonce: 0 })

/** Pauses between attempts to reach the server again: the first, doubled with each, and the longest. */
const again = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("2 seconds")])

/** Follows the log of the webhook for ever: an entry is behind us when it was dealt with. */
const follow = Effect.fnUntraced(function*(id: string, handle: Handle, options: Options) {
  const api = yield* ServerApi
  let lastId = beginning
  let isAway = false

  const deal = Effect.fnUntraced(function*(logId: string, json: string, altered: boolean) {
    const entry = toEntry(altered ? yield* api.request("GET", `/webhooks/${id}/logs/${logId}`) : json)
    const outcome = yield* handle(entry)
    const at = new Date(yield* Clock.currentTimeMillis).toISOString()
    yield* Console.log(lineOf(options, at, entry, outcome))
    lastId = logId
  })

  const round = Effect.suspend(() =>
    Stream.runForEach(
      api.events(`/webhooks/${id}/logs/stream`, lastId),
      ({ altered, data, event, id: logId }) =>
        Effect.gen(function*() {
          if (isAway) yield* Console.error("truss-webhooks: the server is back")
          isAway = false
          if (event === "entry") return yield* deal(logId!, data!, altered !== undefined)
          if (event === "reset") {
            yield* Console.error(
              "truss-webhooks: the server does not keep what came last any more: some events may be missing"
            )
          }
          // The place where the stream begins.
          if (event === undefined && logId !== undefined) lastId = logId
        })
    )
  )

  const gone = new CommandFailed({
    lines: [`the temporary webhook ${id} is gone: somebody deleted it, or nobody reached the server for too long`]
  })
  return yield* round.pipe(
    Effect.tapError((error) => {
      if (error._tag !== "ServerAway" || isAway) return Effect.void
      isAway = true
      return Console.error(`truss-webhooks: ${error.detail} Waiting for it`)
    }),
    // A stream that ended well begins again where it was.
    Effect.andThen(Effect.fail(new ServerAway({ detail: "the stream has ended" }))),
    Effect.retry({ schedule: again, while: (error) => error._tag === "ServerAway" }),
    Effect.catchTag("Refused", (error) => Effect.fail(error.status === 404 ? gone : toCommandFailed(error)))
  )
})

const deleted = (id: string) =>
  Effect.gen(function*() {
    const api = yield* ServerApi
    yield* api.request("DELETE", `/webhooks/${id}`).pipe(
      Effect.retry({
        schedule: Schedule.spaced("200 millis"),
        while: (error) => error._tag === "ServerAway" || error.status === 409
      }),
      Effect.timeout("5 seconds"),
      Effect.catch((error) =>
        error._tag === "Refused" && error.status === 404
          ? Effect.void
          : Console.error(
            `truss-webhooks: could not delete the temporary webhook ${id}; the server deletes it by itself in about 10 minutes`
          )
      )
    )
  })

interface Wanted extends Options {
  readonly table: TableName
  readonly events: ReadonlyArray<ChangeType>
  readonly forwardTo: string | undefined
  readonly secret: Redacted.Redacted | undefined
}

const listen = (wanted: Wanted) =>
  Effect.scoped(Effect.gen(function*() {
    const { events, forwardTo, table } = wanted
    const api = yield* ServerApi
    const sender = yield* Sender
    const create = api.request("POST", "/webhooks", {
      name: `listen on ${hostname()} (pid ${process.pid})`,
      ...table,
      events,
      url: listenSinkUrl
    }).pipe(
      Effect.map((text): string => JSON.parse(text).id),
      Effect.mapError(toCommandFailed)
    )
    const id = yield* Effect.acquireRelease(create, deleted)
    const handle = forwardTo === undefined ? keep : forwardBy(
      sender.messages({
        url: forwardTo,
        headers: {},
        secret: wanted.secret === undefined ? null : Redacted.value(wanted.secret),
        previousSecret: null,
        timeoutMs: 15_000
      }),
      forwardTo
    )
    yield* Console.error(
      `truss-webhooks: ${events.join(", ")} of ${table.table_schema}.${table.table_name} at ${api.url} ` +
        `(webhook ${id})${forwardTo === undefined ? "" : ` go to ${forwardTo}`}; Ctrl-C ends`
    )
    return yield* follow(id, handle, wanted)
  }))

/** `truss-webhooks listen` */
export const listenCommand = Command.make(
  "listen",
  {
    ...serverFlags,
    table: tableFlag,
    events: eventsFlag.pipe(Flag.withDefault(ChangeType.literals)),
    forwardTo: Flag.String("forward-to").pipe(
      Flag.filter(isEndpoint, (text) => `--forward-to must be an http or https URL without credentials, not ${text}`),
      Flag.withDescription("Where each event is POSTed to, by this machine"),
      Flag.withMetavar("URL"),
      Flag.optional
    ),
    secret: Flag.Redacted("secret").pipe(
      Flag.withDescription("Signs what is forwarded as a webhook with this secret would; it stays on this machine"),
      Flag.withMetavar("SECRET"),
      Flag.optional
    ),
    print: Flag.Boolean("print").pipe(
      Flag.withDescription("Print each body, a line each, instead of forwarding it"),
      Flag.withDefault(false)
    ),
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("Print a JSON object a line, for programs"),
      Flag.withDefault(false)
    )
  },
  Effect.fnUntraced(function*({ events, forwardTo, json, print, secret, table, ...flags }) {
    if (Option.isSome(forwardTo) === print) {
      yield* Console.error(
        "truss-webhooks listen: give either --forward-to URL or --print (see truss-webhooks listen --help)"
      )
      return yield* new BadUsage()
    }
    const wanted: Wanted = {
      table,
      events,
      json,
      print,
      forwardTo: Option.getOrUndefined(forwardTo),
      secret: Option.getOrUndefined(secret)
    }
    return yield* untilStopped(
      withSettings(
        flags,
        (settings) =>
          Effect.provide(
            listen(wanted),
            Layer.merge(
              ServerApi.layer(settings),
              Layer.provide(Sender.layer, [Egress.layer({ allow: anywhere }), Subscribers.layer])
            )
          )
      )
    )
  })
).pipe(
  Command.withDescription(
    "Forward the live events of a table to a program on this machine, with the headers and the bytes of a real delivery. " +
      "The server needs no way to this machine. A temporary webhook is made on the server, and is gone when this ends"
  ),
  Command.withShortDescription("Forward live events to a local URL"),
  Command.withExamples([
    { command: "truss-webhooks listen --table orders --forward-to http://localhost:3000/hooks" },
    {
      command:
        "truss-webhooks listen --table shop.orders --events INSERT,DELETE --forward-to http://localhost:3000/hooks " +
        "--url https://truss.example --api-key truss_sk_... --secret whsec_...",
      description: "Of a server elsewhere, signed"
    },
    { command: "truss-webhooks listen --table orders --print | jq .row", description: "Only look" }
  ])
)
