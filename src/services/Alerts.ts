import { PgClient } from "@effect/sql-pg"
import { Clock, Context, Effect, Layer, Metric, Random, Schedule } from "effect"
import type { SqlError } from "effect/sql"
import { alertBody, type AlertKind, type AlertSubject, type DisablingReason } from "../domain/Alert.ts"
import { type Answer, isSuccess, Outcome } from "../domain/Attempt.ts"
import { retryAfterOf, retryDelayMs } from "../domain/Retry.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import { plain, texts } from "./PgArray.ts"
import { secretColumns, type SecretRow, Secrets } from "./Secrets.ts"
import { attempt, Sender } from "./Sender.ts"

export interface AlertsOptions {
  /** Where alerts go; without it they are only written down. */
  readonly url?: string | undefined
  /** How long a circuit is open before that is an alert. */
  readonly circuitAlertAfterMs?: number | undefined
}

const defaultCircuitAlertAfterMs = 5 * 60_000
const lookEvery = "3 seconds"
const timeoutMs = 15_000
const maxAttempts = 8

/** Alerts that are sent at the same time at most. */
const batch = 20

const alertAttempts = Metric.counter("truss_alert_attempts_total", {
  description: "Attempts to send an alert to TRUSS_ALERT_URL, by outcome",
  incremental: true
})

const counted = (outcome: Outcome, count = 1) => Metric.update(Metric.withAttributes(alertAttempts, { outcome }), count)

interface NewAlert {
  readonly webhookId: WebhookId
  /** With the webhook and the kind, what makes an alert come only once: ISO 8601. */
  readonly since: string
  readonly body: string
}

/** What the subject of an alert is read from: `w` is `truss.webhooks`, `t` its table, `c` its cursor. */
export const subjectColumns = `w.id::text, w.name, t.table_schema, t.table_name, w.url, c.fail_count`

/** A row with `subjectColumns`. */
export interface SubjectRow {
  readonly id: WebhookId
  readonly name: string
  readonly table_schema: string
  readonly table_name: string
  readonly url: string
  readonly fail_count: number
}

const toSubject = (row: SubjectRow): AlertSubject => ({
  id: row.id,
  name: row.name,
  tableSchema: row.table_schema,
  tableName: row.table_name,
  url: row.url,
  failCount: row.fail_count
})

interface DueAlert extends SecretRow {
  readonly id: string
  readonly webhook_id: WebhookId
  readonly body: string
  readonly attempt: number
}

/** What operators are told by POST: an outbox, written with what it tells of, sent by the process that delivers. */
export class Alerts extends Context.Service<Alerts, {
  /** Writes down that the service has disabled a webhook, in the caller's transaction. Times in ms since 1970. */
  addDisabled(
    webhook: SubjectRow,
    reason: DisablingReason,
    failingSince: number | null
  ): Effect.Effect<void, SqlError.SqlError>
  /** Writes down which circuits have been open for too long, once for each opening. */
  readonly noticeCircuits: Effect.Effect<void, SqlError.SqlError>
  /** Makes an attempt at each alert that is due. */
  readonly sendDue: Effect.Effect<void, SqlError.SqlError>
  /** Both of these, again and again. */
  readonly run: Effect.Effect<never>
}>()("truss/services/Alerts") {
  static readonly layer = (options: AlertsOptions = {}) =>
    Layer.effect(
      Alerts,
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const sender = yield* Sender
        const secrets = yield* Secrets
        yield* Effect.forEach(Outcome.literals, (outcome) => counted(outcome, 0))
        const { circuitAlertAfterMs = defaultCircuitAlertAfterMs, url } = options

        // What was told a month ago makes room when there is something new to tell of the webhook.
        const insert = (kind: AlertKind, alerts: ReadonlyArray<NewAlert>) =>
          sql.unsafe(
            `WITH old AS (
              DELETE FROM truss.alerts WHERE webhook_id = ANY ($3::text::uuid[]) AND at IS NULL
                AND created_at < clock_timestamp() - interval '30 days'
            )
            INSERT INTO truss.alerts (webhook_id, kind, since, body, at)
            SELECT r.webhook_id, $1, r.since, r.body, CASE WHEN $2::boolean THEN clock_timestamp() END
            FROM unnest($3::text::uuid[], $4::text::timestamptz[], $5::text::text[]) AS r (webhook_id, since, body)
            ON CONFLICT (webhook_id, kind, since) DO NOTHING`,
            [
              kind,
              url !== undefined,
              plain(alerts.map((alert) => alert.webhookId)),
              texts(alerts.map((alert) => alert.since)),
              texts(alerts.map((alert) => alert.body))
            ]
          )

        const addDisabled = Effect.fnUntraced(
          function*(webhook: SubjectRow, reason: DisablingReason, failingSince: number | null) {
            const now = yield* Clock.currentTimeMillis
            const body = alertBody(reason, toSubject(webhook), failingSince ?? now, now)
            yield* insert("disabled", [
              { webhookId: webhook.id, since: body.timestamp, body: JSON.stringify(body) }
            ])
          }
        )

        const openCircuits = sql.unsafe<SubjectRow & { opened_at: string; opened_at_ms: number }>(
          `SELECT ${subjectColumns}, c.opened_at::text, (extract(epoch FROM c.opened_at) * 1000)::float8 AS opened_at_ms
          FROM truss.cursors c JOIN truss.webhooks w ON w.id = c.webhook_id JOIN truss.tables t ON t.id = w.table_id
          WHERE w.active AND c.opened_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
            AND NOT EXISTS (SELECT FROM truss.alerts a
              WHERE a.webhook_id = c.webhook_id AND a.kind = 'circuit_open' AND a.since = c.opened_at)`,
          [circuitAlertAfterMs]
        )

        const noticeCircuits = Effect.gen(function*() {
          const open = yield* openCircuits
          if (open.length === 0) return
          const now = yield* Clock.currentTimeMillis
          yield* insert(
            "circuit_open",
            open.map((row) => ({
              webhookId: row.id,
              since: row.opened_at,
              body: JSON.stringify(alertBody("circuit_open", toSubject(row), row.opened_at_ms, now))
            }))
          )
        })

        const due = sql.unsafe<DueAlert>(
          `SELECT a.id::text, a.webhook_id::text, a.body, a.attempt, ${secretColumns}
          FROM truss.alerts a JOIN truss.webhooks w ON w.id = a.webhook_id
          WHERE a.at <= clock_timestamp() ORDER BY a.at LIMIT ${batch}`
        )

        const post = Effect.fnUntraced(function*(to: string, alert: DueAlert) {
          const signing = yield* secrets.open(alert.webhook_id, alert)
          return yield* attempt(sender.messages({ url: to, ...signing, timeoutMs }), {
            id: `alt_${alert.id}`,
            body: alert.body,
            headers: ["X-Truss-Event", "ALERT"]
          })
        })

        const settle = Effect.fnUntraced(function*(alert: DueAlert, answer: Answer) {
          if (isSuccess(answer)) return yield* Effect.as(counted("success"), null)
          const problem = { alert: alert.id, attempt: alert.attempt, status: answer.statusCode, error: answer.error }
          yield* counted(alert.attempt >= maxAttempts ? "failed" : "retrying")
          if (alert.attempt >= maxAttempts) return yield* Effect.as(Effect.logError("gave an alert up", problem), null)
          yield* Effect.logWarning("an alert was not accepted and is sent again", problem)
          const now = yield* Clock.currentTimeMillis
          return now + retryDelayMs(alert.attempt, yield* Random.next, retryAfterOf(answer, now))
        })

        const write = (alert: DueAlert, nextAt: number | null) =>
          sql`UPDATE truss.alerts SET attempt = ${nextAt === null ? alert.attempt : alert.attempt + 1},
            at = ${nextAt === null ? null : new Date(nextAt)} WHERE id = ${alert.id}::text::int8`

        const sendDue = Effect.gen(function*() {
          if (url === undefined) return
          yield* Effect.forEach(
            yield* due,
            // Each is written when it has its answer: one that hangs must not make others come twice.
            (alert) =>
              Effect.flatMap(
                post(url, alert),
                (answer) =>
                  Effect.uninterruptible(Effect.flatMap(settle(alert, answer), (nextAt) => write(alert, nextAt)))
              ),
            { concurrency: "unbounded", discard: true }
          )
        })

        const patiently = (what: string, effect: Effect.Effect<void, SqlError.SqlError>) =>
          Effect.catchCause(effect, (cause) => Effect.logWarning(`cannot ${what} yet`, cause))

        const run = Effect.andThen(
          patiently("look for open circuits", noticeCircuits),
          patiently("send alerts", sendDue)
        ).pipe(Effect.repeat(Schedule.spaced(lookEvery)), Effect.andThen(Effect.never))

        return Alerts.of({ addDisabled, noticeCircuits, sendDue, run })
      })
    )
}
