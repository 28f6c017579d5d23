import { Clock, Console, Effect, Layer, Option, Redacted, Schedule, Schema, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { hostname } from "node:os"
import { encodeAttemptId } from "../domain/AttemptRef.ts"
import { parseEgressAllow } from "../domain/EgressAllow.ts"
import { ChangeType } from "../domain/EventType.ts"
import { listenSinkUrl } from "../domain/ListenSink.ts"
import { EndpointUrl } from "../domain/Webhook.ts"
import { Egress } from "../services/Egress.ts"
import { Sender } from "../services/Sender.ts"
import { Subscribers } from "../services/Subscribers.ts"
import { CommandFailed } from "./Failure.ts"
import { serverFlags, withSettings } from "./Flags.ts"
import { Failed, isWell, makeForwarding } from "./Forwarding.ts"
import { type ListenEntry, listenLine, type ListenOutcome, type ListenOutput, toListenEntry } from "./ListenEntry.ts"
import { untilStopped, whileRead } from "./RunMain.ts"
import { ServerApi, ServerAway, toCommandFailed } from "./ServerApi.ts"
import { eventsFlag, tableFlag, type TableName } from "./TableFlags.ts"
import { BadUsage } from "./Usage.ts"

/** Whoever runs the command says where to. */
const anywhere = parseEgressAllow("0.0.0.0/0, ::/0")!

const isEndpoint = (text: string) => Option.isSome(Schema.decodeUnknownOption(EndpointUrl)(text))

/** What the command does with each event. */
type Handle = (entry: ListenEntry) => Effect.Effect<ListenOutcome>

const keep: Handle = ({ body }) =>
  Effect.succeed({ statusCode: null, latencyMs: null, error: body === null ? "not_kept" as const : null })

/** Comes before every entry of a log. */
const beginning = encodeAttemptId({ eventSeq: 0, nonce: 0 })

const now = Effect.map(Clock.currentTimeMillis, (ms) => new Date(ms).toISOString())

/** Pauses between attempts to reach the server again: the first, doubled with each, and the longest. */
const again = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("2 seconds")])

/** Follows the log of the webhook for ever: an entry is behind us when it was dealt with. */
const follow = Effect.fnUntraced(function*(id: string, handle: Handle, output: ListenOutput) {
  const api = yield* ServerApi
  let lastId = beginning
  let isAway = false

  const deal = Effect.fnUntraced(function*(logId: string, json: string, altered: boolean) {
    const entry = toListenEntry(altered ? yield* api.request("GET", `/webhooks/${id}/logs/${logId}`) : json)
    const outcome = yield* handle(entry)
    yield* Console.log(listenLine(output, yield* now, entry, outcome))
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

interface Wanted extends ListenOutput {
  readonly table: TableName
  readonly events: ReadonlyArray<ChangeType>
  readonly forwardTo: string | undefined
  readonly secret: Redacted.Redacted | undefined
  readonly replayFailed: boolean
}

/** Sends once more what failed, when the command ends. */
const replay = Effect.fnUntraced(function*(failed: Failed, once: Handle, output: ListenOutput) {
  const { all, dropped } = failed
  if (all.length > 0) yield* Console.error(`truss-webhooks: sending the ${all.length} that failed again`)
  for (const entry of all) {
    const outcome = yield* once(entry)
    if (isWell(outcome)) failed.remove(entry)
    yield* Console.log(listenLine(output, yield* now, entry, outcome, true))
  }
  if (dropped > 0) yield* Console.error(`truss-webhooks: ${dropped} more failed, which were too many to keep`)
  const left = failed.all.length + dropped
  if (left === 0) return
  yield* Console.error(`truss-webhooks: ${left} failed in the end`)
  process.exitCode = 1
})

const listen = (wanted: Wanted) =>
  Effect.scoped(Effect.gen(function*() {
    const { events, forwardTo, replayFailed, table } = wanted
    const api = yield* ServerApi
    const sender = yield* Sender
    let handle = keep
    if (forwardTo !== undefined) {
      const send = sender.messages({
        url: forwardTo,
        headers: {},
        secret: wanted.secret === undefined ? null : Redacted.value(wanted.secret),
        previousSecret: null,
        timeoutMs: 15_000
      })
      const { forward, once } = makeForwarding(send, forwardTo)
      handle = forward
      if (replayFailed) {
        const failed = new Failed()
        handle = Effect.fnUntraced(function*(entry) {
          // Also what is under way when the command is told to end.
          failed.add(entry)
          const outcome = yield* forward(entry)
          if (isWell(outcome)) failed.remove(entry)
          return outcome
        })
        // Comes after the webhook's end: whoever cannot wait for it may press Ctrl-C again.
        yield* Effect.addFinalizer(() => replay(failed, once, wanted))
      }
    }
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
    ),
    replayFailed: Flag.Boolean("replay-failed").pipe(
      Flag.withDescription(
        "At the end, send once more what was not answered with 2xx; exit code 1 if some still is not"
      ),
      Flag.withDefault(false)
    )
  },
  Effect.fnUntraced(function*({ events, forwardTo, json, print, replayFailed, secret, table, ...flags }) {
    if (Option.isSome(forwardTo) === print) {
      yield* Console.error(
        "truss-webhooks listen: give either --forward-to URL or --print (see truss-webhooks listen --help)"
      )
      return yield* new BadUsage()
    }
    if (replayFailed && print) {
      yield* Console.error(
        "truss-webhooks listen: --replay-failed needs --forward-to (see truss-webhooks listen --help)"
      )
      return yield* new BadUsage()
    }
    const wanted: Wanted = {
      table,
      events,
      json,
      print,
      replayFailed,
      forwardTo: Option.getOrUndefined(forwardTo),
      secret: Option.getOrUndefined(secret)
    }
    return yield* untilStopped(
      withSettings(
        flags,
        (settings) =>
          Effect.provide(
            whileRead(listen(wanted)),
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
    { command: "truss-webhooks listen --table orders --print | jq .row", description: "Only look" },
    {
      command: "truss-webhooks listen --table orders --forward-to http://localhost:3000/hooks --replay-failed",
      description: "After the bug is mended: Ctrl-C sends again what failed, and ends"
    }
  ])
)
