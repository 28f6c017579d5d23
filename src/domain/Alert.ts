import type { DisabledReason, WebhookId } from "./Webhook.ts"

/** Why the service itself disables a webhook: its endpoint answered 410, or failed every attempt for too long. */
export type DisablingReason = Extract<DisabledReason, "gone" | "failing">

/** What operators are told: a webhook was disabled by the service, or its circuit stays open. */
export type AlertKind = "disabled" | "circuit_open"

/** The webhook that an alert is about. */
export interface AlertSubject {
  readonly id: WebhookId
  readonly name: string
  readonly tableSchema: string
  readonly tableName: string
  readonly url: string
  readonly failCount: number
}

/** The body of an alert's POST. Times are ISO 8601 in UTC. */
export interface AlertBody {
  readonly type: `webhook.${AlertKind}`
  readonly webhook: {
    readonly id: WebhookId
    readonly name: string
    readonly table_schema: string
    readonly table_name: string
    /** Without its query string, which may hold a token. */
    readonly url: string
  }
  readonly reason: DisablingReason | "circuit_open"
  readonly fail_count: number
  /** Since when the webhook fails, or its circuit is open. */
  readonly since: string
  readonly timestamp: string
}

/** Times are milliseconds since 1970. */
export const alertBody = (
  reason: AlertBody["reason"],
  subject: AlertSubject,
  since: number,
  now: number
): AlertBody => ({
  type: reason === "circuit_open" ? "webhook.circuit_open" : "webhook.disabled",
  webhook: {
    id: subject.id,
    name: subject.name,
    table_schema: subject.tableSchema,
    table_name: subject.tableName,
    url: subject.url.replace(/\?.*$/s, "")
  },
  reason,
  fail_count: subject.failCount,
  since: new Date(since).toISOString(),
  timestamp: new Date(now).toISOString()
})
