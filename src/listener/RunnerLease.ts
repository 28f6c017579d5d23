import { Deferred, Effect, Latch, Schedule } from "effect"
import { randomUUID } from "node:crypto"
import { ListenClient } from "../services/Database.ts"
import { dispatcherLock } from "../services/DispatcherLock.ts"
import {
  askEvery,
  beatEvery,
  challenger,
  isHeard,
  lostBeatsMs,
  mayStartForMs,
  outwaitHolder,
  patience,
  queryOn,
  reasonOfLoss
} from "./Leadership.ts"
import { moment, Permits } from "./Permits.ts"

/** How a runner is to be found. */
export interface RunnerLeaseOptions {
  /** Host and port that other runners reach it at. */
  readonly address: string
  /** Host and port of its API. */
  readonly apiAddress: string
  readonly startedAt: Date
}

/** The life of this process as a runner: while it lasts, nobody else takes over what it holds. */
export interface RunnerLease {
  readonly id: string
  /** Waits until it is over: other runners have, or may have, what this one held. */
  readonly lost: Effect.Effect<void>
}

// Shared among runners, refused to processes without a cluster, which take it for themselves.
const tryShare = `SELECT pg_try_advisory_lock_shared(${dispatcherLock}) AS shared`
const unshare = `SELECT pg_advisory_unlock_shared(${dispatcherLock})`

const enter = `INSERT INTO truss.cluster_runners (id, address, api_address, started_at)
  VALUES ($1::uuid, $2, $3, $4::timestamptz) ON CONFLICT DO NOTHING`

const beat = "UPDATE truss.cluster_runners SET beat = clock_timestamp() WHERE id = $1::uuid RETURNING 1 AS alive"

// With each of them goes what it held. One that beats at this moment is waited for, and then it is not silent.
const bury = `DELETE FROM truss.cluster_runners WHERE NOT ${isHeard} AND id <> $1::uuid RETURNING address`

const leave = "DELETE FROM truss.cluster_runners WHERE id = $1::uuid"

/** After its database was away, a runner gives the others so long to be heard again before it buries any. */
const mourningMs = mayStartForMs + lostBeatsMs + 1_000

/**
 * Makes this process a runner of the cluster, until the scope ends or the lease is lost. A runner says every second
 * that it lives. Whoever finds it silent for 5 s by the database's clock removes its row, and with it what it held:
 * nothing else takes anything from a runner. Attempts start only for 4 s after a heartbeat was sent that found the row
 * there, so a runner that is frozen or cut off has stopped before another one can begin. A removed row is never made
 * again: the process begins a new life under another id, holding nothing.
 */
export const runnerLease = Effect.fnUntraced(function*(options: RunnerLeaseOptions) {
  const client = yield* ListenClient
  const permits = yield* Permits
  const id = randomUUID()
  const entered = yield* Latch.make(false)
  const lost = yield* Deferred.make<void>()
  let isEntered = false
  let leaving = false

  const live = Effect.scoped(Effect.gen(function*() {
    const connection = yield* client.reserve
    const query = queryOn(connection)
    const timely = <A>(text: string, parameters: ReadonlyArray<unknown> = []) =>
      Effect.timeout(query<A>(text, parameters), patience)
    const challenge = challenger(query)
    while (true) {
      const [row] = yield* timely<{ shared: boolean }>(tryShare)
      if (row?.shared === true) break
      // A process without a cluster delivers: it has buried us, or will wait until we are silent.
      if (isEntered) {
        permits.halt()
        return yield* Deferred.succeed(lost, undefined)
      }
      yield* challenge
      yield* Effect.sleep(askEvery)
    }
    // The connection may go back to its pool alive.
    yield* Effect.addFinalizer(() =>
      Effect.ignore(
        Effect.timeout(Effect.andThen(leaving ? query(leave, [id]) : Effect.void, query(unshare)), "2 seconds")
      )
    )
    if (!isEntered) {
      yield* outwaitHolder(query)
      yield* timely(enter, [id, options.address, options.apiAddress, options.startedAt.toISOString()])
      isEntered = true
    }
    let since = performance.now()
    while (true) {
      const sent = moment()
      // A crash of PostgreSQL may take the latest heartbeats back; `lostBeatsMs` is for those.
      yield* query("SET synchronous_commit = off")
      const [mine] = yield* timely<{ alive: number }>(beat, [id])
      yield* query("RESET synchronous_commit")
      if (performance.now() - sent.monotonic > 1_000) since = performance.now()
      if (mine === undefined) {
        permits.halt()
        return yield* Deferred.succeed(lost, undefined)
      }
      permits.right = (shard) => ({ runner: id, shard })
      permits.extend(sent, mayStartForMs)
      entered.openUnsafe()
      if (performance.now() - since > mourningMs) {
        for (const { address } of yield* timely<{ address: string }>(bury, [id])) {
          yield* Effect.logWarning("a runner was silent for too long: others take over what it held", { address })
        }
      }
      yield* Effect.sleep(beatEvery)
    }
  }))

  yield* live.pipe(
    Effect.tapError((error) =>
      Effect.logDebug("the connection that the runner lives by was lost", reasonOfLoss(error))
    ),
    Effect.retry(Schedule.spaced("200 millis")),
    Effect.orDie,
    Effect.forkScoped
  )
  yield* Effect.addFinalizer(() => Effect.sync(() => void (leaving = true)))
  yield* entered.await
  return { id, lost: Deferred.await(lost) } satisfies RunnerLease
})
