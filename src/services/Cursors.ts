import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import type { SqlError } from "effect/sql"
import type { DeliveryState } from "../domain/DeliveryState.ts"
import { severalParts } from "../domain/Layout.ts"
import { everyRow } from "../domain/RowKey.ts"
import type { StoredPosition } from "../domain/Snapshot.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import {
  type ActorWebhook,
  settingsColumns,
  type SettingsRow,
  stateColumns,
  type StateRow,
  toActorWebhook,
  toState,
  wantedLayout
} from "./ActorWebhook.ts"
import { attemptParameters, type AttemptRecord, counted, countedParameters, insertAttempts } from "./AttemptRecord.ts"
import { isMissingTable } from "./Database.ts"
import { dueChanges, dueParameters, type ParkedEvent } from "./DueRow.ts"
import {
  eventColumns,
  type EventRow,
  pageQuery,
  type PageRow,
  reachOf,
  type StoredEvent,
  toStored
} from "./EventPageQuery.ts"
import { plain, texts } from "./PgArray.ts"
import { Secrets } from "./Secrets.ts"
import { readableSlots } from "./Slots.ts"

/**
 * Where a webhook stands. Everything visible in `seen` was dealt with. While `target` is set, a backlog is read in
 * pages: what `target` sees and `seen` does not, of which everything up to `afterSeq` was dealt with. `gaps` are the
 * snapshots between which the webhook was paused, as pairs of pause and resume (the last pair is open while it is).
 */
export interface Position extends StoredPosition {
  /** In memory only: `target` was taken, or `seen` reached, after the lease; the log cannot know later events. */
  readonly ownTarget?: boolean
  readonly live?: boolean
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

/**
 * By what right a process takes webhooks over: it is the one that delivers, and `pid` is the session that says so; or it
 * is the runner of a cluster that holds the webhook's shard.
 */
export type Right = { readonly pid: number } | { readonly runner: string; readonly shard: string }

/** What an actor writes together. */
export interface Batch {
  readonly records: ReadonlyArray<AttemptRecord>
  readonly parked: ReadonlyArray<ParkedEvent>
}

export interface DueEvent extends StoredEvent {
  /** The number of the attempt that is due. */
  readonly attempt: number
  /** The nonce of the attempt that a bulk replay repeats. */
  readonly replayOf: number | null
}

const noRight = [null, null, null] as const

interface AcquiredRow extends SettingsRow {
  readonly epoch: number
  readonly seen: string
  readonly target: string | null
  readonly after_seq: number
  readonly gaps: ReadonlyArray<string>
  readonly boundary: number
  readonly incarnation: string
}

const settingsQuery = (part: number) =>
  `SELECT ${
    settingsColumns(part === 0 ? "c" : "p")
  } FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id ${
    part === 0 ? "" : "LEFT JOIN truss.cursor_parts p ON p.webhook_id = w.id AND p.part = $2"
  } WHERE w.id = $1::uuid`

// A part that has ended stays so until it is to go on: many of them must be seen to have ended at one moment.
// The shard is locked until this is committed: who frees it for another runner waits.
const acquireQuery = (part: number) => {
  const own = part === 0 ? "c" : "p"
  const taken = part === 0
    ? "truss.cursors c SET epoch = c.epoch + 1"
    : "truss.cursor_parts p SET epoch = nextval('truss.epoch_seq')"
  const among = part === 0
    ? "truss.webhooks w WHERE w.id = c.webhook_id"
    : "truss.webhooks w, truss.cursors c WHERE c.webhook_id = w.id AND w.id = p.webhook_id AND p.part = $5"
  return `WITH held AS MATERIALIZED (
      SELECT 1 FROM truss.cluster_shards WHERE shard = $4::text AND runner = $3::uuid FOR SHARE
    )
    UPDATE ${taken}, commits = 0, runner = $3::uuid,
      taken_at = CASE WHEN ${own}.runner <> $3 THEN clock_timestamp() ELSE ${own}.taken_at END,
      taken_from = CASE WHEN ${own}.runner <> $3 THEN ${own}.runner ELSE ${own}.taken_from END,
      ended = ${own}.ended AND c.layout IS DISTINCT FROM (${wantedLayout}),
      seen = coalesce(${own}.restart, ${own}.seen), restart = NULL,
      target = CASE WHEN ${own}.restart IS NULL THEN ${own}.target END,
      after_seq = CASE WHEN ${own}.restart IS NULL THEN ${own}.after_seq ELSE 0 END
    FROM ${among} AND w.id = $1::uuid
      AND ($2::int4 IS NULL OR EXISTS (SELECT FROM truss.leader WHERE pid = $2))
      AND ($3::uuid IS NULL OR EXISTS (SELECT FROM held))
    RETURNING ${own}.epoch::float8 AS epoch, ${own}.seen::text AS seen, ${own}.target::text AS target,
      ${own}.after_seq::float8 AS after_seq, ${own}.gaps::text[] AS gaps,
      coalesce(pg_sequence_last_value('truss.event_seq'::regclass), 0)::float8 AS boundary,
      (SELECT token::text FROM truss.incarnation) AS incarnation, ${settingsColumns(own)}`
}

/** The state of the webhooks' actors: what they read, and what they write when they have delivered. */
export class Cursors extends Context.Service<Cursors, {
  /**
   * Takes over a webhook, or a part of it: raises the epoch. `undefined` when there is no such webhook, `no_part` when it
   * has no such part; `not_ours` when the right to it is another process's by now.
   */
  acquire(
    id: WebhookId,
    right?: Right | null,
    part?: number
  ): Effect.Effect<Lease | "not_ours" | "no_part" | undefined, SqlError.SqlError>
  /** Writes down whether this process, which has taken the webhook over, lacks the function that it delivers to. */
  noteSubscriber(lease: Lease, isMissing: boolean): Effect.Effect<void, SqlError.SqlError>
  /** The webhook as it is set now, for whoever has it, or a part of it, already. */
  settings(id: WebhookId, part?: number): Effect.Effect<ActorWebhook | undefined, SqlError.SqlError>
  /**
   * The next page of new events after a position; none when the webhook's settings changed since they were read, the
   * server has crashed since the lease, or an event on it is about rows of `several` parts.
   */
  page(
    lease: Lease,
    position: Position
  ): Effect.Effect<EventPage | "changed" | "crashed" | "several", SqlError.SqlError>
  /** Events whose retry is due by now, beside those that are in flight. */
  due(
    lease: Lease,
    limit: number,
    inFlight: ReadonlyArray<number>
  ): Effect.Effect<{ events: ReadonlyArray<DueEvent>; nextAt: number | null }, SqlError.SqlError>
  /**
   * Writes attempts, what is due of them, what waits behind them, and the position, at once. Returns what the whole log
   * says now; undefined when another epoch has taken over, or the commit was made before. `number` counts the commits of
   * a lease from 0: one that ended without an answer, and may yet come through, can be repeated.
   */
  commit(
    lease: Lease,
    number: number,
    batch: Batch,
    position: Position,
    gapsPassed: number
  ): Effect.Effect<DeliveryState | undefined, SqlError.SqlError>
  /** Whether a commit of this lease was made: what to ask when it says that it changed nothing. */
  wasMade(lease: Lease, number: number): Effect.Effect<boolean, SqlError.SqlError>
  /**
   * Appends attempts that no actor made; they count for `fail_count` and change nothing else. Says whether the circuit
   * was open; undefined when there is no such webhook.
   */
  append(
    id: WebhookId,
    records: ReadonlyArray<AttemptRecord>
  ): Effect.Effect<{ readonly wasOpen: boolean } | undefined, SqlError.SqlError>
}>()("truss/services/Cursors") {
  static readonly layer = Layer.effect(
    Cursors,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const secrets = yield* Secrets
      let slots: ReadonlyArray<number> = []

      const readSlots = Effect.map(readableSlots(sql, null), (read) => {
        slots = read
      })

      const opened = (id: WebhookId, part: number, row: SettingsRow) =>
        Effect.map(secrets.open(id, row), (open) => toActorWebhook(id, part, row, open))

      const settings = Effect.fn("Cursors.settings")(function*(id: WebhookId, part = 0) {
        const [row] = yield* sql.unsafe<SettingsRow>(settingsQuery(part), part === 0 ? [id] : [id, part])
        return row === undefined ? undefined : yield* opened(id, part, row)
      })

      const acquire = Effect.fn("Cursors.acquire")(function*(id: WebhookId, right: Right | null = null, part = 0) {
        const [pid, runner, shard] = right === null
          ? noRight
          : "pid" in right
          ? [right.pid, null, null]
          : [null, right.runner, right.shard]
        yield* sql`INSERT INTO truss.incarnation DEFAULT VALUES ON CONFLICT DO NOTHING`
        const parameters = [id, pid, runner, shard]
        const [row] = yield* sql.unsafe<AcquiredRow>(
          acquireQuery(part),
          part === 0 ? parameters : [...parameters, part]
        )
        if (row === undefined) {
          if ((yield* settings(id)) === undefined) return undefined
          const known = part === 0 || (yield* sql`SELECT FROM truss.cursor_parts
            WHERE webhook_id = ${id}::text::uuid AND part = ${part}`).length > 0
          return known ? "not_ours" : "no_part"
        }
        return {
          epoch: row.epoch,
          boundary: row.boundary,
          incarnation: row.incarnation,
          position: { seen: row.seen, target: row.target, afterSeq: row.after_seq, gaps: row.gaps },
          webhook: yield* opened(id, part, row)
        }
      })

      const noteSubscriber = Effect.fnUntraced(function*({ epoch, webhook: { id } }: Lease, isMissing: boolean) {
        yield* sql`UPDATE truss.webhooks SET subscriber_missing = ${isMissing}
          WHERE id = ${id}::text::uuid AND subscriber_missing <> ${isMissing}
            AND EXISTS (SELECT FROM truss.cursors WHERE webhook_id = ${id}::text::uuid AND epoch = ${epoch})`
      })

      const page = Effect.fnUntraced(function*(lease: Lease, position: Position) {
        const { events, id, layout, part, select, tableId } = lease.webhook
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
          lease.webhook.since,
          ...(layout === null ? [] : [texts(layout.key), layout.n, layout.ordered, part])
        ]
        const since = lease.webhook.since !== "[]"
        while (true) {
          const wanted = slots.length > 2 ? yield* readableSlots(sql, position.seen) : slots
          const rows = wanted.length === 0
            ? []
            : yield* sql.unsafe<PageRow>(
              pageQuery(wanted, { paged, check, since, select, split: layout !== null }),
              parameters
            ).pipe(
              Effect.catchIf(isMissingTable, () => Effect.succeed<ReadonlyArray<PageRow>>([]))
            )
          if (rows.length === 0 || rows[0]!.newest !== wanted.at(-1)) {
            // A slot was dropped, or opened since: events that the snapshot sees may stand there.
            if (wanted.length > 0) yield* Effect.sleep(5)
            yield* readSlots
            continue
          }
          if (rows[0]!.incarnation !== lease.incarnation) return "crashed"
          // Read by old settings, the position would move past events that are asked for by now.
          if (rows[0]!.version !== lease.webhook.version) return "changed"
          if (rows.some((row) => row.part === severalParts)) return "several"
          const stored = rows[0]!.slot === null ? [] : rows.map((row) => toStored(row, tableId))
          const { lastSeq, more } = reachOf(rows)
          const end = bound ?? rows[0]!.now
          const ownTarget = paged ? position.ownTarget === true : bound === null
          if (more && lastSeq !== null) {
            return { events: stored, more, next: { ...position, target: end, afterSeq: lastSeq, ownTarget } }
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

      // What concerns every row waits for all before it, and all after it wait for it; other rows are parked meanwhile.
      const eligible = (ordered: boolean) =>
        ordered
          ? `AND NOT EXISTS (SELECT FROM truss.due p
              WHERE p.webhook_id = $1::uuid AND p.key = ${everyRow} AND p.event_seq < d.event_seq)
            AND (d.key <> ${everyRow} OR NOT EXISTS (SELECT FROM truss.due p
              WHERE p.webhook_id = $1::uuid AND p.event_seq < d.event_seq))`
          : ""

      const dueQuery = (ordered: boolean) => `
        SELECT d.attempt, d.table_id, d.replay_of::float8 AS replay_of, ${eventColumns} FROM (
          SELECT * FROM truss.due d WHERE d.webhook_id = $1::uuid AND d.part = $4 AND d.at <= clock_timestamp()
            AND d.event_seq <> ALL ($3::text::int8[]) ${eligible(ordered)}
          ORDER BY ${ordered ? "d.event_seq" : "d.at"} LIMIT $2
        ) d JOIN truss.events e ON e.slot = d.event_slot AND e.table_id = d.table_id AND e.seq = d.event_seq
        ORDER BY ${ordered ? "d.event_seq" : "d.at"}`

      const nextDueQuery = (ordered: boolean) => `
        SELECT (extract(epoch FROM min(d.at)) * 1000)::float8 AS at FROM truss.due d
        WHERE d.webhook_id = $1::uuid AND d.part = $3 AND d.at < 'infinity' AND d.event_seq <> ALL ($2::text::int8[])
          ${eligible(ordered)}`

      const due = Effect.fnUntraced(function*(lease: Lease, limit: number, inFlight: ReadonlyArray<number>) {
        const ordered = lease.webhook.ordering !== "none"
        const rows = yield* sql.unsafe<EventRow & { attempt: number; table_id: number; replay_of: number | null }>(
          dueQuery(ordered),
          [lease.webhook.id, limit, plain(inFlight), lease.webhook.part]
        )
        const [next] = yield* sql.unsafe<{ at: number | null }>(nextDueQuery(ordered), [
          lease.webhook.id,
          plain([...inFlight, ...rows.map((row) => row.seq)]),
          lease.webhook.part
        ])
        return {
          events: rows.map((row) => ({
            ...toStored(row, row.table_id),
            attempt: row.attempt,
            replayOf: row.replay_of
          })),
          nextAt: next?.at ?? null
        }
      })

      const standing = `commits = commits + 1,
        seen = CASE WHEN i.same THEN $26::pg_snapshot ELSE seen END,
        target = CASE WHEN i.same THEN $27::pg_snapshot ELSE target END,
        after_seq = CASE WHEN i.same THEN $28::int8 ELSE after_seq END,
        gaps = CASE WHEN i.same THEN gaps[$29::int4:] ELSE gaps END`
      const isNext = "epoch = $25::int8 AND commits = $31::int8"
      const counts = "webhook_id, fail_count, failing_since, last_failed_at, opened_at"

      // The row of the cursor is locked before a number is drawn for the log, so the log of one webhook is numbered in
      // the order in which it becomes visible, whichever of its parts writes.
      const commitQuery = (ordered: boolean, part: number) => `
        WITH i AS MATERIALIZED (
          SELECT EXISTS (SELECT FROM truss.incarnation WHERE token = $30::uuid) AS same
        ), ${
        part === 0
          ? `c AS (
          UPDATE truss.cursors SET ${counted}, ${standing}
          FROM i WHERE webhook_id = $1::uuid AND ${isNext} RETURNING ${counts}
        )`
          : `l AS MATERIALIZED (
          SELECT webhook_id AS id FROM truss.cursors WHERE webhook_id = $1::uuid FOR UPDATE
        ), p AS (
          UPDATE truss.cursor_parts SET ${standing}
          FROM i, l WHERE webhook_id = l.id AND part = ${part} AND ${isNext} RETURNING webhook_id AS id
        ), c AS (
          UPDATE truss.cursors SET ${counted} FROM p WHERE webhook_id = p.id RETURNING ${counts}
        )`
      }, logged AS (${insertAttempts}
        ), ${dueChanges(ordered, part)}
        SELECT ${stateColumns} FROM c`

      const appendQuery = `
        WITH c AS (
          UPDATE truss.cursors SET ${counted} WHERE webhook_id = $1::uuid RETURNING webhook_id
        ), logged AS (${insertAttempts}
        )
        SELECT (SELECT opened_at IS NOT NULL FROM truss.cursors WHERE webhook_id = $1::uuid) AS was_open FROM c`

      const commit = Effect.fnUntraced(function*(
        lease: Lease,
        number: number,
        { parked, records }: Batch,
        position: Position,
        gapsPassed: number
      ) {
        const ordered = lease.webhook.ordering !== "none"
        const rows = yield* sql.unsafe<StateRow>(commitQuery(ordered, lease.webhook.part), [
          lease.webhook.id,
          ...attemptParameters(records),
          ...countedParameters(records),
          String(lease.epoch),
          position.seen,
          position.target,
          String(position.afterSeq),
          2 * gapsPassed + 1,
          lease.incarnation,
          number,
          ...dueParameters(records, parked, ordered)
        ])
        return rows[0] === undefined ? undefined : toState(rows[0])
      })

      const wasMade = Effect.fnUntraced(function*(lease: Lease, number: number) {
        const { id, part } = lease.webhook
        const rows = yield* part === 0
          ? sql`SELECT FROM truss.cursors
            WHERE webhook_id = ${id}::text::uuid AND epoch = ${lease.epoch} AND commits = ${number + 1}`
          : sql`SELECT FROM truss.cursor_parts
            WHERE webhook_id = ${id}::text::uuid AND part = ${part} AND epoch = ${lease.epoch}
              AND commits = ${number + 1}`
        return rows.length > 0
      })

      const append = Effect.fnUntraced(function*(
        id: WebhookId,
        records: ReadonlyArray<AttemptRecord>
      ) {
        const rows = yield* sql.unsafe<{ was_open: boolean }>(appendQuery, [
          id,
          ...attemptParameters(records),
          ...countedParameters(records)
        ])
        return rows[0] === undefined ? undefined : { wasOpen: rows[0].was_open }
      })

      return Cursors.of({ acquire, noteSubscriber, settings, page, due, commit, wasMade, append })
    })
  )
}
