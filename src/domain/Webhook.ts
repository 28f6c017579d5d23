import { Effect, Schema } from "effect"
import { ChangeType } from "./EventType.ts"
import { Filter } from "./Filter.ts"
import { Time } from "./Time.ts"
import { WebhookHeaders } from "./WebhookHeaders.ts"

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

export const WebhookId = Schema.String.pipe(Schema.brand("WebhookId"))
export type WebhookId = typeof WebhookId.Type

/** Whether a string can be the id of a webhook at all; one that cannot is not found rather than wrong. */
export const isWebhookId = (id: string): id is WebhookId => uuid.test(id)

/** PostgreSQL's `text` cannot hold NUL, and a control character in a name is never meant. */
// oxlint-disable-next-line no-control-regex
const control = /[\u0000-\u001f\u007f]/

/** A text that people read, of so many characters, as JSON Schema counts them. */
export const printable = (what: string, min: number, max: number) =>
  Schema.String.check(Schema.makeFilter((text) => {
    const { length } = [...text]
    if (length < min || length > max) return `${what} must have ${min} to ${max} characters`
    if (control.test(text)) return `${what} must not contain control characters`
    return text.isWellFormed() ? undefined : `${what} must be well-formed Unicode`
  }, { toJsonSchema: () => ({ minLength: min, maxLength: max }) }))

const identifier = (what: string) =>
  printable(what, 1, 63).check(
    Schema.makeFilter((text) => new TextEncoder().encode(text).length <= 63 ? undefined : `${what} is over 63 bytes`, {
      toJsonSchema: () => ({ maxLength: 63 })
    })
  )

/** A whole number in a range, both ends included. */
export const between = (minimum: number, maximum: number) =>
  Schema.Int.check(
    Schema.makeFilter((n) => n >= minimum && n <= maximum ? undefined : `must be from ${minimum} to ${maximum}`, {
      toJsonSchema: () => ({ minimum, maximum })
    })
  )

/** An absolute http or https URL of at most 2048 characters, without credentials. */
export const EndpointUrl = Schema.String.check(Schema.makeFilter((text) => {
  if (text.length > 2048) return "must have at most 2048 characters"
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007f\\]/.test(text)) return "must not contain spaces, backslashes or control characters"
  if (!text.isWellFormed()) return "must be well-formed Unicode"
  const url = URL.parse(text)
  if (url === null || !/^https?:\/\/[^/]/i.test(text)) return "must be an absolute http or https URL"
  if (url.username !== "" || url.password !== "") return "must not contain credentials: use a header"
  return url.hash === "" ? undefined : "must not contain a fragment"
}, { toJsonSchema: () => ({ format: "uri", maxLength: 2048 }) }))

export const Events = Schema.Array(ChangeType).check(Schema.makeFilter((events) => {
  if (events.length === 0) return "must name at least one of INSERT, UPDATE, DELETE, TRUNCATE"
  return new Set(events).size === events.length ? undefined : "must not name an event twice"
}, { toJsonSchema: () => ({ minItems: 1, uniqueItems: true }) }))

export const Secret = printable("secret", 1, 1024).annotate({ description: "Signs deliveries; never shown again" })

/** Which events wait for which: none, those of the same row, or all. */
export const Ordering = Schema.Literals(["none", "row", "strict"])
export type Ordering = typeof Ordering.Type

/** Whether attempts go out, probes only, or a probe is out just now. */
export const CircuitState = Schema.Literals(["closed", "open", "half_open"])
export type CircuitState = typeof CircuitState.Type

const Columns = Schema.Array(identifier("a column")).check(Schema.makeFilter((columns) => {
  if (columns.length === 0 || columns.length > 1600) return "must name 1 to 1600 columns, or be null"
  return new Set(columns).size === columns.length ? undefined : "must not name a column twice"
}, { toJsonSchema: () => ({ minItems: 1, maxItems: 1600, uniqueItems: true }) }))

export const DisabledReason = Schema.Literals(["paused", "gone", "failing", "table_missing"])
export type DisabledReason = typeof DisabledReason.Type

const fields = {
  name: printable("name", 1, 200),
  table_schema: identifier("table_schema").annotate({ description: "The table's schema; `public` unless given" }),
  table_name: identifier("table_name"),
  events: Events.annotate({ description: "Which changes fire" }),
  url: EndpointUrl.annotate({ description: "Where deliveries go: http or https, without credentials" }),
  headers: WebhookHeaders.annotate({
    description: "Added to every delivery. Values are shown as `***`, and `***` written back keeps the stored value"
  }),
  active: Schema.Boolean.annotate({ description: "Paused webhooks do not fire; true unless given" }),
  columns: Schema.NullOr(Columns).annotate({
    description: "An UPDATE fires only if one of these columns changed; null: any"
  }),
  filter: Schema.NullOr(Filter).annotate({
    description: "Conditions that must all hold on `row`, or on `old_row` for DELETE; null: none"
  }),
  ordering: Ordering.annotate({
    description: "`none`; `row`: events of one row in commit order; `strict`: all in commit order, one at a time"
  }),
  rate_limit: Schema.NullOr(between(1, 10_000)).annotate({
    description: "Requests a second at most, with bursts of up to one second's; null: no limit"
  }),
  concurrency: between(1, 256).annotate({ description: "Deliveries in flight at most; 16 unless given" }),
  partitions: between(1, 64).annotate({
    description: "Parts that deliver side by side, on several runners of a cluster, each the rows whose primary key " +
      "falls to it; `concurrency` and `rate_limit` are of all together. Not with `strict`; 1 unless given"
  }),
  timeout_ms: between(100, 60_000).annotate({ description: "For a whole attempt; 15000 unless given" }),
  max_attempts: between(1, 20).annotate({ description: "Attempts at an event, in all; 8 unless given" })
}

/** Defaults of a new webhook; contract, section 2. */
export const defaults = {
  table_schema: "public",
  headers: {},
  active: true,
  columns: null,
  filter: null,
  ordering: "none",
  rate_limit: null,
  concurrency: 16,
  partitions: 1,
  timeout_ms: 15_000,
  max_attempts: 8
} as const

/** The body of `POST /webhooks`. */
export const WebhookCreate = Schema.Struct({
  ...fields,
  table_schema: fields.table_schema.pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaults.table_schema))),
  headers: fields.headers.pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaults.headers))),
  active: fields.active.pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaults.active))),
  columns: fields.columns.pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaults.columns))),
  filter: fields.filter.pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaults.filter))),
  ordering: fields.ordering.pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaults.ordering))),
  rate_limit: fields.rate_limit.pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaults.rate_limit))),
  concurrency: fields.concurrency.pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaults.concurrency))),
  partitions: fields.partitions.pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaults.partitions))),
  timeout_ms: fields.timeout_ms.pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaults.timeout_ms))),
  max_attempts: fields.max_attempts.pipe(Schema.withDecodingDefaultKey(Effect.succeed(defaults.max_attempts))),
  secret: Schema.optionalKey(Schema.NullOr(Secret))
}).annotate({ identifier: "WebhookCreate" })
export type WebhookCreate = typeof WebhookCreate.Type

/** The body of `PATCH /webhooks/{id}`: any subset. A `secret` of null removes it. */
export const WebhookPatch = Schema.Struct({
  name: Schema.optionalKey(fields.name),
  table_schema: Schema.optionalKey(fields.table_schema),
  table_name: Schema.optionalKey(fields.table_name),
  events: Schema.optionalKey(fields.events),
  url: Schema.optionalKey(fields.url),
  headers: Schema.optionalKey(fields.headers),
  active: Schema.optionalKey(fields.active),
  columns: Schema.optionalKey(fields.columns),
  filter: Schema.optionalKey(fields.filter),
  ordering: Schema.optionalKey(fields.ordering),
  rate_limit: Schema.optionalKey(fields.rate_limit),
  concurrency: Schema.optionalKey(fields.concurrency),
  partitions: Schema.optionalKey(fields.partitions),
  timeout_ms: Schema.optionalKey(fields.timeout_ms),
  max_attempts: Schema.optionalKey(fields.max_attempts),
  secret: Schema.optionalKey(Schema.NullOr(Secret))
}).annotate({ identifier: "WebhookPatch" })
export type WebhookPatch = typeof WebhookPatch.Type

/** Whether the process that delivers has the function in the endpoint's place. */
export const SubscriberState = Schema.Literals(["connected", "missing"])

/** A webhook as the API shows it. Times are ISO 8601 in UTC; header values are masked; the secret is never shown. */
export const Webhook = Schema.Struct({
  id: WebhookId,
  ...fields,
  url: Schema.String.annotate({
    description:
      "Where deliveries go: http or https; or `in-process:<name>`, a function of a program that embeds the " +
      "service, which only that program can set",
    format: "uri"
  }),
  has_secret: Schema.Boolean,
  fail_count: Schema.Int.annotate({ description: "Attempts that failed in a row, by the log" }),
  disabled_reason: Schema.NullOr(DisabledReason).annotate({ description: "Why it does not fire; null when it does" }),
  circuit: CircuitState.annotate({ description: "`open`: only probes go out; `half_open`: it is time for one" }),
  subscriber: Schema.NullOr(SubscriberState).annotate({
    description: "`missing`: the process that delivers does not have the function, so events wait; null for an endpoint"
  }),
  next_probe_at: Schema.NullOr(Time).annotate({ description: "While the circuit is open" }),
  backlog: Schema.Int.annotate({ description: "Events that wait for their delivery; counted up to 10000" }),
  last_delivery_at: Schema.NullOr(Time),
  last_status_code: Schema.NullOr(Schema.Int),
  created_at: Time,
  updated_at: Time
}).annotate({ identifier: "Webhook" })
export type Webhook = typeof Webhook.Type
