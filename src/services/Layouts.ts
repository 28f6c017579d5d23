import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, PubSub } from "effect"
import type { SqlError } from "effect/sql"
import { type Layout, severalParts } from "../domain/Layout.ts"
import { everyRow } from "../domain/RowKey.ts"
import { earliest, type StoredPosition } from "../domain/Snapshot.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import { partsToTell, wantedLayout } from "./ActorWebhook.ts"
import type { Lease } from "./Cursors.ts"
import { texts } from "./PgArray.ts"
import { announce, WebhookChanges } from "./WebhookChanges.ts"

interface PositionRow {
  readonly ended: boolean
  readonly seen: string
  readonly target: string | null
  readonly after_seq: number
  readonly gaps: ReadonlyArray<string>
}

const positionColumns = (own: string) =>
  `${own}.ended, coalesce(${own}.restart, ${own}.seen)::text AS seen,
  CASE WHEN ${own}.restart IS NULL THEN ${own}.target END::text AS target,
  CASE WHEN ${own}.restart IS NULL THEN ${own}.after_seq ELSE 0 END::float8 AS after_seq, ${own}.gaps::text[] AS gaps`

const toPosition = (row: PositionRow): StoredPosition => ({
  seen: row.seen,
  target: row.target,
  afterSeq: row.after_seq,
  gaps: row.gaps
})

/** The row is locked: nobody else splits the webhook, and no part writes. */
const wholeQuery = `SELECT c.layout::text AS layout, (${wantedLayout})::text AS wanted, ${positionColumns("c")}
  FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id WHERE w.id = $1::uuid FOR UPDATE OF c`

const partsQuery = `SELECT ${positionColumns("p")} FROM truss.cursor_parts p
  WHERE p.webhook_id = $1::uuid ORDER BY p.part FOR UPDATE`

// What is not stored any more is nobody's, and goes with the first part.
const assignDue = `UPDATE truss.due d SET part = coalesce((
    SELECT truss.part_of(e.event_type, e.body, $2::text::text[], $3::int4, $4::boolean) FROM truss.events e
    WHERE e.slot = d.event_slot AND e.table_id = d.table_id AND e.seq = d.event_seq), 0)
  WHERE d.webhook_id = $1::uuid`

const writeWhole = `UPDATE truss.cursors SET epoch = epoch + 1, ended = false, layout = $2::text::jsonb, restart = NULL,
    seen = $3::pg_snapshot, target = $4::pg_snapshot, after_seq = $5::int8, gaps = $6::text::pg_snapshot[]
  WHERE webhook_id = $1::uuid`

const copyParts = `INSERT INTO truss.cursor_parts (webhook_id, part, epoch, seen, target, after_seq, gaps)
  SELECT c.webhook_id, n, nextval('truss.epoch_seq'), c.seen, c.target, c.after_seq, c.gaps
  FROM truss.cursors c, generate_series(1, $2::int4 - 1) n WHERE c.webhook_id = $1::uuid`

// A job goes on from where all parts were; what was attempted since it was created it leaves out by itself.
const joinJobs = `WITH gone AS (
    DELETE FROM truss.job_parts p USING truss.jobs j
    WHERE j.id = p.job_id AND j.webhook_id = $1::uuid RETURNING p.job_id, p.after_seq
  )
  UPDATE truss.jobs j SET after_seq = greatest(j.after_seq, g.after_seq)
  FROM (SELECT job_id, min(after_seq) AS after_seq, count(*) AS parts FROM gone GROUP BY job_id) g
  WHERE j.id = g.job_id AND g.parts = $2::int4`

const isAbout = (several: string) => `EXISTS (SELECT FROM truss.due d WHERE d.webhook_id = $1::uuid AND (${several}))`

/** How many entities there are of a webhook, or are to be: whom to tell that it was changed. */
export const countParts = Effect.fnUntraced(function*(sql: PgClient.PgClient, id: WebhookId) {
  const [row] = yield* sql.unsafe<{ parts: number }>(
    `SELECT ${partsToTell} AS parts FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id WHERE w.id = $1::uuid`,
    [id]
  )
  return row?.parts ?? 1
})

/** Gives a webhook another layout, in the caller's transaction, which has its row locked; every part begins anew. */
const write = Effect.fnUntraced(function*(
  sql: PgClient.PgClient,
  id: WebhookId,
  wanted: string | null,
  position: StoredPosition
) {
  const { afterSeq, gaps, seen, target } = position
  const layout = wanted === null ? undefined : JSON.parse(wanted) as Layout
  yield* sql.unsafe(writeWhole, [id, wanted, seen, target, String(afterSeq), texts(gaps)])
  yield* sql`DELETE FROM truss.cursor_parts WHERE webhook_id = ${id}::text::uuid`
  if (layout === undefined) {
    yield* sql`UPDATE truss.due SET part = 0 WHERE webhook_id = ${id}::text::uuid AND part <> 0`
  } else yield* sql.unsafe(copyParts, [id, layout.n])
})

/** Makes one of all webhooks that are split, in the caller's transaction, while none is delivered. */
export const joinAll = Effect.fnUntraced(function*(sql: PgClient.PgClient) {
  const split = yield* sql<{ id: WebhookId }>`SELECT webhook_id::text AS id FROM truss.cursors WHERE layout IS NOT NULL`
  for (const { id } of split) {
    const whole = yield* sql.unsafe<PositionRow>(wholeQuery, [id])
    const others = yield* sql.unsafe<PositionRow>(partsQuery, [id])
    yield* write(sql, id, null, earliest([...whole, ...others].map(toPosition)))
  }
})

/**
 * How webhooks are split into parts. A webhook is split otherwise only when every part of it has ended: in flight is
 * nothing then, and what was delivered is in the log. All go on from the earliest of their positions, and the log says
 * what of that is done.
 */
export class Layouts extends Context.Service<Layouts, {
  /**
   * Says that a part has ended, for the webhook is to be split otherwise; the last one does it. `waiting` for others,
   * `settled`: it can be taken over again; `fenced`: somebody else did.
   */
  settle(lease: Lease): Effect.Effect<"settled" | "waiting" | "fenced", SqlError.SqlError>
  /** Asks that the webhook be one for a while: an event is about rows of several parts. */
  askAlone(id: WebhookId): Effect.Effect<void, SqlError.SqlError>
  /** Ends that, unless such an event is still due; whether it did. */
  endAlone(lease: Lease): Effect.Effect<boolean, SqlError.SqlError>
  /** The right of one part at a time to find out whether the endpoint is back. */
  takeProbe(lease: Lease): Effect.Effect<boolean, SqlError.SqlError>
  leaveProbe(lease: Lease): Effect.Effect<void, SqlError.SqlError>
}>()("truss/services/Layouts") {
  static readonly layer = Layer.effect(
    Layouts,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const changes = yield* WebhookChanges

      const tell = (id: WebhookId) => Effect.andThen(announce(sql, id), PubSub.publish(changes, id))

      const end = ({ epoch, webhook: { id, part } }: Lease) =>
        part === 0
          ? sql`UPDATE truss.cursors SET ended = true
            WHERE webhook_id = ${id}::text::uuid AND epoch = ${epoch} RETURNING ended`
          : sql`UPDATE truss.cursor_parts SET ended = true
            WHERE webhook_id = ${id}::text::uuid AND part = ${part} AND epoch = ${epoch} RETURNING ended`

      /** Whether nothing that is due is about rows of several parts. */
      const assign = Effect.fnUntraced(function*(id: WebhookId, wanted: string) {
        const { key, n, ordered } = JSON.parse(wanted) as Layout
        yield* sql.unsafe(assignDue, [id, texts(key), n, ordered])
        const [row] = yield* sql.unsafe<{ several: boolean }>(
          `SELECT ${isAbout(`d.part = ${severalParts}`)} AS several`,
          [id]
        )
        return !row!.several
      })

      const settle = Effect.fn("Layouts.settle")(function*(lease: Lease) {
        const { id } = lease.webhook
        const settled = yield* sql.withTransaction(Effect.gen(function*() {
          // As who changes the settings does: the webhook before its cursor.
          yield* sql`SELECT FROM truss.webhooks WHERE id = ${id}::text::uuid FOR KEY SHARE`
          const [whole] = yield* sql.unsafe<PositionRow & { layout: string | null; wanted: string | null }>(
            wholeQuery,
            [
              id
            ]
          )
          if (whole === undefined || (yield* end(lease)).length === 0) return "fenced" as const
          if (whole.layout === whole.wanted) {
            // Somebody has changed it back: the parts go on as they are.
            yield* announce(sql, id)
            return "settled" as const
          }
          const others = yield* sql.unsafe<PositionRow>(partsQuery, [id])
          const isLast = others.every(({ ended }) => ended) && (whole.ended || lease.webhook.part === 0)
          if (!isLast) return "waiting" as const
          const wanted = whole.wanted === null || (yield* assign(id, whole.wanted)) ? whole.wanted : null
          if (wanted !== whole.wanted) {
            yield* sql`UPDATE truss.cursors SET alone = true WHERE webhook_id = ${id}::text::uuid`
          }
          yield* write(sql, id, wanted, earliest([whole, ...others].map(toPosition)))
          yield* sql.unsafe(joinJobs, [id, others.length + 1])
          yield* announce(sql, id)
          return "settled" as const
        }))
        if (settled === "settled") yield* PubSub.publish(changes, id)
        return settled
      })

      const askAlone = Effect.fn("Layouts.askAlone")(function*(id: WebhookId) {
        yield* sql`UPDATE truss.cursors SET alone = true WHERE webhook_id = ${id}::text::uuid AND layout IS NOT NULL`
        yield* tell(id)
      })

      const endAlone = Effect.fn("Layouts.endAlone")(function*({ epoch, webhook: { id } }: Lease) {
        const rows = yield* sql.unsafe(
          `UPDATE truss.cursors SET alone = false WHERE webhook_id = $1::uuid AND epoch = $2::int8
            AND NOT ${isAbout(`d.key = ${everyRow} OR d.key2 IS NOT NULL`)} RETURNING alone`,
          [id, String(epoch)]
        )
        return rows.length > 0
      })

      const takeProbe = Effect.fn("Layouts.takeProbe")(function*({ webhook }: Lease) {
        const rows = yield* sql`UPDATE truss.cursors
          SET probe_until = clock_timestamp() + ${webhook.timeoutMs + 5_000} * interval '1 millisecond'
          WHERE webhook_id = ${webhook.id}::text::uuid AND opened_at IS NOT NULL
            AND coalesce(probe_until < clock_timestamp(), true) RETURNING probe_until`
        return rows.length > 0
      })

      const leaveProbe = ({ webhook }: Lease) =>
        Effect.asVoid(sql`UPDATE truss.cursors SET probe_until = NULL WHERE webhook_id = ${webhook.id}::text::uuid`)

      return Layouts.of({ settle, askAlone, endAlone, takeProbe, leaveProbe })
    })
  )
}
