import type { DeliveryState } from "../domain/DeliveryState.ts"
import type { ChangeType } from "../domain/EventType.ts"
import { type Layout, shareOf } from "../domain/Layout.ts"
import type { Ordering, WebhookId } from "../domain/Webhook.ts"
import { type OpenSecrets, secretColumns, type SecretRow } from "./Secrets.ts"
import { selectFunctionName, selects } from "./Selection.ts"
import { primaryKeyOf } from "./WatchedTable.ts"

/** What an actor needs to know of its webhook. */
export interface ActorWebhook extends OpenSecrets {
  readonly id: WebhookId
  /** Which part of it: 0 where it is not split. */
  readonly part: number
  /** How it is split; null: not at all. */
  readonly layout: Layout | null
  /** Whether it should be split otherwise: then every part ends, and begins anew. */
  readonly isToSplit: boolean
  /** It is one for a while, because of an event that is about rows of several parts. */
  readonly alone: boolean
  /** Another one whenever the settings are. */
  readonly version: string
  readonly tableId: number
  readonly events: ReadonlyArray<ChangeType>
  /** The SQL function that says which events fire; null: all do. */
  readonly select: string | null
  /** JSON: since which snapshots event types that were added later are asked for. */
  readonly since: string
  /** How many snapshots of pauses and resumes the stored position has ahead of it. */
  readonly gaps: number
  readonly url: string
  readonly active: boolean
  readonly ordering: Ordering
  /** Where `ordering` is `row`: the columns of the table's primary key. */
  readonly primaryKey: ReadonlyArray<string>
  /** Of this part. */
  readonly rateLimit: number | null
  /** Of this part. */
  readonly concurrency: number
  readonly timeoutMs: number
  readonly maxAttempts: number
  /** Milliseconds since 1970. */
  readonly enabledAt: number
  /** How many events somebody let it go past. */
  readonly skips: number
  readonly state: DeliveryState
}

/** The webhook as the database gives it. */
export interface SettingsRow extends SecretRow, StateRow {
  readonly table_id: number
  readonly layout: string | null
  readonly wanted: string | null
  readonly alone: boolean
  readonly since: string
  readonly gap_count: number
  readonly selects: boolean
  readonly events: ReadonlyArray<ChangeType>
  readonly url: string
  readonly headers: string
  readonly active: boolean
  readonly ordering: Ordering
  readonly primary_key: ReadonlyArray<string>
  readonly rate_limit: number | null
  readonly concurrency: number
  readonly timeout_ms: number
  readonly max_attempts: number
  readonly enabled_at: number
  readonly skips: number
  readonly version: string
}

export interface StateRow {
  readonly fail_count: number
  readonly failing_since: number | null
  readonly last_failed_at: number | null
  readonly opened_at: number | null
}

const ms = (column: string) => `round(extract(epoch FROM ${column}) * 1000)::float8`

/** What the log says of the webhook, of a cursor `c`. */
export const stateColumns = `c.fail_count, ${ms("c.failing_since")} AS failing_since,
  ${ms("c.last_failed_at")} AS last_failed_at, ${ms("c.opened_at")} AS opened_at`

export const toState = (row: StateRow): DeliveryState => ({
  failCount: row.fail_count,
  failingSince: row.failing_since,
  lastFailedAt: row.last_failed_at,
  openedAt: row.opened_at
})

const primaryKey = `coalesce((
  SELECT ${primaryKeyOf("r.oid")} FROM truss.tables t JOIN pg_namespace n ON n.nspname = t.table_schema
    JOIN pg_class r ON r.relnamespace = n.oid AND r.relname = t.table_name
  WHERE t.id = w.table_id), '{}')`

/** Into how many parts a webhook `w` can be split: each must be allowed a request at a time, and one a second. */
const divisor = "least(w.partitions, w.concurrency, w.rate_limit)"

/** How a webhook `w` with the cursor `c` should be split, see domain/Layout.ts; null: not at all. */
export const wantedLayout =
  `CASE WHEN ${divisor} > 1 AND w.ordering <> 'strict' AND NOT (c.alone AND w.ordering = 'row')
  THEN (SELECT jsonb_build_object('n', ${divisor}, 'key', to_jsonb(k.key), 'ordered', w.ordering = 'row')
    FROM (SELECT ${primaryKey} AS key) k WHERE cardinality(k.key) > 0) END`

/** How many parts of a webhook `w` with the cursor `c` there are, or are to be. */
export const partsToTell = `greatest(${divisor}, (c.layout ->> 'n')::int4, 1)`

/** Of a webhook `w` and its cursor `c`; where its position stands is in `position`, a row's name. */
export const settingsColumns = (position: "c" | "p") =>
  `w.updated_at::text AS version, w.table_id, ${selects} AS selects,
  w.events::text[] AS events, w.url, w.headers::text AS headers, ${secretColumns}, w.active,
  w.ordering, w.rate_limit, w.concurrency, w.timeout_ms, w.max_attempts,
  (extract(epoch FROM w.enabled_at) * 1000)::float8 AS enabled_at, c.skips, ${stateColumns},
  CASE WHEN w.ordering <> 'row' THEN '{}' ELSE ${primaryKey} END AS primary_key,
  c.layout::text AS layout, (${wantedLayout})::text AS wanted,
  c.alone AND w.ordering = 'row' AND ${divisor} > 1 AS alone,
  c.since::text AS since, coalesce(cardinality(${position}.gaps), 0) AS gap_count`

export const toActorWebhook = (
  id: WebhookId,
  part: number,
  row: SettingsRow,
  secrets: OpenSecrets
): ActorWebhook => {
  const layout = row.layout === null ? null : JSON.parse(row.layout) as Layout
  const share = (total: number) => layout === null ? total : shareOf(total, part, layout.n)
  return {
    id,
    part,
    layout,
    isToSplit: row.layout !== row.wanted,
    alone: row.alone,
    version: row.version,
    tableId: row.table_id,
    events: row.events,
    select: row.selects ? selectFunctionName(id) : null,
    since: row.since,
    gaps: row.gap_count,
    url: row.url,
    ...secrets,
    active: row.active,
    ordering: row.ordering,
    primaryKey: row.primary_key,
    rateLimit: row.rate_limit === null ? null : share(row.rate_limit),
    concurrency: share(row.concurrency),
    timeoutMs: row.timeout_ms,
    maxAttempts: row.max_attempts,
    enabledAt: row.enabled_at,
    skips: row.skips,
    state: toState(row)
  }
}
