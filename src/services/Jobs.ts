import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, PubSub } from "effect"
import type { SqlError } from "effect/sql"
import {
  type DatabaseUnavailable,
  type InvalidParameter,
  JobNotFound,
  type TookTooLong,
  WebhookNotFound
} from "../domain/Errors.ts"
import type { ChangeType } from "../domain/EventType.ts"
import type { Job, JobKind, JobState, ReplayCriteria } from "../domain/Job.ts"
import { isWebhookId, type WebhookId } from "../domain/Webhook.ts"
import type { ActorWebhook } from "./ActorWebhook.ts"
import { Audit } from "./Audit.ts"
import { orUnavailable } from "./Database.ts"
import { eventColumns, type EventRow, type StoredEvent, toStored } from "./EventPageQuery.ts"
import { readSubject, slotsBetween, statesParameters, type Subject } from "./EventStates.ts"
import {
  createRecovery,
  createReplay,
  recoveryPage,
  recoveryWindow,
  replayPage,
  replayWindow,
  runningJob
} from "./JobQueries.ts"
import { longRead } from "./LongRead.ts"
import { atPosition, decodeCursor, encodeCursor, positionOf } from "./PageCursor.ts"
import { pageRead } from "./PageRead.ts"
import { texts } from "./PgArray.ts"
import { selects } from "./Selection.ts"
import { announce, WebhookChanges } from "./WebhookChanges.ts"

/** What a request for a job is answered with. */
export interface CreatedJob {
  readonly job_id: string
  /** How many events it is about. */
  readonly matched: number
}

/** The jobs of a webhook, newest first. */
export interface JobList {
  readonly data: ReadonlyArray<Job>
  readonly next_cursor: string | null
}

/** The next events of a job, in the order of their positions. There may be none although more come later. */
export interface JobPage {
  readonly jobId: string
  readonly kind: JobKind
  /** `replayOf` is the nonce of the attempt that a replay repeats. */
  readonly events: ReadonlyArray<StoredEvent & { readonly replayOf: number | null }>
  /** The position up to which the job is done when the page is. */
  readonly lastSeq: number
  readonly last: boolean
}

interface JobRow {
  readonly id: string
  readonly kind: JobKind
  readonly state: JobState
  readonly matched: number
  readonly done: number
  readonly created_at: Date
  readonly position: string
}

interface RunningRow {
  readonly id: string
  readonly kind: JobKind
  readonly criteria: string
  readonly log_boundary: string
  readonly seen: string
  readonly after_seq: number
  readonly table_id: number
  readonly selects: boolean
  readonly slots: ReadonlyArray<number>
}

interface ReplayStored {
  readonly from: string | null
  readonly to: string | null
  readonly outcome: string | null
  readonly event_type: string | null
  readonly last_seq: number
}

interface RecoveryStored {
  readonly since: string
  readonly table_id: number
  readonly types: string
  readonly asked: unknown
  readonly ahead: unknown
  readonly last_seq: number
}

interface PageRow extends EventRow {
  readonly table_id: number
  readonly replay_of: number | null
}

/** A page is looked for in this many times as many events, so that one statement is short whatever matches. */
const windowPages = 8

const runningQuery = runningJob(selects, slotsBetween("(j.criteria ->> 'since')", "NULL"))
const replayQuery = (split: boolean) => replayPage(eventColumns, split)

/** The part of a webhook that carries a job on; the whole of it unless said. */
export type JobPart = Pick<ActorWebhook, "part" | "layout">

const whole: JobPart = { part: 0, layout: null }

type CreateError = WebhookNotFound | TookTooLong | DatabaseUnavailable

/** Bulk replays and recoveries: what they are about is decided when they are created, and sent by the webhook's actor. */
export class Jobs extends Context.Service<Jobs, {
  /** Repeats every event whose last attempt matches. */
  replay(webhookId: string, criteria: ReplayCriteria): Effect.Effect<CreatedJob, CreateError>
  /** Sends the events since then that the webhook never attempted and that will not come by themselves. */
  recover(webhookId: string, since: Date): Effect.Effect<CreatedJob, CreateError>
  list(
    webhookId: string,
    query: { readonly limit: number; readonly cursor?: string | undefined }
  ): Effect.Effect<JobList, WebhookNotFound | InvalidParameter | DatabaseUnavailable>
  /** What is in flight ends; nothing more is sent. A finished job stays as it is. */
  cancel(webhookId: string, jobId: string): Effect.Effect<void, WebhookNotFound | JobNotFound | DatabaseUnavailable>
  /** At most `limit` events of the webhook's, or its part's, oldest running job, beside those attempted since or due. */
  next(webhookId: WebhookId, limit: number, part?: JobPart): Effect.Effect<JobPage | undefined, SqlError.SqlError>
  isCancelled(jobId: string): Effect.Effect<boolean, SqlError.SqlError>
  /** Everything up to `lastSeq` is dealt with, `count` events of it by the job. A cancelled job stays cancelled. */
  advance(
    jobId: string,
    lastSeq: number,
    count: number,
    finished: boolean,
    part?: JobPart
  ): Effect.Effect<void, SqlError.SqlError>
}>()("truss/services/Jobs") {
  static readonly layer = Layer.effect(
    Jobs,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const inTime = pageRead(sql)
      const audit = yield* Audit
      const changes = yield* WebhookChanges

      const known = Effect.fnUntraced(function*(id: string) {
        if (!isWebhookId(id)) return yield* new WebhookNotFound({ id })
        const rows = yield* sql`SELECT FROM truss.webhooks WHERE id = ${id}::text::uuid`
        return rows.length > 0 ? id : yield* new WebhookNotFound({ id })
      })

      const create = Effect.fnUntraced(function*(
        kind: JobKind,
        subject: Pick<Subject, "webhookId">,
        statement: string,
        parameters: ReadonlyArray<unknown>
      ) {
        const [job] = yield* sql.unsafe<CreatedJob>(statement, [...parameters]).pipe(
          // Deleted since the snapshot.
          Effect.catchIf(
            (error) => error.reason._tag === "ConstraintError",
            () => Effect.fail(new WebhookNotFound({ id: subject.webhookId }))
          )
        )
        yield* audit.record({ action: "job.created", webhookId: subject.webhookId, detail: { kind, ...job! } })
        yield* announce(sql, subject.webhookId)
        return { job: job!, webhookId: subject.webhookId }
      })

      /** In one snapshot, so that the boundary, what is ahead and what matches belong together. */
      const created = <E, R>(
        creating: Effect.Effect<{ readonly job: CreatedJob; readonly webhookId: WebhookId }, E | SqlError.SqlError, R>
      ) =>
        longRead(sql, creating).pipe(
          Effect.tap(({ webhookId }) => PubSub.publish(changes, webhookId)),
          Effect.map(({ job }) => job)
        )

      const replay = Effect.fn("Jobs.replay")(
        function*(id: string, { event_type, from, outcome, to }: ReplayCriteria) {
          return yield* created(Effect.flatMap(known(id), (webhookId) =>
            create("replay", { webhookId }, createReplay, [
              webhookId,
              "0",
              String(Number.MAX_SAFE_INTEGER),
              String(Number.MAX_SAFE_INTEGER),
              from?.toISOString() ?? null,
              to?.toISOString() ?? null,
              outcome ?? null,
              event_type ?? null
            ])))
        },
        orUnavailable
      )

      const recover = Effect.fn("Jobs.recover")(function*(id: string, since: Date) {
        return yield* created(
          Effect.flatMap(
            readSubject(sql, id, since, undefined),
            (subject) => create("recover", subject, createRecovery(subject), statesParameters(subject))
          )
        )
      }, orUnavailable)

      const list = Effect.fn("Jobs.list")(function*(
        id: string,
        query: { readonly limit: number; readonly cursor?: string | undefined }
      ) {
        const webhookId = yield* known(id)
        const before = query.cursor === undefined ? undefined : yield* decodeCursor(`jobs ${webhookId}`, query.cursor)
        const rows = yield* sql.unsafe<JobRow>(
          `SELECT id::text, kind, state, matched::float8 AS matched, done::float8 AS done, created_at,
            ${positionOf("created_at")} AS position
          FROM truss.jobs
          WHERE webhook_id = $1::uuid AND ($2::int8 IS NULL
            OR (created_at, id) < ${atPosition("$2", "$3")})
          ORDER BY created_at DESC, id DESC LIMIT $4`,
          [webhookId, before?.[0] ?? null, before?.[1] ?? null, query.limit + 1]
        )
        const page = rows.slice(0, query.limit)
        const data = page.map(({ position: _, ...row }) => ({ ...row, created_at: row.created_at.toISOString() }))
        const last = page.at(-1)
        const more = rows.length > page.length && last !== undefined
        return { data, next_cursor: more ? encodeCursor(`jobs ${webhookId}`, last) : null }
      }, inTime)

      const cancel = Effect.fn("Jobs.cancel")(function*(id: string, jobId: string) {
        const webhookId = yield* known(id)
        if (!isWebhookId(jobId)) return yield* new JobNotFound({ id: jobId })
        const found = yield* sql.withTransaction(Effect.gen(function*() {
          const [job] = yield* sql<{ state: JobState }>`SELECT state FROM truss.jobs
            WHERE id = ${jobId}::text::uuid AND webhook_id = ${webhookId}::text::uuid FOR UPDATE`
          if (job?.state === "running") {
            yield* sql`UPDATE truss.jobs SET state = 'cancelled' WHERE id = ${jobId}::text::uuid`
            yield* audit.record({ action: "job.cancelled", webhookId, detail: { job_id: jobId } })
            yield* announce(sql, webhookId)
          }
          return job !== undefined
        }))
        if (!found) return yield* new JobNotFound({ id: jobId })
        yield* PubSub.publish(changes, webhookId)
      }, orUnavailable)

      const range = (job: RunningRow, upto: number) => [String(job.after_seq), String(upto)]

      const windowOf = (statement: string, subject: string | number, job: RunningRow, upto: number, size: number) =>
        Effect.map(
          sql.unsafe<{ upto: number | null; seen: number }>(statement, [subject, ...range(job, upto), size]),
          ([row]) =>
            row!.seen < size || row!.upto === null ? { end: upto, atEnd: true } : { end: row!.upto, atEnd: false }
        )

      const partParameters = ({ layout, part }: JobPart) => layout === null ? [] : [texts(layout.key), layout.n, part]

      const replayRows = Effect.fnUntraced(function*(id: WebhookId, job: RunningRow, limit: number, part: JobPart) {
        const stored = JSON.parse(job.criteria) as ReplayStored
        const window = yield* windowOf(replayWindow, id, job, stored.last_seq, windowPages * limit)
        const rows = yield* sql.unsafe<PageRow>(replayQuery(part.layout !== null), [
          id,
          ...range(job, window.end),
          job.log_boundary,
          stored.from,
          stored.to,
          stored.outcome,
          stored.event_type,
          limit,
          ...partParameters(part)
        ])
        return { window, rows }
      })

      const recoveryRows = Effect.fnUntraced(function*(id: WebhookId, job: RunningRow, limit: number, part: JobPart) {
        const stored = JSON.parse(job.criteria) as RecoveryStored
        // What is left of a recovery when its webhook has moved to another table is nothing of that webhook's.
        if (stored.table_id !== job.table_id) return { window: { end: stored.last_seq, atEnd: true }, rows: [] }
        const window = yield* windowOf(recoveryWindow, job.table_id, job, stored.last_seq, windowPages * limit)
        const subject: Subject = {
          webhookId: id,
          tableId: job.table_id,
          types: stored.types.slice(1, -1).split(",") as ReadonlyArray<ChangeType>,
          selects: job.selects,
          since: JSON.stringify(stored.asked),
          ahead: JSON.stringify(stored.ahead),
          slots: job.slots,
          from: new Date(stored.since),
          to: undefined,
          afterSeq: job.after_seq,
          lastSeq: window.end
        }
        const rows = yield* sql.withTransaction(
          Effect.andThen(
            sql`SET LOCAL enable_nestloop = off`,
            sql.unsafe<PageRow>(recoveryPage(subject, eventColumns, part.layout !== null), [
              ...statesParameters(subject),
              job.seen,
              limit,
              ...partParameters(part)
            ])
          )
        )
        return { window, rows }
      })

      const next = Effect.fnUntraced(function*(id: WebhookId, limit: number, part: JobPart = whole) {
        const [job] = yield* sql.unsafe<RunningRow>(runningQuery, [id, part.part])
        if (job === undefined) return undefined
        const { rows, window } = yield* job.kind === "replay"
          ? replayRows(id, job, limit, part)
          : recoveryRows(id, job, limit, part)
        const whole = rows.length === 0 || rows[0]!.total <= rows.length
        const page: JobPage = {
          jobId: job.id,
          kind: job.kind,
          events: rows.map((row) => ({ ...toStored(row, row.table_id), replayOf: row.replay_of })),
          lastSeq: whole ? window.end : rows.at(-1)!.seq,
          last: whole && window.atEnd
        }
        return page
      })

      const isCancelled = (jobId: string) =>
        Effect.map(
          sql`SELECT FROM truss.jobs WHERE id = ${jobId}::text::uuid AND state = 'cancelled'`,
          (rows) => rows.length > 0
        )

      const advanceWhole = (jobId: string, lastSeq: number, count: number, finished: boolean) =>
        sql`UPDATE truss.jobs SET after_seq = greatest(after_seq, ${String(lastSeq)}::text::int8),
            done = CASE WHEN ${finished}::boolean AND state = 'running' THEN matched
              ELSE least(matched, done + ${count}::int8) END,
            state = CASE WHEN ${finished}::boolean AND state = 'running' THEN 'done' ELSE state END
          WHERE id = ${jobId}::text::uuid AND state <> 'done'`

      // The job's row is locked first, so that one of the parts sees that it is the last one.
      const advancePart = Effect.fnUntraced(function*(
        jobId: string,
        lastSeq: number,
        count: number,
        finished: boolean,
        { layout, part }: JobPart
      ) {
        const known = yield* sql`SELECT FROM truss.jobs WHERE id = ${jobId}::text::uuid FOR UPDATE`
        if (known.length === 0) return
        yield* sql`INSERT INTO truss.job_parts (job_id, part, after_seq, finished)
          SELECT id, ${part}, greatest(after_seq, ${String(lastSeq)}::text::int8), ${finished}::boolean
          FROM truss.jobs WHERE id = ${jobId}::text::uuid
          ON CONFLICT (job_id, part) DO UPDATE SET after_seq = greatest(job_parts.after_seq, excluded.after_seq),
            finished = excluded.finished`
        const [left] = yield* sql<{ over: boolean }>`SELECT count(*) = ${layout!.n} AS over FROM truss.job_parts
          WHERE job_id = ${jobId}::text::uuid AND finished`
        yield* advanceWhole(jobId, 0, count, left!.over)
      })

      const advance = Effect.fnUntraced(function*(
        jobId: string,
        lastSeq: number,
        count: number,
        finished: boolean,
        part: JobPart = whole
      ) {
        yield* part.layout === null
          ? advanceWhole(jobId, lastSeq, count, finished)
          : sql.withTransaction(advancePart(jobId, lastSeq, count, finished, part))
      })

      return Jobs.of({ replay, recover, list, cancel, next, isCancelled, advance })
    })
  )
}
