import type { DeliveryState } from "../domain/DeliveryState.ts"
import type { ChangeType } from "../domain/EventType.ts"
import type { Ordering, WebhookId } from "../domain/Webhook.ts"
import { type OpenSecrets, secretColumns, type SecretRow } from "./Secrets.ts"
import { selectFunctionName, selects } from "./Selection.ts"
import { primaryKeyOf } from "./WatchedTable.ts"

/** What an actor needs to know of its webhook. */
export interface ActorWebhook extends OpenSecrets {
  readonly id: WebhookId
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
  readonly rateLimit: number | null
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

/** Of a webhook `w` and its cursor `c`. */
export const settingsColumns = `w.updated_at::text AS version, w.table_id, ${selects} AS selects,
  w.events::text[] AS events, w.url, w.headers::text AS headers, ${secretColumns}, w.active,
  w.ordering, w.rate_limit, w.concurrency, w.timeout_ms, w.max_attempts,
  (extract(epoch FROM w.enabled_at) * 1000)::float8 AS enabled_at, c.skips, ${stateColumns},
  CASE WHEN w.ordering <> 'row' THEN '{}' ELSE coalesce((
    SELECT ${primaryKeyOf("r.oid")} FROM truss.tables t JOIN pg_namespace n ON n.nspname = t.table_schema
      JOIN pg_class r ON r.relnamespace = n.oid AND r.relname = t.table_name
    WHERE t.id = w.table_id), '{}') END AS primary_key,
  c.since::text AS since, cardinality(c.gaps) AS gap_count`

export const toActorWebhook = (id: WebhookId, row: SettingsRow, secrets: OpenSecrets): ActorWebhook => ({
  id,
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
  rateLimit: row.rate_limit,
  concurrency: row.concurrency,
  timeoutMs: row.timeout_ms,
  maxAttempts: row.max_attempts,
  enabledAt: row.enabled_at,
  skips: row.skips,
  state: toState(row)
})
