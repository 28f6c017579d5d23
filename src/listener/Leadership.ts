import { Effect, Latch, Schedule } from "effect"
import { type SqlConnection, SqlError } from "effect/sql"
import { ListenClient, reasonOf, sqlState } from "../services/Database.ts"
import { dispatcherLock, dispatcherSession } from "../services/DispatcherLock.ts"
import { moment, Permits } from "./Permits.ts"
import { hasEnded, ownIdentity } from "./ProcessIdentity.ts"

/** Pause between a standby's attempts to take the place: after a stop it is taken within that. */
export const askEvery = "250 millis"

/** Pause between heartbeats of whoever holds the place. */
export const beatEvery = "1 second"

/** How long after a heartbeat was sent attempts may start. */
export const mayStartForMs = 4_000

/** Heartbeats that PostgreSQL may forget when it crashes. */
export const lostBeatsMs = 1_000

/** Without a heartbeat for so long, the holder's session is ended: longer than attempts may start after one. */
const silentSeconds = 6

/** A heartbeat that takes longer is given up together with its connection. */
export const patience = "10 seconds"

/** Whether this process is the one that delivers. */
export interface Leadership {
  /** Waits until it is. */
  readonly held: Effect.Effect<void>
  /** Waits until another process is. */
  readonly lost: Effect.Effect<void>
}

/** A runner of a cluster that was silent for less may be sending. */
export const isHeard = `beat > clock_timestamp() - interval '${(mayStartForMs + lostBeatsMs) / 1000} seconds'`

// The runners of a cluster share the lock; one that has lost its session for a moment has a heartbeat.
const tryLock = `SELECT pg_backend_pid() AS pid,
  CASE WHEN EXISTS (SELECT FROM truss.cluster_runners WHERE ${isHeard}) THEN false
    ELSE pg_try_advisory_lock(${dispatcherLock}) END AS held`

/** Removes the runners that were silent for too long, and what they held; says whether any is left. */
const dissolve = `WITH silent AS (DELETE FROM truss.cluster_runners WHERE NOT ${isHeard} RETURNING id)
  SELECT EXISTS (SELECT FROM truss.cluster_runners WHERE id NOT IN (SELECT id FROM silent)) AS left`

const unlock = `SELECT pg_advisory_unlock(${dispatcherLock})`

const beat = `INSERT INTO truss.leader (holder, pid, beat) VALUES ($1, pg_backend_pid(), clock_timestamp())
  ON CONFLICT (single) DO UPDATE SET holder = excluded.holder, pid = excluded.pid, beat = excluded.beat,
    released = false`

const release = "UPDATE truss.leader SET released = true WHERE pid = pg_backend_pid()"

const previous = `SELECT holder, released, extract(epoch FROM clock_timestamp() - beat)::float8 AS silent
  FROM truss.leader`

/** The session that holds the lock, and the seconds since its heartbeat: null before its first one. */
const holder = `
  SELECT l.pid, extract(epoch FROM clock_timestamp() - b.beat)::float8 AS silent
  FROM (${dispatcherSession}) l LEFT JOIN truss.leader b ON b.pid = l.pid`

interface Previous {
  readonly holder: string
  readonly released: boolean
  readonly silent: number
}

interface Holder {
  readonly pid: number
  readonly silent: number | null
}

/** A statement on the session that holds, or asks for, the place. */
export type Query = <A>(
  text: string,
  parameters?: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<A>, SqlError.SqlError>

/** Statements on one connection. */
export const queryOn = (connection: SqlConnection.Connection): Query => (text, parameters = []) =>
  connection.executeUnprepared(text, parameters, undefined) as ReturnType<Query> as never

/** Ends the session of a holder that is silent; one that never said anything has the same time from now on. */
export const challenger = (query: Query) => {
  let asked: { readonly pid: number; readonly since: number } | undefined = undefined
  let ended: number | undefined = undefined
  const end = Effect.fnUntraced(function*(pid: number) {
    const refused = yield* query("SELECT pg_terminate_backend($1)", [pid]).pipe(
      Effect.as(undefined),
      Effect.catchIf((error) => sqlState(error) === "42501", (error) => Effect.succeed(reasonOf(error)))
    )
    if (ended === pid) return
    ended = pid
    yield* refused === undefined
      ? Effect.logWarning("the process that delivers was silent for too long: its session is ended", { pid })
      : Effect.logError("the process that delivers is silent, and its session cannot be ended", { pid, refused })
  })
  return Effect.gen(function*() {
    const [found] = yield* query<Holder>(holder)
    const now = performance.now()
    if (found === undefined) return
    if (asked?.pid !== found.pid) asked = { pid: found.pid, since: now }
    if ((found.silent ?? (now - asked.since) / 1000) > silentSeconds) yield* end(found.pid)
  })
}

/** Waits until an earlier holder, who may be cut off from the database and not know, starts nothing any more. */
export const outwaitHolder = Effect.fnUntraced(function*(query: Query) {
  const [before] = yield* query<Previous>(previous)
  if (before !== undefined && !before.released && before.holder !== ownIdentity && !hasEnded(before.holder)) {
    yield* Effect.sleep(Math.max(0, mayStartForMs + lostBeatsMs - before.silent * 1000))
  }
})

/**
 * One process on a database delivers; the others stand by. The place is a session's advisory lock, which PostgreSQL
 * frees when the session ends however it ends. A process that is frozen keeps its session: whoever holds the place says
 * every second that it lives, and a standby ends the session of one that has been silent too long.
 *
 * Attempts start only for some seconds after each heartbeat, so that a process which wakes up after it was replaced
 * sends nothing more; what it writes is fenced by the epochs. A lost connection alone loses nothing: the lock is taken
 * again on the next one, and only if another process was faster the place is lost.
 */
export const leadership = Effect.gen(function*() {
  const client = yield* ListenClient
  const permits = yield* Permits
  const held = yield* Latch.make(false)
  const lost = yield* Latch.make(false)

  const hold = Effect.scoped(Effect.gen(function*() {
    const connection = yield* client.reserve
    const query = queryOn(connection)
    let mine = false
    // The connection may go back to its pool alive.
    yield* Effect.addFinalizer(() => mine ? Effect.ignore(Effect.andThen(query(release), query(unlock))) : Effect.void)
    // A crash of PostgreSQL may take the latest heartbeats back; `lostBeatsMs` is for those.
    yield* query("SET synchronous_commit = off")
    const sayAlive = Effect.suspend(() => {
      const sent = moment()
      return Effect.map(Effect.timeout(query(beat, [ownIdentity]), patience), () => permits.extend(sent, mayStartForMs))
    })
    const challenge = challenger(query)

    while (true) {
      const [row] = yield* query<{ held: boolean; pid: number }>(tryLock)
      if (row?.held === true) {
        const [runners] = yield* query<{ left: boolean }>(dissolve)
        if (runners?.left === false) {
          permits.right = () => ({ pid: row.pid })
          break
        }
        yield* query(unlock)
      }
      held.closeUnsafe()
      lost.openUnsafe()
      yield* challenge
      yield* Effect.sleep(askEvery)
    }
    mine = true
    yield* outwaitHolder(query)
    yield* sayAlive
    lost.closeUnsafe()
    held.openUnsafe()
    return yield* Effect.forever(Effect.delay(sayAlive, beatEvery))
  }))

  yield* hold.pipe(
    // Another process may have the place by the time that this one can ask again.
    Effect.tapError((error) =>
      Effect.andThen(
        Effect.sync(() => permits.halt()),
        Effect.logDebug("the connection that holds the place was lost", reasonOfLoss(error))
      )
    ),
    Effect.retry(Schedule.spaced("200 millis")),
    Effect.orDie,
    Effect.forkScoped
  )
  return { held: held.await, lost: lost.await } satisfies Leadership
})

/** What is said in the log of a connection that was lost. */
export const reasonOfLoss = (error: { readonly message: string }) =>
  SqlError.isSqlError(error) ? reasonOf(error) : error.message
