import { PgClient } from "@effect/sql-pg"
import { Effect, Latch, Schedule } from "effect"
import type { SqlError } from "effect/sql"

/** Pause between attempts to take the place, and between proofs that it is still held. */
const pause = "1 second"

/** Whether this process is the one that delivers. */
export interface Leadership {
  /** Waits until it is. */
  readonly held: Effect.Effect<void>
  /** Waits until another process is. */
  readonly lost: Effect.Effect<void>
}

/**
 * One process on a database delivers; the others stand by. The place is a session's advisory lock, which PostgreSQL
 * frees when the session ends however it ends. A lost connection alone loses nothing: the lock is taken again on the
 * next one, and only if another process was faster the place is lost. Whatever it then still does, its epochs are old.
 */
export const leadership = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const held = yield* Latch.make(false)
  const lost = yield* Latch.make(false)

  const hold: Effect.Effect<void, SqlError.SqlError> = Effect.scoped(Effect.gen(function*() {
    const connection = yield* sql.reserve
    const query = (text: string) => connection.executeUnprepared(text, [], undefined)
    while (true) {
      const [row] = yield* query("SELECT pg_try_advisory_lock(hashtext('truss.dispatcher')) AS held")
      if ((row as { held?: boolean } | undefined)?.held === true) break
      held.closeUnsafe()
      lost.openUnsafe()
      yield* Effect.sleep(pause)
    }
    lost.closeUnsafe()
    held.openUnsafe()
    yield* Effect.repeat(query("SELECT 1"), Schedule.spaced(pause))
  }))

  yield* hold.pipe(
    Effect.tapError((error) => Effect.logDebug("the connection that holds the place was lost", error.reason.message)),
    Effect.retry(Schedule.spaced("200 millis")),
    Effect.orDie,
    Effect.forkScoped
  )
  return { held: held.await, lost: lost.await } satisfies Leadership
})
