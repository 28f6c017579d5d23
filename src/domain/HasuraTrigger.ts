import { Predicate, Result, Schema } from "effect"
import type { ChangeType } from "./EventType.ts"
import { carried, headersOf, type ImportPlan, notCarried, timeoutOf, type WebhookInput } from "./ImportPlan.ts"

const optional = <S extends Schema.Top>(schema: S) => Schema.optional(Schema.NullOr(schema))

const Columns = Schema.Union([Schema.Literal("*"), Schema.Array(Schema.String)])

const Operation = Schema.Struct({ columns: optional(Columns), payload: optional(Columns) })
type Operation = typeof Operation.Type

const EventTrigger = Schema.Struct({
  name: Schema.String,
  definition: Schema.Struct({
    enable_manual: optional(Schema.Boolean),
    insert: optional(Operation),
    update: optional(Operation),
    delete: optional(Operation)
  }),
  retry_conf: optional(Schema.Struct({
    num_retries: optional(Schema.Number),
    interval_sec: optional(Schema.Number),
    timeout_sec: optional(Schema.Number)
  })),
  webhook: optional(Schema.String),
  webhook_from_env: optional(Schema.String),
  headers: optional(Schema.Array(Schema.Struct({
    name: Schema.String,
    value: optional(Schema.String),
    value_from_env: optional(Schema.String)
  }))),
  request_transform: optional(Schema.Unknown),
  response_transform: optional(Schema.Unknown),
  trigger_on_replication: optional(Schema.Boolean)
})
type EventTrigger = typeof EventTrigger.Type

const Table = Schema.Struct({
  // Before version 2 a table of `public` was its name alone.
  table: Schema.Union([Schema.String, Schema.Struct({ schema: optional(Schema.String), name: Schema.String })]),
  event_triggers: optional(Schema.Array(Schema.Unknown))
})

const Source = Schema.Struct({
  name: Schema.String,
  kind: optional(Schema.String),
  tables: optional(Schema.Array(Table))
})

const Metadata = Schema.Union([
  Schema.Struct({ sources: Schema.Array(Source) }),
  Schema.Struct({ tables: Schema.Array(Table) })
])

/** A database of Hasura's metadata, as far as event triggers go. */
export type HasuraSource = typeof Source.Type

const decodeMetadata = Schema.decodeUnknownResult(Metadata)
const decodeTrigger = Schema.decodeUnknownResult(EventTrigger)

/**
 * The databases of exported metadata: `{ sources }` of Hasura 2, the same inside `{ resource_version, metadata }`, or
 * `{ tables }` of older versions. Undefined where it is none of these.
 */
export const hasuraSources = (exported: unknown): ReadonlyArray<HasuraSource> | undefined => {
  const inner = typeof exported === "object" && exported !== null && "metadata" in exported
    ? exported.metadata
    : exported
  const decoded = decodeMetadata(inner)
  if (Result.isFailure(decoded)) return undefined
  return "sources" in decoded.success
    ? decoded.success.sources
    : [{ name: "default", kind: "postgres", tables: decoded.success.tables }]
}

const template = /\{\{ *([A-Za-z_][A-Za-z0-9_]*) *\}\}/g

/** Puts in what Hasura takes from its environment, and notes what is not known. */
const resolver = (env: ReadonlyMap<string, string>) => {
  const missing = new Set<string>()
  const lookUp = (name: string): string => {
    const value = env.get(name)
    if (value === undefined) missing.add(name)
    return value ?? ""
  }
  return { missing, lookUp, fill: (text: string) => text.replaceAll(template, (_, name: string) => lookUp(name)) }
}

const operations: ReadonlyArray<readonly [ChangeType, "insert" | "update" | "delete"]> = [
  ["INSERT", "insert"],
  ["UPDATE", "update"],
  ["DELETE", "delete"]
]

const isPartial = (operation: Operation | null | undefined) => Array.isArray(operation?.payload)

const attemptsOf = ({ retry_conf }: EventTrigger): { readonly max_attempts?: number } => {
  const retries = retry_conf?.num_retries ?? 0
  return retries > 0 ? { max_attempts: Math.min(20, Math.round(retries) + 1) } : {}
}

const notesOf = (trigger: EventTrigger): ReadonlyArray<string> => {
  const { definition, retry_conf } = trigger
  const notes: Array<string> = []
  if (definition.enable_manual === true) notes.push("it can be invoked by hand; ours have a test event and replays")
  if ((retry_conf?.num_retries ?? 0) > 0) {
    notes.push("retries come after 5 s, 30 s, 2 min, 10 min, 30 min, 2 h and 6 h, not at its fixed interval")
  } else notes.push("it never retries; ours does, 8 attempts over 9 hours (`max_attempts` changes that)")
  if (operations.some(([, name]) => isPartial(definition[name]))) {
    notes.push("it sends some columns alone; ours sends the whole row")
  }
  if (Predicate.isNotNullish(trigger.request_transform)) {
    notes.push("its request transform is not carried over: the body is ours")
  }
  if (Predicate.isNotNullish(trigger.response_transform)) {
    notes.push("its response transform is not carried over: only 2xx counts")
  }
  if (trigger.trigger_on_replication === true) notes.push("it fires for replicated changes, too; ours does not")
  return notes
}

const planTrigger = (
  trigger: EventTrigger,
  table: Pick<WebhookInput, "table_name"> & { readonly table_schema: string },
  env: ReadonlyMap<string, string>
): ImportPlan => {
  const theirs = `${trigger.name} on ${table.table_schema}.${table.table_name}`
  const { definition } = trigger
  const updated = definition.update?.columns
  const events = operations.flatMap(([event, name]) => Predicate.isNullish(definition[name]) ? [] : [event])
  if (events.length === 0) return notCarried(theirs, "it is invoked by hand alone; ours are for changes")

  const { fill, lookUp, missing } = resolver(env)
  const url = Predicate.isNullish(trigger.webhook_from_env)
    ? fill(trigger.webhook ?? "")
    : lookUp(trigger.webhook_from_env)
  const headers = headersOf((trigger.headers ?? []).map(({ name, value, value_from_env }) => [
    name,
    Predicate.isNullish(value_from_env) ? fill(value ?? "") : lookUp(value_from_env)
  ]))
  if (missing.size > 0) {
    return notCarried(theirs, `it needs ${[...missing].join(", ")} of Hasura's environment: give --hasura-env`)
  }
  const timeout = timeoutOf((trigger.retry_conf?.timeout_sec ?? 60) * 1000)
  return carried(
    theirs,
    {
      name: trigger.name,
      ...table,
      events,
      url,
      headers: headers.headers,
      timeout_ms: timeout.timeout_ms,
      ...attemptsOf(trigger),
      ...(Array.isArray(updated) ? { columns: updated } : {})
    },
    [...headers.notes, ...timeout.notes, ...notesOf(trigger)],
    Predicate.isNotNullish(trigger.request_transform) || operations.some(([, name]) => isPartial(definition[name]))
  )
}

/** What becomes of every event trigger of a database; `env` is Hasura's environment. */
export const planHasuraSource = (source: HasuraSource, env: ReadonlyMap<string, string>): ReadonlyArray<ImportPlan> =>
  (source.tables ?? []).flatMap(({ event_triggers, table }) => {
    const table_schema = typeof table === "string" ? "public" : table.schema ?? "public"
    const table_name = typeof table === "string" ? table : table.name
    return (event_triggers ?? []).map((one) => {
      const decoded = decodeTrigger(one)
      return Result.isSuccess(decoded)
        ? planTrigger(decoded.success, { table_schema, table_name }, env)
        : notCarried(
          `an event trigger on ${table_schema}.${table_name}`,
          "it is not written as Hasura 1 or 2 writes them"
        )
    })
  })
