import { PgClient } from "@effect/sql-pg"
import { Clock, Context, Effect, Layer, PubSub } from "effect"
import { randomUUID } from "node:crypto"
import { circuitOf, nextProbeAt } from "../domain/DeliveryState.ts"
import { type Conditions, mayChange, webhookTag } from "../domain/EntityTag.ts"
import {
  type DatabaseUnavailable,
  type InvalidFilter,
  type InvalidParameter,
  type SecretsUnavailable,
  type TableLocked,
  type TableMismatch,
  type TableNotWatchable,
  type UrlNotAllowed,
  WebhookChanged,
  WebhookNotFound
} from "../domain/Errors.ts"
import type { ChangeType } from "../domain/EventType.ts"
import type { Filter } from "../domain/Filter.ts"
import { isInProcess, lacksSubscriber } from "../domain/InProcess.ts"
import {
  type DisabledReason,
  isWebhookId,
  type Ordering,
  type Webhook,
  type WebhookCreate,
  WebhookId,
  type WebhookPatch
} from "../domain/Webhook.ts"
import { maskedValue, type WebhookHeaders } from "../domain/WebhookHeaders.ts"
import { mayNeed } from "./Ahead.ts"
import { Audit } from "./Audit.ts"
import { backlog } from "./Backlog.ts"
import { Capture, withTriggerLock } from "./Capture.ts"
import { orUnavailable } from "./Database.ts"
import { Egress } from "./Egress.ts"
import { atPosition, decodeCursor, encodeCursor, positionOf } from "./PageCursor.ts"
import { pageRead } from "./PageRead.ts"
import { plain, texts } from "./PgArray.ts"
import { type Seal, sealHeaders, Secrets } from "./Secrets.ts"
import { asksOfTable, checkPartitions, checkSelection, syncSelections } from "./Selection.ts"
import { lookUpTable } from "./WatchedTable.ts"
import { announce, markPauseOrResume, WebhookChanges } from "./WebhookChanges.ts"

/** A webhook with what tells its settings from earlier ones. */
export interface VersionedWebhook extends Webhook {
  readonly version: string
}

/** One page of a list, newest last for webhooks, newest first for logs. */
export interface WebhookPage {
  readonly data: ReadonlyArray<Webhook>
  readonly next_cursor: string | null
}

export interface WebhookQuery {
  readonly limit: number
  readonly cursor?: string | undefined
  /** `orders` or `public.orders`. */
  readonly table?: string | undefined
  readonly active?: boolean | undefined
}

interface Row {
  readonly id: WebhookId
  readonly name: string
  readonly table_id: number
  readonly table_schema: string
  readonly table_name: string
  readonly events: ReadonlyArray<ChangeType>
  readonly url: string
  readonly headers: string
  readonly has_secret: boolean
  readonly active: boolean
  readonly disabled_reason: DisabledReason | null
  readonly columns: ReadonlyArray<string> | null
  readonly filter: string | null
  readonly ordering: Ordering
  readonly rate_limit: number | null
  readonly concurrency: number
  readonly partitions: number
  readonly timeout_ms: number
  readonly max_attempts: number
  readonly lacks_subscriber: boolean
  readonly fail_count: number
  readonly last_failed_at: Date | null
  readonly opened_at: Date | null
  readonly backlog: number
  readonly last_delivery_at: Date | null
  readonly last_status_code: number | null
  readonly created_at: Date
  readonly updated_at: Date
  readonly position: string
  readonly version: string
}

const columns = `w.id::text, w.name, w.table_id, t.table_schema, t.table_name, w.events::text[], w.url,
  w.headers::text, w.secret IS NOT NULL AS has_secret, w.active, w.disabled_reason, w.columns,
  w.filter::text AS filter, w.ordering, w.rate_limit, w.concurrency, w.partitions, w.timeout_ms, w.max_attempts,
  ${lacksSubscriber} AS lacks_subscriber, c.fail_count,
  c.last_failed_at, c.opened_at, ${backlog} AS backlog, c.last_delivery_at, c.last_status_code, w.created_at, w.updated_at,
  ${positionOf("w.created_at")} AS position, ${positionOf("w.updated_at")} AS version`
const from = `truss.webhooks w JOIN truss.tables t ON t.id = w.table_id JOIN truss.cursors c ON c.webhook_id = w.id`

const toWebhook = (row: Row, now: number): Webhook => {
  const state = {
    failCount: row.fail_count,
    failingSince: null,
    lastFailedAt: row.last_failed_at?.getTime() ?? null,
    openedAt: row.opened_at?.getTime() ?? null
  }
  const probe = nextProbeAt(state)
  return {
    id: row.id,
    name: row.name,
    table_schema: row.table_schema,
    table_name: row.table_name,
    events: row.events,
    url: row.url,
    headers: Object.fromEntries(Object.keys(JSON.parse(row.headers)).map((name) => [name, maskedValue])),
    has_secret: row.has_secret,
    active: row.active,
    columns: row.columns,
    filter: row.filter === null ? null : JSON.parse(row.filter) as Filter,
    ordering: row.ordering,
    rate_limit: row.rate_limit,
    concurrency: row.concurrency,
    partitions: row.partitions,
    timeout_ms: row.timeout_ms,
    max_attempts: row.max_attempts,
    fail_count: row.fail_count,
    disabled_reason: row.disabled_reason,
    circuit: circuitOf(state, now),
    subscriber: !isInProcess(row.url) ? null : row.lacks_subscriber ? "missing" : "connected",
    next_probe_at: probe === null ? null : new Date(probe).toISOString(),
    backlog: row.backlog,
    last_delivery_at: row.last_delivery_at?.toISOString() ?? null,
    last_status_code: row.last_status_code,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString()
  }
}

const shown = (row: Row) => Effect.map(Clock.currentTimeMillis, (now) => toWebhook(row, now))

const versioned = (row: Row) =>
  Effect.map(shown(row), (webhook): VersionedWebhook => ({ ...webhook, version: row.version }))

/** To be asked while the webhook is locked: nothing can change it between this and the end of the transaction. */
const demand = (conditions: Conditions | undefined, row: Row) =>
  conditions === undefined || mayChange(conditions, webhookTag(row))
    ? Effect.void
    : Effect.fail(new WebhookChanged({ id: row.id }))

/** What is stored when headers are written over others: a masked value keeps the one that is there, as it is. */
const mergeHeaders = (seal: Seal, id: WebhookId, next: WebhookHeaders, now: WebhookHeaders): WebhookHeaders => {
  const stored = new Map(Object.entries(now).map(([name, value]) => [name.toLowerCase(), value]))
  const kept = (name: string, value: string) => value === maskedValue ? stored.get(name.toLowerCase()) : undefined
  return Object.fromEntries(
    Object.entries(sealHeaders(seal, id, next)).map(([name, sealed]) => [name, kept(name, next[name]!) ?? sealed])
  )
}

/** What the audit says of a webhook that is made or deleted. */
const tableOf = ({ name, table_name, table_schema }: Pick<Webhook, "name" | "table_name" | "table_schema">) => ({
  name,
  table: `${table_schema}.${table_name}`
})

/** What is wrong with a webhook that fits its schema. */
type Refusal = TableNotWatchable | InvalidFilter | TableMismatch | UrlNotAllowed | SecretsUnavailable

/** The registered webhooks. Creating, changing and deleting installs and drops triggers, and tells the dispatcher. */
export class Webhooks extends Context.Service<Webhooks, {
  create(input: WebhookCreate): Effect.Effect<VersionedWebhook, Refusal | TableLocked | DatabaseUnavailable>
  list(query: WebhookQuery): Effect.Effect<WebhookPage, InvalidParameter | DatabaseUnavailable>
  get(id: string): Effect.Effect<VersionedWebhook, WebhookNotFound | DatabaseUnavailable>
  patch(
    id: string,
    input: WebhookPatch,
    conditions?: Conditions
  ): Effect.Effect<VersionedWebhook, WebhookNotFound | WebhookChanged | Refusal | TableLocked | DatabaseUnavailable>
  remove(
    id: string,
    conditions?: Conditions
  ): Effect.Effect<void, WebhookNotFound | WebhookChanged | TableLocked | DatabaseUnavailable>
}>()("truss/services/Webhooks") {
  static readonly layer = Layer.effect(
    Webhooks,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const inTime = pageRead(sql)
      const capture = yield* Capture
      const audit = yield* Audit
      const egress = yield* Egress
      const changes = yield* WebhookChanges
      const secrets = yield* Secrets
      const scope = yield* Effect.scope

      /** A function is reached without a request. */
      const checkUrl = (url: string) => isInProcess(url) ? Effect.void : egress.check(url)

      const tell = (id: WebhookId) => PubSub.publish(changes, id)

      const byId = (id: WebhookId) =>
        Effect.flatMap(
          sql.unsafe<Row>(`SELECT ${columns} FROM ${from} WHERE w.id = $1::uuid`, [id]),
          (rows) => rows[0] === undefined ? new WebhookNotFound({ id }) : Effect.succeed(rows[0])
        )

      const known = (id: string) => isWebhookId(id) ? Effect.succeed(id) : Effect.fail(new WebhookNotFound({ id }))

      const lookUp = (schema: string, name: string) =>
        Effect.provideService(lookUpTable(schema, name), PgClient.PgClient, sql)

      const tableId = Effect.fnUntraced(function*(schema: string, name: string) {
        const [row] = yield* sql<{ id: number }>`
          INSERT INTO truss.tables (table_schema, table_name) VALUES (${schema}, ${name})
          ON CONFLICT (table_schema, table_name) DO UPDATE SET table_name = excluded.table_name RETURNING id`
        return row!.id
      })

      const create = Effect.fn("Webhooks.create")((input: WebhookCreate) =>
        withTriggerLock(
          sql,
          `${input.table_schema}.${input.table_name}`,
          Effect.gen(function*() {
            const watched = yield* lookUp(input.table_schema, input.table_name)
            yield* checkSelection(sql, watched, input)
            if (input.partitions > 1) yield* checkPartitions(watched, input)
            const table = yield* tableId(input.table_schema, input.table_name)
            const id = WebhookId.make(randomUUID())
            const secret = input.secret ?? null
            const seal = secret === null && Object.keys(input.headers).length === 0 ? undefined : yield* secrets.sealer
            yield* sql`
              INSERT INTO truss.webhooks
                (id, name, table_id, events, url, headers, secret, active, disabled_reason, columns, filter, ordering,
                  rate_limit, concurrency, partitions, timeout_ms, max_attempts)
              VALUES (${id}::text::uuid, ${input.name}, ${table}, ${
              plain(input.events)
            }::text::truss.event_type[], ${input.url},
                ${JSON.stringify(seal === undefined ? {} : sealHeaders(seal, id, input.headers))}::text::json,
                ${seal === undefined || secret === null ? null : seal(id, "secret", secret)}, ${input.active},
                ${input.active ? null : "paused"}, ${
              input.columns === null ? null : texts(input.columns)
            }::text::text[],
                ${input.filter === null ? null : JSON.stringify(input.filter)}::text::json, ${input.ordering},
                ${input.rate_limit}, ${input.concurrency}, ${input.partitions}, ${input.timeout_ms}, ${input.max_attempts})`
            yield* sql`
              INSERT INTO truss.cursors (webhook_id, seen, gaps)
              SELECT ${id}::text::uuid, pg_current_snapshot(),
                CASE WHEN ${input.active} THEN '{}' ELSE ARRAY[pg_current_snapshot()] END`
            yield* capture.sync(table)
            yield* syncSelections(sql, id)
            yield* audit.record({ action: "webhook.created", webhookId: id, detail: tableOf(input) })
            yield* announce(sql, id)
            return yield* byId(id)
          })
        ).pipe(
          (transaction) => Effect.andThen(checkUrl(input.url), transaction),
          Effect.tap((row) => tell(row.id)),
          Effect.flatMap(versioned),
          Effect.catchTag("WebhookNotFound", Effect.die),
          orUnavailable
        )
      )

      const list = Effect.fn("Webhooks.list")(function*(query: WebhookQuery) {
        const after = query.cursor === undefined ? undefined : yield* decodeCursor("webhooks", query.cursor)
        const rows = yield* sql.unsafe<Row>(
          `SELECT ${columns} FROM ${from}
          WHERE ($1::text IS NULL OR t.table_name = $1 OR t.table_schema || '.' || t.table_name = $1)
            AND ($2::boolean IS NULL OR w.active = $2)
            AND (w.created_at, w.id) > ${
            atPosition("coalesce($3, '0')", "coalesce($4, '00000000-0000-0000-0000-000000000000')")
          }
          ORDER BY w.created_at, w.id LIMIT $5`,
          [query.table ?? null, query.active ?? null, after?.[0] ?? null, after?.[1] ?? null, query.limit + 1]
        )
        const page = rows.slice(0, query.limit)
        const last = page.at(-1)
        return {
          data: yield* Effect.forEach(page, shown),
          next_cursor: rows.length > page.length && last !== undefined ? encodeCursor("webhooks", last) : null
        }
      }, inTime)

      const get = Effect.fn("Webhooks.get")((id: string) =>
        Effect.flatMap(known(id), byId).pipe(Effect.flatMap(versioned), inTime)
      )

      const write = Effect.fnUntraced(function*(id: WebhookId, input: WebhookPatch, table: number) {
        const [stored] = yield* sql<{ headers: string; secret: string | null }>`
          SELECT headers::text, secret FROM truss.webhooks WHERE id = ${id}::text::uuid`
        const seal = input.headers === undefined && typeof input.secret !== "string" ? undefined : yield* secrets.sealer
        const headers = input.headers === undefined || seal === undefined
          ? stored!.headers
          : JSON.stringify(mergeHeaders(seal, id, input.headers, JSON.parse(stored!.headers)))
        const secret = typeof input.secret === "string" && seal !== undefined
          ? seal(id, "secret", input.secret)
          : input.secret === undefined
          ? stored!.secret
          : null
        yield* sql`
          UPDATE truss.webhooks SET table_id = ${table}, headers = ${headers}::text::json,
            secret = ${secret},
            previous_secret = CASE WHEN ${input.secret === undefined} THEN previous_secret END,
            previous_secret_until = CASE WHEN ${input.secret === undefined} THEN previous_secret_until END,
            name = coalesce(${input.name ?? null}::text, name),
            url = coalesce(${input.url ?? null}::text, url),
            events = coalesce(${
          input.events === undefined ? null : plain(input.events)
        }::text::truss.event_type[], events),
            active = coalesce(${input.active ?? null}::boolean, active),
            disabled_reason = CASE
              WHEN ${input.active ?? null}::boolean THEN NULL
              WHEN NOT ${input.active ?? null}::boolean THEN 'paused'
              WHEN table_id <> ${table} AND disabled_reason = 'table_missing' THEN NULL
              ELSE disabled_reason END,
            enabled_at = CASE WHEN ${
          input.active ?? null
        }::boolean AND NOT active THEN clock_timestamp() ELSE enabled_at END,
            columns = CASE WHEN ${input.columns === undefined} THEN columns
              ELSE ${
          input.columns === undefined || input.columns === null ? null : texts(input.columns)
        }::text::text[] END,
            filter = CASE WHEN ${input.filter === undefined} THEN filter
              ELSE ${
          input.filter === undefined || input.filter === null ? null : JSON.stringify(input.filter)
        }::text::json END,
            ordering = coalesce(${input.ordering ?? null}::text, ordering),
            rate_limit = CASE WHEN ${input.rate_limit === undefined} THEN rate_limit ELSE ${
          input.rate_limit ?? null
        }::int END,
            concurrency = coalesce(${input.concurrency ?? null}::int, concurrency),
            partitions = coalesce(${input.partitions ?? null}::int2, partitions),
            timeout_ms = coalesce(${input.timeout_ms ?? null}::int, timeout_ms),
            max_attempts = coalesce(${input.max_attempts ?? null}::int, max_attempts),
            updated_at = clock_timestamp()
          WHERE id = ${id}::text::uuid`
      })

      /** From here on these event types are asked for: a webhook that stands further back skips earlier ones. */
      const askFrom = (id: WebhookId, added: ReadonlyArray<ChangeType>) =>
        sql`UPDATE truss.cursors c SET since = (
            SELECT json_agg(s) FROM (
              SELECT s FROM json_array_elements(since) s
              WHERE ${sql.literal(mayNeed("pg_snapshot_xmax((s ->> 'at')::pg_snapshot)"))}
              UNION ALL
              SELECT json_build_object('types', ${plain(added)}::text::text[], 'at', pg_current_snapshot()::text)
            ) s)
          WHERE webhook_id = ${id}::text::uuid`

      const lock = (id: WebhookId) => sql`SELECT FROM truss.webhooks WHERE id = ${id}::text::uuid FOR UPDATE`

      const patch = Effect.fn("Webhooks.patch")(function*(id: string, input: WebhookPatch, conditions?: Conditions) {
        const webhookId = yield* known(id)
        const before = yield* byId(webhookId)
        if (input.url !== undefined) yield* checkUrl(input.url)
        const schema = input.table_schema ?? before.table_schema
        const name = input.table_name ?? before.table_name
        const row = yield* withTriggerLock(
          sql,
          `${schema}.${name}`,
          Effect.gen(function*() {
            yield* lock(webhookId)
            const now = yield* byId(webhookId)
            yield* demand(conditions, now)
            const moves = schema !== now.table_schema || name !== now.table_name
            const whole = { ...toWebhook(now, 0), ...input }
            if (moves || asksOfTable(input)) {
              yield* checkSelection(sql, yield* lookUp(schema, name), moves ? whole : input)
            }
            if (moves || input.ordering !== undefined || input.partitions !== undefined) {
              if (whole.partitions > 1) yield* checkPartitions(yield* lookUp(schema, name), whole)
            }
            const table = moves ? yield* tableId(schema, name) : now.table_id
            yield* write(webhookId, input, table)
            if (input.active !== undefined && input.active !== now.active) {
              yield* markPauseOrResume(sql, webhookId)
            }
            const added = (input.events ?? []).filter((event) => !now.events.includes(event))
            if (added.length > 0) yield* askFrom(webhookId, added)
            if (moves) {
              yield* sql`UPDATE truss.cursors SET since = '[]' WHERE webhook_id = ${webhookId}::text::uuid`
              for (const positions of ["cursors", "cursor_parts"]) {
                yield* sql`UPDATE ${sql.literal(`truss.${positions}`)} SET restart = pg_current_snapshot(),
                  gaps = CASE WHEN ${input.active ?? now.active} THEN '{}' ELSE ARRAY[pg_current_snapshot()] END
                  WHERE webhook_id = ${webhookId}::text::uuid`
              }
              yield* Effect.catchTag(capture.sync(now.table_id), "TableNotWatchable", () => Effect.void)
            }
            if (moves || input.events !== undefined || input.active === true) yield* capture.sync(table)
            if (moves || input.columns !== undefined || input.filter !== undefined) {
              yield* syncSelections(sql, webhookId)
            }
            const fields = Object.keys(input)
            if (fields.length > 0) yield* audit.record({ action: "webhook.updated", webhookId, detail: { fields } })
            yield* announce(sql, webhookId)
            return yield* byId(webhookId)
          })
        )
        yield* tell(webhookId)
        return yield* versioned(row)
      }, orUnavailable)

      const remove = Effect.fn("Webhooks.remove")(function*(id: string, conditions?: Conditions) {
        const webhookId = yield* known(id)
        const before = yield* byId(webhookId)
        yield* withTriggerLock(
          sql,
          `${before.table_schema}.${before.table_name}`,
          Effect.gen(function*() {
            if (conditions !== undefined) {
              yield* lock(webhookId)
              yield* demand(conditions, yield* byId(webhookId))
            }
            yield* sql`DELETE FROM truss.webhooks WHERE id = ${webhookId}::text::uuid`
            yield* Effect.catchTag(capture.sync(before.table_id), "TableNotWatchable", () => Effect.void)
            yield* syncSelections(sql, webhookId)
            yield* audit.record({ action: "webhook.deleted", webhookId, detail: tableOf(before) })
            yield* announce(sql, webhookId)
          })
        )
        yield* tell(webhookId)
        // Nothing shows the log of a webhook that is not there; what a crash leaves of it goes with its partition.
        yield* sql`DELETE FROM truss.attempts WHERE webhook_id = ${webhookId}::text::uuid`.pipe(
          Effect.ignore({ log: true }),
          Effect.forkIn(scope)
        )
      }, orUnavailable)

      return Webhooks.of({ create, list, get, patch, remove })
    })
  )
}
