import { Console, Effect, Option, Redacted, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { LogEntry } from "../domain/Attempt.ts"
import type { Webhook } from "../domain/Webhook.ts"
import { CommandFailed } from "./Failure.ts"
import { serverFlags, withSettings } from "./Flags.ts"
import { untilStopped, whileRead } from "./RunMain.ts"
import { ServerApi, ServerAway, toCommandFailed } from "./ServerApi.ts"
import { eventsFlag, tableFlag } from "./TableFlags.ts"
import { textTable } from "./TextTable.ts"
import { BadUsage } from "./Usage.ts"

const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Print what the server answers, as it is; a page a line where there are many"),
  Flag.withDefault(false)
)

const common = { ...serverFlags, json }

const id = Argument.String("id").pipe(Argument.withDescription("The webhook's id, as webhooks list shows it"))

type Server = {
  readonly [K in keyof typeof serverFlags]: (typeof serverFlags)[K] extends Flag.Flag<infer A> ? A : never
}

const onServer = <A, E>(flags: Server, run: (api: ServerApi["Service"]) => Effect.Effect<A, E>) =>
  withSettings(flags, (settings) =>
    Effect.flatMap(ServerApi, run).pipe(
      Effect.mapError((error) =>
        typeof error === "object" && error !== null && "_tag" in error &&
          (error._tag === "ServerAway" || error._tag === "Refused")
          ? toCommandFailed(error as never)
          : error
      ),
      Effect.provide(ServerApi.layer(settings))
    ))

const pathOf = (webhookId: string, rest = "") => `/webhooks/${encodeURIComponent(webhookId)}${rest}`

const query = (parts: Readonly<Record<string, string | number | undefined>>) => {
  const given = Object.entries(parts).flatMap(([name, value]) => value === undefined ? [] : [[name, String(value)]])
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`
}

/** For people: the same, indented. Nothing in these answers has more digits than JavaScript's numbers. */
const show = (asJson: boolean, text: string) => Console.log(asJson ? text : JSON.stringify(JSON.parse(text), null, 2))

const stateOf = ({ active, circuit, disabled_reason }: Webhook) =>
  disabled_reason ?? (active ? circuit === "closed" ? "active" : `circuit ${circuit}` : "paused")

const list = Command.make(
  "list",
  {
    ...common,
    table: Flag.String("table").pipe(
      Flag.withDescription("Only those of this table: orders or public.orders"),
      Flag.withMetavar("TABLE"),
      Flag.optional
    )
  },
  (flags) =>
    onServer(flags, (api) =>
      Effect.gen(function*() {
        const webhooks: Array<Webhook> = []
        let cursor: string | undefined
        do {
          const table = Option.getOrUndefined(flags.table)
          const text: string = yield* api.request("GET", `/webhooks${query({ limit: 200, table, cursor })}`)
          const page: { data: Array<Webhook>; next_cursor: string | null } = JSON.parse(text)
          if (flags.json) yield* Console.log(text)
          webhooks.push(...page.data)
          cursor = page.next_cursor ?? undefined
        } while (cursor !== undefined)
        if (flags.json) return
        if (webhooks.length === 0) return yield* Console.error("There are no webhooks.")
        yield* Console.log(textTable(
          ["ID", "STATE", "TABLE", "EVENTS", "BACKLOG", "URL", "NAME"],
          webhooks.map((webhook) => [
            webhook.id,
            stateOf(webhook),
            `${webhook.table_schema}.${webhook.table_name}`,
            webhook.events.join(","),
            String(webhook.backlog),
            webhook.url,
            webhook.name
          ])
        ))
      }))
).pipe(
  Command.withDescription("List the webhooks"),
  Command.withExamples([
    { command: "truss-webhooks webhooks list --table public.orders" },
    {
      command: "truss-webhooks webhooks list --json | jq -r '.data[] | select(.circuit != \"closed\") | .url'",
      description: "Whose endpoints are down"
    }
  ])
)

const get = Command.make(
  "get",
  { ...common, id },
  (flags) =>
    onServer(flags, (api) => Effect.flatMap(api.request("GET", pathOf(flags.id)), (text) => show(flags.json, text)))
).pipe(
  Command.withDescription("Show a webhook"),
  Command.withExamples([
    { command: "truss-webhooks webhooks get ID" },
    { command: "truss-webhooks webhooks get ID --json | jq .backlog", description: "How many changes wait" }
  ])
)

const isObject = (text: string): boolean => {
  try {
    const value = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

const fields = {
  name: Flag.String("name").pipe(
    Flag.withDescription("What it is called, 1 to 200 characters"),
    Flag.withMetavar("NAME"),
    Flag.optional
  ),
  table: tableFlag.pipe(Flag.optional),
  events: eventsFlag.pipe(Flag.optional),
  endpoint: Flag.String("endpoint").pipe(
    Flag.withDescription("Where its deliveries go (the field url; --url is the server)"),
    Flag.withMetavar("URL"),
    Flag.optional
  ),
  secret: Flag.Redacted("secret").pipe(
    Flag.withDescription("Signs its deliveries"),
    Flag.withMetavar("SECRET"),
    Flag.optional
  ),
  data: Flag.String("data").pipe(
    Flag.filter(isObject, () => "--data must be a JSON object"),
    Flag.withDescription(
      "Any other fields, as a JSON object: {\"ordering\": \"row\", \"headers\": {\"x-team\": \"a\"}}"
    ),
    Flag.withMetavar("JSON"),
    Flag.optional
  )
}

type Fields = { readonly [K in keyof typeof fields]: (typeof fields)[K] extends Flag.Flag<infer A> ? A : never }

const bodyOf = ({ data, endpoint, events, name, secret, table }: Fields): Readonly<Record<string, unknown>> => ({
  ...Option.match(data, { onNone: () => ({}), onSome: (text) => JSON.parse(text) }),
  ...Option.getOrElse(table, () => ({})),
  ...Option.match(events, { onNone: () => ({}), onSome: (events) => ({ events }) }),
  ...Option.match(name, { onNone: () => ({}), onSome: (name) => ({ name }) }),
  ...Option.match(endpoint, { onNone: () => ({}), onSome: (url) => ({ url }) }),
  ...Option.match(secret, { onNone: () => ({}), onSome: (secret) => ({ secret: Redacted.value(secret) }) })
})

/** What a new webhook cannot be without, by the flag that says it. */
const required = { table: "table_name", events: "events", endpoint: "url" }

const create = Command.make(
  "create",
  { ...common, ...fields },
  Effect.fnUntraced(function*(flags) {
    const body = bodyOf(flags)
    const missing = Object.entries(required).filter(([, field]) => body[field] === undefined)
    for (const [flag, field] of missing) {
      yield* Console.error(
        `truss-webhooks webhooks create: --${flag} is missing, or ${field} in --data ` +
          "(see truss-webhooks webhooks create --help)"
      )
    }
    if (missing.length > 0) return yield* new BadUsage()
    return yield* onServer(flags, (api) =>
      Effect.flatMap(
        api.request("POST", "/webhooks", { name: `${body["table_name"]}`, ...body }),
        (text) => show(flags.json, text)
      ))
  })
).pipe(
  Command.withDescription("Create a webhook and show it"),
  Command.withExamples([
    {
      command: "truss-webhooks webhooks create --table orders --events INSERT,UPDATE " +
        "--endpoint https://example.com/hooks --secret \"$SECRET\""
    },
    {
      command: "ID=$(truss-webhooks webhooks create --json --table orders --events INSERT " +
        "--endpoint https://example.com/hooks | jq -r .id)",
      description: "In a script"
    }
  ])
)

const update = Command.make(
  "update",
  { ...common, id, ...fields },
  (flags) =>
    onServer(
      flags,
      (api) => Effect.flatMap(api.request("PATCH", pathOf(flags.id), bodyOf(flags)), (text) => show(flags.json, text))
    )
).pipe(
  Command.withDescription("Change some fields of a webhook and show it"),
  Command.withExamples([{
    command: "truss-webhooks webhooks update ID --data '{\"active\": false}'",
    description: "Pause it"
  }])
)

const remove = Command.make("delete", { ...common, id }, (flags) =>
  onServer(flags, (api) =>
    Effect.andThen(
      api.request("DELETE", pathOf(flags.id)),
      Console.error(`The webhook ${flags.id} is deleted, and its log with it.`)
    ))).pipe(
    Command.withDescription("Delete a webhook and its log"),
    Command.withExamples([
      { command: "truss-webhooks webhooks delete ID" },
      {
        command: "truss-webhooks webhooks update ID --data '{\"active\": false}'",
        description: "Rather pause it: what it missed can be recovered"
      }
    ])
  )

const test = Command.make("test", { ...common, id }, (flags) =>
  onServer(flags, (api) =>
    Effect.gen(function*() {
      const text = yield* api.request("POST", pathOf(flags.id, "/test"))
      yield* show(flags.json, text)
      const { error, status_code } = JSON.parse(text)
      if (error !== null || status_code < 200 || status_code > 299) {
        return yield* new CommandFailed({ lines: [`the endpoint answered ${error ?? status_code}`] })
      }
    }))).pipe(
    Command.withDescription("Send a synthetic event and wait: exit code 1 unless the endpoint answers 2xx"),
    Command.withExamples([
      { command: "truss-webhooks webhooks test ID" },
      { command: "truss-webhooks webhooks test ID --json | jq .latency_ms", description: "How long it took" }
    ])
  )

const entryLine = (entry: LogEntry): string =>
  [
    entry.created_at,
    entry.id,
    entry.event_type.padEnd(8),
    entry.outcome.padEnd(8),
    entry.error ?? entry.status_code,
    `${entry.latency_ms.toFixed(1)} ms`,
    ...(entry.replay_of === null ? [] : ["replay"])
  ].join("  ")

const selection = {
  outcome: Flag.Literals("outcome", ["success", "retrying", "failed"]).pipe(
    Flag.withDescription("Only attempts with this outcome"),
    Flag.optional
  ),
  eventType: Flag.Literals("event-type", ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "TEST"]).pipe(
    Flag.withDescription("Only events of this type"),
    Flag.optional
  ),
  from: Flag.String("from").pipe(
    Flag.withDescription("From this time on, ISO 8601"),
    Flag.withMetavar("TIME"),
    Flag.optional
  ),
  to: Flag.String("to").pipe(
    Flag.withDescription("Before this time, ISO 8601"),
    Flag.withMetavar("TIME"),
    Flag.optional
  )
}

type Selection = {
  readonly [K in keyof typeof selection]: (typeof selection)[K] extends Flag.Flag<infer A> ? A : never
}

const selected = ({ eventType, from, outcome, to }: Selection) => ({
  outcome: Option.getOrUndefined(outcome),
  event_type: Option.getOrUndefined(eventType),
  from: Option.getOrUndefined(from),
  to: Option.getOrUndefined(to)
})

/** Prints entries as they are written; begins again where it was when the stream ends. */
const tail = (api: ServerApi["Service"], webhookId: string, asJson: boolean) => {
  let lastId: string | undefined
  return Effect.suspend(() =>
    Stream.runForEach(api.events(pathOf(webhookId, "/logs/stream"), lastId), ({ data, event, id }) =>
      Effect.andThen(
        event === "entry" ? Console.log(asJson ? data : entryLine(JSON.parse(data!))) : Effect.void,
        Effect.sync(() => {
          lastId = id ?? lastId
        })
      ))
  ).pipe(
    Effect.andThen(Effect.fail(new ServerAway({ detail: "the stream has ended" }))),
    // The first answer tells whether there is anything to follow.
    Effect.catchIf(
      (error) => error._tag === "ServerAway" && lastId !== undefined,
      () => Effect.sleep("500 millis")
    ),
    Effect.forever
  )
}

const logs = Command.make(
  "logs",
  {
    ...common,
    id,
    ...selection,
    limit: Flag.Int("limit").pipe(
      Flag.filter(
        (limit) => limit >= 1 && limit <= 500,
        (limit) => `--limit must be a whole number from 1 to 500, not ${limit}`
      ),
      Flag.withDescription("So many entries, 1 to 500 (default: 50)"),
      Flag.withDefault(50)
    ),
    follow: Flag.Boolean("follow").pipe(
      Flag.withAlias("f"),
      Flag.withDescription("Print each new entry as it is written, until Ctrl-C; takes none of the other selections"),
      Flag.withDefault(false)
    )
  },
  (flags) => {
    if (flags.follow) return untilStopped(onServer(flags, (api) => whileRead(tail(api, flags.id, flags.json))))
    return onServer(flags, (api) =>
      Effect.gen(function*() {
        const text = yield* api.request(
          "GET",
          pathOf(flags.id, `/logs${query({ limit: flags.limit, ...selected(flags) })}`)
        )
        if (flags.json) return yield* Console.log(text)
        const { data }: { data: ReadonlyArray<LogEntry> } = JSON.parse(text)
        if (data.length === 0) return yield* Console.error("There are no such entries.")
        yield* Console.log(data.map(entryLine).join("\n"))
      }))
  }
).pipe(
  Command.withDescription("Show the delivery log of a webhook, newest first, or follow it"),
  Command.withExamples([
    { command: "truss-webhooks webhooks logs ID --outcome failed" },
    { command: "truss-webhooks webhooks logs ID --follow --json | jq .payload.row" }
  ])
)

const replay = Command.make(
  "replay",
  {
    ...common,
    id,
    logId: Argument.String("log-id").pipe(
      Argument.withDescription("One delivery, as webhooks logs shows it; without it, all that the flags select"),
      Argument.optional
    ),
    ...selection
  },
  Effect.fnUntraced(function*(flags) {
    const wanted = selected(flags)
    const all = Object.values(wanted).every((value) => value === undefined)
    if (Option.isSome(flags.logId) !== all) {
      yield* Console.error(
        "truss-webhooks webhooks replay: give a log entry's id, or some of --outcome, --event-type, --from, --to"
      )
      return yield* new BadUsage()
    }
    return yield* onServer(flags, (api) =>
      Effect.flatMap(
        Option.match(flags.logId, {
          onNone: () => api.request("POST", pathOf(flags.id, "/replay"), wanted),
          onSome: (logId) => api.request("POST", pathOf(flags.id, `/replay/${encodeURIComponent(logId)}`))
        }),
        (text) =>
          flags.json || Option.isNone(flags.logId) ? Console.log(text) : Console.log(entryLine(JSON.parse(text)))
      ))
  })
).pipe(
  Command.withDescription("Send one delivery again, or start a job that sends many again"),
  Command.withExamples([
    { command: "truss-webhooks webhooks replay ID dlv_..." },
    { command: "truss-webhooks webhooks replay ID --outcome failed --from 2025-01-15T10:00:00Z" }
  ])
)

/** `truss-webhooks webhooks` */
export const webhooksCommand = Command.make("webhooks").pipe(
  Command.withDescription("Look after the webhooks of a running server, over its REST API"),
  Command.withShortDescription("Look after the webhooks of a running server"),
  Command.withExamples([
    {
      command: "export TRUSS_URL=https://truss.example TRUSS_API_KEY=truss_sk_...",
      description: "Which server, and the key to it; a server on this machine needs neither"
    },
    { command: "truss-webhooks webhooks list" },
    { command: "truss-webhooks webhooks logs ID --follow", description: "Watch deliveries as they are made" }
  ]),
  Command.withSubcommands([list, get, create, update, remove, test, logs, replay])
)
