import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import type { SqlError } from "effect/sql"
import type { ChangeType } from "../domain/EventType.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import type { WebhookHeaders } from "../domain/WebhookHeaders.ts"
import { attemptParameters, type AttemptRecord, counted, countedParameters, insertAttempts } from "./AttemptRecord.ts"
import { isMissingTable } from "./Database.ts"
import { eventColumns, type EventRow, pageQuery, type PageRow, type StoredEvent, toStored } from "./EventPageQuery.ts"
import { plain } from "./PgArray.ts"

/**
 * Where a webhook stands. Everything visible in `seen` was dealt with. While `target` is set, a backlog is read in
 * pages: what `target` sees and `seen` does not, of which everything up to `afterSeq` was dealt with. `gaps` are the
 * snapshots between which the webhook was paused, as pairs of pause and resume (the last pair is open while it is).
 */
export interface Position {
  readonly seen: string
  readonly target: string | null
  readonly afterSeq: number
  readonly gaps: ReadonlyArray<string>
  /** In memory only: `target` was taken, or `seen` reached, after the lease; the log cannot know later events. */
  readonly ownTarget?: boolean
  readonly live?: boolean
}

/** What an actor needs to know of its webhook. */
export interface ActorWebhook {
  readonly id: WebhookId
  readonly tableId: number
  readonly events: ReadonlyArray<ChangeType>
  /** JSON: since which snapshots event types that were added later are asked for. */
  readonly since: string
  /** How many snapshots of pauses and resumes the stored position has ahead of it. */
  readonly gaps: number
  readonly url: string
  readonly headers: WebhookHeaders
  readonly secret: string | null
  readonly active: boolean
  readonly concurrency: number
  readonly timeoutMs: number
  readonly maxAttempts: number
}

/** The right to deliver for a webhook: an older epoch writes nothing any more. */
export interface Lease {
  readonly webhook: ActorWebhook
  readonly epoch: number
  readonly position: Position
  /** No event beyond this `seq` can be in the log already. */
  readonly boundary: number
  /** The life of the server that the position in memory belongs to: a crash begins another. */
  readonly incarnation: string
}

export interface EventPage {
  readonly events: ReadonlyArray<StoredEvent>
  /** Where the webhook stands when all of the page is dealt with. */
  readonly next: Position
  /** Whether more is there already. */
  readonly more: boolean
}

export interface DueEvent extends StoredEvent {
  /** The number of the attempt that is due, 2…. */
  readonly attempt: number
}

interface SettingsRow {
  readonly table_id: number
  readonly since: string
  readonly gap_count: number
  readonly events: ReadonlyArray<ChangeType>
  readonly url: string
  readonly headers: string
  readonly secret: string | null
  readonly active: boolean
  readonly concurrency: number
  readonly timeout_ms: number
  readonly max_attempts: number
}

const settingsColumns = `w.table_id, w.events::text[] AS events, w.url, w.headers::text AS headers, w.secret, w.active,
  w.concurrency, w.timeout_ms, w.max_attempts, c.since::text AS since, cardinality(c.gaps) AS gap_count`

const toActorWebhook = (id: WebhookId, row: SettingsRow): ActorWebhook => ({
  id,
  tableId: row.table_id,
  events: row.events,
  since: row.since,
  gaps: row.gap_count,
  url: row.url,
  headers: JSON.parse(row.headers) as WebhookHeaders,
  secret: row.secret,
  active: row.active,
  concurrency: row.concurrency,
  timeoutMs: row.timeout_ms,
  maxAttempts: row.max_attempts
})

/** The state of the webhooks' actors: what they read, and what they write when they have delivered. */
export class Cursors extends Context.Service<Cursors, {
  /** Takes over a webhook: raises its epoch. `undefined` when there is no such webhook. */
  acquire(id: WebhookId): Effect.Effect<Lease | undefined, SqlError.SqlError>
  /** The webhook as it is set now, for whoever has it already. */
  settings(id: WebhookId): Effect.Effect<ActorWebhook | undefined, SqlError.SqlError>
  /** The next page of new events after a position; `undefined` when the server has crashed since the lease. */
  page(lease: Lease, position: Position): Effect.Effect<EventPage | undefined, SqlError.SqlError>
  /** Events whose retry is due by now, beside those that are in flight. */
  due(
    lease: Lease,
    limit: number,
    inFlight: ReadonlyArray<number>
  ): Effect.Effect<{ events: ReadonlyArray<DueEvent>; nextAt: number | null }, SqlError.SqlError>
  /** Writes attempts, what is due of them, and the position, at once. False when another epoch has taken over. */
  commit(
    lease: Lease,
    records: ReadonlyArray<AttemptRecord>,
    position: Position,
    gapsPassed: number
  ): Effect.Effect<boolean, SqlError.SqlError>
  /** Whether an attempt is in the log: what to ask when a commit ended without an answer. */
  wasWritten(lease: Lease, record: AttemptRecord): Effect.Effect<boolean, SqlError.SqlError>
  /** Appends attempts that no actor made; they count for `fail_count` and change nothing else. */
  append(id: WebhookId, records: ReadonlyArray<AttemptRecord>): Effect.Effect<
    boolean,
    SqlError.SqlError
  >
}>()("truss/services/Cursors") {
  static readonly layer = Layer.effect(
    Cursors,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      let slots: ReadonlyArray<number> = []

      const readSlots = Effect.map(
        sql<{ slot: number }>`SELECT slot FROM truss.slots ORDER BY slot`,
        (rows) => {
          slots = rows.map((row) => row.slot)
        }
      )

      // A slot that was closed before everything `seen` has no row that is new; asking costs more than reading two.
      const slotsFor = (seen: string) =>
        Effect.map(
          sql<{ slot: number }>`SELECT slot FROM truss.slots
            WHERE closed_xid IS NULL OR closed_xid > pg_snapshot_xmin(${seen}::pg_snapshot) ORDER BY slot`,
          (rows) => rows.map((row) => row.slot)
        )

      const acquire = Effect.fn("Cursors.acquire")(function*(id: WebhookId) {
        yield* sql`INSERT INTO truss.incarnation DEFAULT VALUES ON CONFLICT DO NOTHING`
        const [row] = yield* sql.unsafe<
          SettingsRow & {
            epoch: number
            seen: string
            target: string | null
            after_seq: number
            gaps: ReadonlyArray<string>
            boundary: number
            incarnation: string
          }
        >(
          `UPDATE truss.cursors c SET epoch = c.epoch + 1, seen = coalesce(c.restart, c.seen), restart = NULL,
            target = CASE WHEN c.restart IS NULL THEN c.target END,
            after_seq = CASE WHEN c.restart IS NULL THEN c.after_seq ELSE 0 END
          FROM truss.webhooks w WHERE w.id = c.webhook_id AND c.webhook_id = $1::uuid
          RETURNING c.epoch::float8 AS epoch, c.seen::text AS seen, c.target::text AS target,
            c.after_seq::float8 AS after_seq, c.gaps::text[] AS gaps,
            coalesce(pg_sequence_last_value('truss.event_seq'::regclass), 0)::float8 AS boundary,
            (SELECT token::text FROM truss.incarnation) AS incarnation, ${settingsColumns}`,
          [id]
        )
        if (row === undefined) return undefined
        return {
          epoch: row.epoch,
          boundary: row.boundary,
          incarnation: row.incarnation,
          position: { seen: row.seen, target: row.target, afterSeq: row.after_seq, gaps: row.gaps },
          webhook: toActorWebhook(id, row)
        }
      })

      const settings = Effect.fn("Cursors.settings")(function*(id: WebhookId) {
        const [row] = yield* sql.unsafe<SettingsRow>(
          `SELECT ${settingsColumns} FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id WHERE w.id = $1::uuid`,
          [id]
        )
        return row === undefined ? undefined : toActorWebhook(id, row)
      })

      const page = Effect.fnUntraced(function*(lease: Lease, position: Position) {
        const { id, tableId, events } = lease.webhook
        const bound = position.target ?? position.gaps[0] ?? null
        const paged = position.target !== null
        const check = paged ? position.afterSeq <= lease.boundary : position.live !== true
        const parameters = [
          tableId,
          plain(events),
          position.seen,
          id,
          bound,
          String(position.afterSeq),
          String(lease.boundary),
          lease.webhook.since
        ]
        const since = lease.webhook.since !== "[]"
        while (true) {
          const wanted = slots.length > 2 ? yield* slotsFor(position.seen) : slots
          const rows = wanted.length === 0
            ? []
            : yield* sql.unsafe<PageRow>(pageQuery(wanted, { paged, check, since }), parameters).pipe(
              Effect.catchIf(isMissingTable, () => Effect.succeed<ReadonlyArray<PageRow>>([]))
            )
          if (rows.length === 0 || rows[0]!.newest !== wanted.at(-1)) {
            // A slot was dropped, or opened since: events that the snapshot sees may stand there.
            yield* readSlots
            continue
          }
          if (rows[0]!.incarnation !== lease.incarnation) return undefined
          const stored = rows[0]!.slot === null ? [] : rows.map((row) => toStored(row, tableId))
          const more = stored.length > 0 && rows[0]!.total > stored.length
          const end = bound ?? rows[0]!.now
          const ownTarget = paged ? position.ownTarget === true : bound === null
          if (more) {
            const afterSeq = stored.at(-1)!.ref.seq
            return { events: stored, more: true, next: { ...position, target: end, afterSeq, ownTarget } }
          }
          const live = position.live === true || ownTarget
          const skips = end === position.gaps[0] && position.gaps.length > 1
          return {
            events: stored,
            more: bound !== null,
            next: {
              seen: skips ? position.gaps[1]! : end,
              gaps: skips ? position.gaps.slice(2) : position.gaps,
              target: null,
              afterSeq: 0,
              live
            }
          }
        }
      })

      const due = Effect.fnUntraced(function*(lease: Lease, limit: number, inFlight: ReadonlyArray<number>) {
        const rows = yield* sql.unsafe<EventRow & { attempt: number; table_id: number }>(
          `SELECT d.attempt, d.table_id, ${eventColumns} FROM (
            SELECT * FROM truss.due d WHERE d.webhook_id = $1::uuid AND d.at <= clock_timestamp()
              AND d.event_seq <> ALL ($3::text::int8[])
            ORDER BY d.at LIMIT $2
          ) d JOIN truss.events e ON e.slot = d.event_slot AND e.table_id = d.table_id AND e.seq = d.event_seq
          ORDER BY d.at`,
          [lease.webhook.id, limit, plain(inFlight)]
        )
        const [next] = yield* sql.unsafe<{ at: number | null }>(
          `SELECT (extract(epoch FROM min(at)) * 1000)::float8 AS at FROM truss.due
          WHERE webhook_id = $1::uuid AND event_seq <> ALL ($2::text::int8[])`,
          [lease.webhook.id, plain([...inFlight, ...rows.map((row) => row.seq)])]
        )
        return {
          events: rows.map((row) => ({ ...toStored(row, row.table_id), attempt: row.attempt })),
          nextAt: next?.at ?? null
        }
      })

      // The row of the cursor is locked before a number is drawn for the log, so the log of one webhook is numbered in
      // the order in which it becomes visible.
      const commitQuery = `
        WITH i AS MATERIALIZED (
          SELECT EXISTS (SELECT FROM truss.incarnation WHERE token = $31::uuid) AS same
        ), c AS (
          UPDATE truss.cursors SET ${counted},
            seen = CASE WHEN i.same THEN $25::pg_snapshot ELSE seen END,
            target = CASE WHEN i.same THEN $26::pg_snapshot ELSE target END,
            after_seq = CASE WHEN i.same THEN $27::int8 ELSE after_seq END,
            gaps = CASE WHEN i.same THEN gaps[$28::int4:] ELSE gaps END
          FROM i WHERE webhook_id = $1::uuid AND epoch = $24::int8 RETURNING webhook_id
        ), logged AS (${insertAttempts}
        ), again AS (
          INSERT INTO truss.due (webhook_id, event_seq, event_slot, table_id, attempt, at)
          SELECT c.webhook_id, r.event_seq, r.event_slot, r.table_id,
            r.attempt + CASE WHEN r.error = 'aborted' THEN 0 ELSE 1 END, r.at
          FROM c, unnest($2::text::int8[], $4::text::int2[], $5::text::int4[], $8::text::int2[],
            $13::text::text[], $15::text::timestamptz[]) AS r (event_seq, event_slot, table_id, attempt, error, at)
          WHERE r.at IS NOT NULL
          ON CONFLICT (webhook_id, event_seq, event_slot) DO UPDATE SET attempt = excluded.attempt, at = excluded.at
        ), over AS (
          DELETE FROM truss.due d USING c, unnest($29::text::int8[], $30::text::int2[]) AS r (event_seq, event_slot)
          WHERE d.webhook_id = c.webhook_id AND d.event_seq = r.event_seq AND d.event_slot = r.event_slot
        )
        SELECT webhook_id FROM c`

      const appendQuery = `
        WITH c AS (
          UPDATE truss.cursors SET ${counted} WHERE webhook_id = $1::uuid RETURNING webhook_id
        ), logged AS (${insertAttempts}
        )
        SELECT webhook_id FROM c`

      const commit = Effect.fnUntraced(function*(
        lease: Lease,
        records: ReadonlyArray<AttemptRecord>,
        position: Position,
        gapsPassed: number
      ) {
        const over = records.filter((record) => record.wasDue && record.nextAttemptAt === null)
        const rows = yield* sql.unsafe(commitQuery, [
          lease.webhook.id,
          ...attemptParameters(records),
          ...countedParameters(records),
          String(lease.epoch),
          position.seen,
          position.target,
          String(position.afterSeq),
          2 * gapsPassed + 1,
          plain(over.map((record) => record.ref.seq)),
          plain(over.map((record) => record.ref.slot)),
          lease.incarnation
        ])
        return rows.length > 0
      })

      const wasWritten = Effect.fnUntraced(function*(lease: Lease, record: AttemptRecord) {
        const rows = yield* sql.unsafe(
          `SELECT FROM truss.attempts WHERE webhook_id = $1::uuid AND event_seq = $2::int8 AND nonce = $3::int8`,
          [lease.webhook.id, String(record.ref.seq), String(record.nonce)]
        )
        return rows.length > 0
      })

      const append = Effect.fnUntraced(function*(
        id: WebhookId,
        records: ReadonlyArray<AttemptRecord>
      ) {
        const rows = yield* sql.unsafe(appendQuery, [
          id,
          ...attemptParameters(records),
          ...countedParameters(records)
        ])
        return rows.length > 0
      })

      return Cursors.of({ acquire, settings, page, due, commit, wasWritten, append })
    })
  )
}
