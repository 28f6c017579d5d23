import { Clock, Effect, Queue, Random, type Scope } from "effect"
import type { SqlError } from "effect/sql"
import { EventType } from "../domain/EventType.ts"
import { isWebhookId, type WebhookId } from "../domain/Webhook.ts"
import { ChangeFeed, type Look } from "../services/ChangeFeed.ts"
import { ListenClient } from "../services/Database.ts"
import { Health } from "../services/Health.ts"

/** Who is told what happened. */
export interface Visitors {
  /** A table has new events of these types; of any type when undefined. */
  readonly changed: (tableId: number, types: ReadonlyArray<EventType> | undefined) => Effect.Effect<void>
  /** A webhook was created, changed or deleted, maybe by another process. */
  readonly webhook: (id: WebhookId) => Effect.Effect<void>
  /** The tables to look at. */
  readonly tables: Effect.Effect<ReadonlyArray<number>>
}

interface Notification {
  readonly payload: string
}

/** Pause between looks while events keep coming; while polling without notifications; when nothing came. */
const busyPause = 2
const pollPause = 50
const slowLook = 1_000

/** Pauses between looks for transactions that may not ring: the first, and the longest. */
const firstLook = 5
const longestLook = 100

/** Rings a millisecond, over so many, that are worth looking by ourselves: NOTIFY holds one lock for the database. */
const manyRings = 1
const ringWindow = 20

/** Events a millisecond, over so many, below which the listener asks to be rung again: a look costs more than a ring. */
const fewEvents = 0.5
const calmWindow = 100

/** Pauses between attempts to connect again: the first, doubled with each, and the longest. */
const firstPause = 50
const longestPause = 2_000

/** Whether things happened at a pace, a millisecond, over windows of real time: what waited during a stall is no burst. */
const makePace = (windowMs: number, start: number) => {
  let count = 0
  let since = start
  /** The pace of a window that has ended. */
  return (more: number, now: number): number | undefined => {
    count += more
    if (now - since < windowMs) return undefined
    const pace = count / (now - since)
    count = 0
    since = now
    return pace
  }
}

/**
 * Notices new events. While it sleeps, writers ring by NOTIFY; while much happens it looks by itself and asks them not
 * to, because NOTIFY would make them queue for its lock. Where notifications do not come through, it only looks.
 */
export const attend = Effect.fnUntraced(function*(
  visitors: Visitors,
  options: { readonly listen: "auto" | "off" }
) {
  const feed = yield* ChangeFeed
  const client = yield* ListenClient
  const health = yield* Health
  let seen: string | undefined = undefined
  let failures = 0

  const look: Effect.Effect<Look, SqlError.SqlError> = Effect.gen(function*() {
    const found = yield* feed.look(seen, yield* visitors.tables)
    seen = found.now
    for (const { tableId, types } of found.changed) yield* visitors.changed(tableId, types)
    return found
  })

  const tell = Effect.fnUntraced(function*(notifications: ReadonlyArray<Notification>) {
    for (const payload of new Set(notifications.map((notification) => notification.payload))) {
      const [subject = "", type = ""] = payload.split(" ")
      if (subject === "webhook" && isWebhookId(type)) yield* visitors.webhook(type)
      const event = EventType.literals.find((literal) => literal === type)
      if (event !== undefined) yield* visitors.changed(Number(subject), [event])
    }
  })

  const poll: Effect.Effect<never, SqlError.SqlError> = Effect.gen(function*() {
    yield* feed.askForQuiet
    while (true) {
      const { changed } = yield* look
      yield* Effect.sleep(changed.length > 0 ? busyPause : pollPause)
    }
  })

  const listen = (queue: Queue.Dequeue<Notification, SqlError.SqlError>) => {
    const take = (waitMs: number): Effect.Effect<ReadonlyArray<Notification>, SqlError.SqlError> =>
      Queue.takeBetween(queue, 1, 1000).pipe(
        Effect.timeoutOrElse({ duration: waitMs, orElse: () => Effect.succeed([]) })
      )

    /** Looks by itself until little comes. */
    const busy = Effect.gen(function*() {
      yield* feed.askForQuiet
      const paceOf = makePace(calmWindow, yield* Clock.currentTimeMillis)
      let { numbered } = yield* look
      while (true) {
        yield* tell(yield* take(busyPause))
        const found = yield* look
        const pace = paceOf(found.numbered - numbered, yield* Clock.currentTimeMillis)
        if (pace !== undefined && pace < fewEvents) return
        numbered = found.numbered
      }
    })

    /**
     * Asks to be rung until it is too often. A transaction that was in progress at first may have seen that it need not
     * ring, so it is looked for until all of those have ended, at growing pauses.
     */
    const rung = Effect.gen(function*() {
      yield* feed.askToRing
      let askedAt = yield* Clock.currentTimeMillis
      const paceOf = makePace(ringWindow, askedAt)
      const { xmax } = yield* look
      let pause = firstLook
      while (true) {
        const heard = yield* take(pause)
        yield* tell(heard)
        const now = yield* Clock.currentTimeMillis
        if ((paceOf(heard.length, now) ?? 0) >= manyRings) return
        if (now - askedAt >= slowLook) {
          yield* feed.askToRing
          askedAt = now
        }
        if (pause < slowLook || heard.length === 0) {
          const { xmin } = yield* look
          pause = xmin >= xmax ? slowLook : Math.min(pause * 1.5, longestLook)
        }
      }
    })

    const rounds: Effect.Effect<never, SqlError.SqlError> = Effect.gen(function*() {
      while (true) {
        yield* rung
        yield* busy
      }
    })
    return rounds
  }

  const probe = Effect.fnUntraced(function*(queue: Queue.Dequeue<Notification, SqlError.SqlError>) {
    const payload = `probe ${yield* Random.nextInt}`
    yield* client.notify("truss", payload)
    return yield* Queue.take(queue).pipe(
      Effect.repeat({ until: (notification) => notification.payload === payload }),
      Effect.as(true),
      Effect.timeoutOrElse({ duration: "3 seconds", orElse: () => Effect.succeed(false) })
    )
  })

  const well = (mode: "notify" | "poll") =>
    Effect.suspend(() => {
      failures = 0
      return health.set({ listener: null, mode })
    })

  const connected: Effect.Effect<never, SqlError.SqlError, Scope.Scope> = Effect.gen(function*() {
    if (options.listen === "off") {
      yield* well("poll")
      return yield* poll
    }
    const queue = yield* client.listen("truss")
    if (!(yield* probe(queue))) {
      yield* Effect.logWarning(
        "notifications do not come through (a transaction pooler?): polling. DATABASE_LISTEN_URL takes a direct connection"
      )
      yield* well("poll")
      return yield* poll
    }
    yield* well("notify")
    yield* Effect.logInfo("listening for changes")
    return yield* listen(queue)
  })

  return yield* Effect.scoped(connected).pipe(
    Effect.catch(Effect.fnUntraced(function*(error) {
      // After a crash PostgreSQL gives numbers of transactions again that the snapshot has as seen.
      seen = undefined
      yield* health.set({ listener: `lost its connection: ${error.reason.message}` })
      yield* Effect.logWarning("the listener lost its connection and connects again", error.reason.message)
      yield* Effect.sleep(Math.min(firstPause * 2 ** failures++, longestPause))
    })),
    Effect.forever,
    // Nobody listens any more: writers need not ring.
    Effect.ensuring(Effect.ignore(feed.askForQuiet))
  )
})
