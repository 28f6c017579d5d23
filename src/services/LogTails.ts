import { PgClient } from "@effect/sql-pg"
import { Clock, Context, Effect, Fiber, Latch, Layer, Schedule, type Scope, Semaphore } from "effect"
import type { SqlError } from "effect/sql"
import { decodeAttemptId, encodeAttemptId } from "../domain/AttemptRef.ts"
import { type DatabaseUnavailable, TooManySubscribers, WebhookNotFound } from "../domain/Errors.ts"
import { isWebhookId, type WebhookId } from "../domain/Webhook.ts"
import { attemptColumns, type AttemptRow, entryJson, withBody } from "./AttemptRow.ts"
import { orUnavailable, reasonOf } from "./Database.ts"
import { noteFollower } from "./ListenSinks.ts"

/** An entry of the log, as JSON. */
export interface TailEntry {
  readonly id: string
  readonly json: string
  /** Whether line breaks of the payload were made spaces: its bytes are those of `GET /webhooks/{id}/logs/{logId}`. */
  readonly altered: boolean
}

/** What a subscriber is given: entries, or how its subscription ended. */
export type Taken = ReadonlyArray<TailEntry> | "overflow" | "ended"

/** The log of a webhook from a position on. */
export interface LogTail {
  /** The id that resumes from where this begins; of no entry when the log was empty. */
  readonly startId: string
  /** It begins with what is new, since what was to be resumed from is not known (any more). */
  readonly reset: boolean
  /** Waits until `take` has something. */
  readonly ready: Effect.Effect<void>
  readonly take: () => Taken
}

/** How many may follow, and how long one may stay away. */
export interface TailLimits {
  /** Subscribers of a webhook, in this process. */
  readonly perWebhook: number
  /** Subscribers in this process. */
  readonly perProcess: number
  /** A subscriber that does not come for more in so long has gone, or does not read: its place is another one's. */
  readonly awayMs: number
}

const defaultLimits: TailLimits = { perWebhook: 100, perProcess: 500, awayMs: 60_000 }

/** What may wait for a subscriber that is behind; the entries themselves are shared. */
const maxWaiting = 1024
const maxWaitingBytes = 8 * 1048576
/** Roughly what is taken at once. */
const takenBytes = 256 * 1024
const pageEntries = 200
const pageBytes = 1048576

/**
 * A poll while somebody listens costs a look into an index, and holds on every process, behind every pooler and with
 * `TRUSS_LISTEN=off`; a NOTIFY would be paid for by every batch of the process that delivers.
 */
const pollMs = 250
const retryPause = Schedule.spaced("1 second")

interface Entry extends TailEntry {
  readonly seq: number
  readonly bytes: number
}

interface Subscriber {
  /** The last entry that was put into `waiting`. */
  after: number
  /** Whether the reader gives it what is new; until then it reads for itself. */
  live: boolean
  /** Since when it has not waited for entries, in milliseconds since 1970; undefined while it waits. */
  awaySince: number | undefined
  ended: boolean
  overflowed: boolean
  waiting: Array<Entry>
  bytes: number
  readonly changed: Latch.Latch
}

/** What this process has of one webhook's log: one read at a time. */
interface Tap {
  /** How far the live subscribers are. */
  head: number
  readonly subscribers: Set<Subscriber>
  readonly reading: Semaphore.Semaphore
  reader: Fiber.Fiber<void> | undefined
}

interface Row extends AttemptRow {
  readonly body: string | null
  readonly total: number
}

const readQuery = `
  WITH page AS (
    SELECT * FROM truss.attempts a WHERE a.webhook_id = $1::uuid AND a.seq > $2::int8
    ORDER BY a.seq LIMIT ${pageEntries}
  ), sized AS (
    SELECT a.*, e.body, count(*) OVER () AS total,
      sum(coalesce(octet_length(e.body), 0)) OVER (ORDER BY a.seq) - coalesce(octet_length(e.body), 0) AS before
    FROM page a ${withBody}
  )
  SELECT ${attemptColumns}, a.body, a.total::float8 AS total
  FROM truss.webhooks w LEFT JOIN sized a ON a.before < ${pageBytes} WHERE w.id = $1::uuid ORDER BY a.seq`

// The entry that is meant, the newest, and whether the one that is meant can only be older than all that are kept.
const startQuery = `
  SELECT m.seq::float8 AS meant, n.seq::float8 AS newest, n.event_seq::float8 AS event_seq, n.nonce::float8 AS nonce,
    $2::int8 < (SELECT min(o.event_seq) FROM truss.attempts o WHERE o.webhook_id = w.id) AS older
  FROM truss.webhooks w
  LEFT JOIN LATERAL (
    SELECT a.seq FROM truss.attempts a WHERE a.webhook_id = w.id AND a.event_seq = $2::int8 AND a.nonce = $3::int8
  ) m ON true
  LEFT JOIN LATERAL (
    SELECT a.seq, a.event_seq, a.nonce FROM truss.attempts a WHERE a.webhook_id = w.id ORDER BY a.seq DESC LIMIT 1
  ) n ON true
  WHERE w.id = $1::uuid`

/** Comes before every entry. */
const beginning = encodeAttemptId({ eventSeq: 0, nonce: 0 })

/** A line break outside of strings is what a column of type `json` was written with. */
const onOneLine = (json: string) => json.replaceAll(/[\r\n]+/g, " ")

const toEntry = (row: Row): Entry => {
  const exact = entryJson(row, row.body)
  const json = onOneLine(exact)
  const id = encodeAttemptId({ eventSeq: row.event_seq, nonce: row.nonce })
  return { id, json, altered: json !== exact, seq: row.seq, bytes: json.length }
}

const put = (subscriber: Subscriber, entries: ReadonlyArray<Entry>) => {
  for (const entry of entries) {
    if (entry.seq <= subscriber.after) continue
    const full = subscriber.waiting.length >= maxWaiting || subscriber.bytes + entry.bytes > maxWaitingBytes
    if (full && subscriber.waiting.length > 0) {
      subscriber.overflowed = true
      subscriber.live = false
      break
    }
    subscriber.waiting.push(entry)
    subscriber.bytes += entry.bytes
    subscriber.after = entry.seq
  }
  subscriber.changed.openUnsafe()
}

const end = (subscriber: Subscriber) => {
  subscriber.ended = true
  subscriber.live = false
  subscriber.waiting = []
  subscriber.bytes = 0
  subscriber.changed.openUnsafe()
}

const take = (subscriber: Subscriber): Taken => {
  if (subscriber.ended) return "ended"
  if (subscriber.waiting.length === 0) return subscriber.overflowed ? "overflow" : []
  let count = 0
  for (let bytes = 0; count < subscriber.waiting.length && bytes < takenBytes; count++) {
    bytes += subscriber.waiting[count]!.bytes
  }
  const taken = subscriber.waiting.splice(0, count)
  for (const { bytes } of taken) subscriber.bytes -= bytes
  return taken
}

/**
 * The log of a webhook as it is written, for many subscribers: one that is behind reads page by page at its own pace,
 * one that has caught up is given what the webhook's one reader finds.
 */
export class LogTails extends Context.Service<LogTails, {
  /** From now on, or from behind an entry. Ends with the scope, with the webhook, or by `end`. */
  open(
    webhookId: string,
    lastId: string | undefined
  ): Effect.Effect<LogTail, WebhookNotFound | TooManySubscribers | DatabaseUnavailable, Scope.Scope>
  /** Ends every subscription, for good: the service stops. */
  readonly end: Effect.Effect<void>
}>()("truss/services/LogTails") {
  static readonly layerWith = (options: Partial<TailLimits>) =>
    Layer.effect(
      LogTails,
      Effect.gen(function*() {
        const { awayMs, perProcess, perWebhook } = { ...defaultLimits, ...options }
        const sql = yield* PgClient.PgClient
        const scope = yield* Effect.scope
        const taps = new Map<WebhookId, Tap>()
        let stopped = false

        /** Until the database answers. No entries and `gone` when there is no such webhook. */
        const read = Effect.fnUntraced(function*(id: WebhookId, tap: Tap, after: number) {
          const rows = yield* sql.unsafe<Row | { readonly seq: null }>(readQuery, [id, String(after)]).pipe(
            Effect.tapError((error) => Effect.logDebug("cannot follow a log just now", reasonOf(error))),
            Effect.retry({ schedule: retryPause }),
            Effect.orDie,
            tap.reading.withPermits(1)
          )
          const entries = rows.filter((row): row is Row => row.seq !== null)
          const more = entries.length > 0 && (entries.length === pageEntries || entries[0]!.total > entries.length)
          return { gone: rows.length === 0, entries: entries.map(toEntry), more }
        })

        const isLive = (tap: Tap) => [...tap.subscribers].some((subscriber) => subscriber.live)

        const endAll = (tap: Tap) => tap.subscribers.forEach(end)

        /** Lets go of those who stay away: what waits for them, and their places. */
        const dropAway = (tap: Tap, now: number) => {
          for (const subscriber of tap.subscribers) {
            if (subscriber.awaySince === undefined || now - subscriber.awaySince < awayMs) continue
            end(subscriber)
            tap.subscribers.delete(subscriber)
          }
        }

        const follow = Effect.fnUntraced(function*(id: WebhookId, tap: Tap) {
          while (true) {
            const page = isLive(tap) ? yield* read(id, tap, tap.head) : undefined
            if (page?.gone === true) return endAll(tap)
            if (page !== undefined && page.entries.length > 0) {
              tap.head = Math.max(tap.head, page.entries.at(-1)!.seq)
              for (const subscriber of tap.subscribers) if (subscriber.live) put(subscriber, page.entries)
            }
            dropAway(tap, yield* Clock.currentTimeMillis)
            if (page?.more !== true) yield* Effect.sleep(pollMs)
          }
        })

        /** Waits for entries; one that is not live reads for itself until nothing is left that the reader is past. */
        const ready = Effect.fnUntraced(function*(id: WebhookId, tap: Tap, subscriber: Subscriber) {
          while (true) {
            subscriber.changed.closeUnsafe()
            if (subscriber.ended || subscriber.overflowed || subscriber.waiting.length > 0) return
            if (subscriber.live) {
              yield* subscriber.changed.await
              continue
            }
            const page = yield* read(id, tap, subscriber.after)
            if (page.gone) end(subscriber)
            else if (page.entries.length > 0) put(subscriber, page.entries)
            else if (!isLive(tap) || tap.head <= subscriber.after) {
              if (!isLive(tap)) tap.head = subscriber.after
              subscriber.live = !subscriber.ended
            }
          }
        })

        const waiting = (subscriber: Subscriber, ready: Effect.Effect<void>) =>
          Effect.suspend(() => {
            subscriber.awaySince = undefined
            return ready
          }).pipe(
            Effect.ensuring(Effect.map(Clock.currentTimeMillis, (now) => {
              subscriber.awaySince = now
            }))
          )

        const following = () => {
          let count = 0
          for (const { subscribers } of taps.values()) count += subscribers.size
          return count
        }

        const subscribe = Effect.fnUntraced(function*(id: WebhookId) {
          const tap = taps.get(id) ??
            { head: 0, subscribers: new Set(), reading: Semaphore.makeUnsafe(1), reader: undefined }
          if (tap.subscribers.size >= perWebhook || following() >= perProcess) {
            const [many, what] = tap.subscribers.size >= perWebhook ? [perWebhook, "this log"] : [perProcess, "logs"]
            return yield* new TooManySubscribers({
              detail: `${many} clients follow ${what} here already: ask again later, or another process`
            })
          }
          taps.set(id, tap)
          const subscriber: Subscriber = {
            after: 0,
            live: false,
            awaySince: yield* Clock.currentTimeMillis,
            ended: stopped,
            overflowed: false,
            waiting: [],
            bytes: 0,
            changed: Latch.makeUnsafe()
          }
          tap.subscribers.add(subscriber)
          tap.reader ??= yield* Effect.forkIn(follow(id, tap), scope)
          return { tap, subscriber }
        })

        const unsubscribe = (id: WebhookId, { subscriber, tap }: { tap: Tap; subscriber: Subscriber }) =>
          Effect.suspend(() => {
            end(subscriber)
            tap.subscribers.delete(subscriber)
            if (tap.subscribers.size > 0) return Effect.void
            if (taps.get(id) === tap) taps.delete(id)
            return tap.reader === undefined ? Effect.void : Fiber.interrupt(tap.reader)
          })

        const startOf = Effect.fnUntraced(function*(
          id: WebhookId,
          lastId: string | undefined
        ): Effect.fn.Return<{ after: number; startId: string; reset: boolean }, SqlError.SqlError | WebhookNotFound> {
          const ref = lastId === undefined ? undefined : decodeAttemptId(lastId)
          const [row] = yield* sql.unsafe<{
            meant: number | null
            newest: number | null
            event_seq: number
            nonce: number
            older: boolean | null
          }>(startQuery, [
            id,
            ref === undefined ? null : String(ref.eventSeq),
            ref === undefined ? null : String(ref.nonce)
          ])
          if (row === undefined) return yield* new WebhookNotFound({ id })
          if (row.meant !== null) return { after: row.meant, startId: lastId!, reset: false }
          if (row.newest === null) return { after: 0, startId: beginning, reset: false }
          if (row.older === true) return { after: 0, startId: lastId!, reset: false }
          const startId = encodeAttemptId({ eventSeq: row.event_seq, nonce: row.nonce })
          return { after: row.newest, startId, reset: lastId !== undefined }
        })

        const open = Effect.fn("LogTails.open")(function*(webhookId: string, lastId: string | undefined) {
          if (!isWebhookId(webhookId)) return yield* new WebhookNotFound({ id: webhookId })
          const { subscriber, tap } = yield* Effect.acquireRelease(
            subscribe(webhookId),
            (subscription) => unsubscribe(webhookId, subscription)
          )
          const { after, reset, startId } = yield* startOf(webhookId, lastId)
          yield* noteFollower(sql, webhookId)
          subscriber.after = after
          return {
            startId,
            reset,
            ready: waiting(subscriber, ready(webhookId, tap, subscriber)),
            take: () => take(subscriber)
          }
        }, orUnavailable)

        return LogTails.of({
          open,
          end: Effect.sync(() => {
            stopped = true
            for (const tap of taps.values()) endAll(tap)
          })
        })
      })
    )

  static readonly layer = LogTails.layerWith({})
}
