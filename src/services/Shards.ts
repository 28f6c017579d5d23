import { PgClient } from "@effect/sql-pg"
import { Effect, type Latch, Layer } from "effect"
import { ClusterError, RunnerStorage } from "effect/cluster"
import type { SqlError } from "effect/sql"
import { plain } from "./PgArray.ts"

/** What a runner holds in the database, as far as it knows. */
export interface HeldShards {
  readonly shards: Set<string>
  /** Opened whenever shards were added. */
  readonly added: Latch.Latch
}

/** For shards that others are about to release: for the first, for another one, and between two looks. */
const waitMs = 1_500
const quietMs = 250
const pauseMs = 50

const asPersistence = <A>(effect: Effect.Effect<A, SqlError.SqlError>) =>
  Effect.mapError(effect, (cause) => new ClusterError.PersistenceError({ cause }))

const storage = Effect.fnUntraced(function*(id: string, held: HeldShards) {
  const sql = yield* PgClient.PgClient

  const getRunners = sql<{ runner: string; healthy: boolean }>`
    SELECT DISTINCT ON (address) runner, healthy FROM truss.cluster_runners
    WHERE runner IS NOT NULL AND NOT leaving ORDER BY address, joined_at DESC`

  const register = (runner: string, healthy: boolean) =>
    sql<{ machine: number }>`
      UPDATE truss.cluster_runners SET runner = ${runner}, healthy = ${healthy} WHERE id = ${id}::text::uuid
      RETURNING machine`

  const unregister = sql`UPDATE truss.cluster_runners SET leaving = true WHERE id = ${id}::text::uuid`

  const setHealth = (address: string, healthy: boolean) =>
    sql`UPDATE truss.cluster_runners SET healthy = ${healthy} WHERE address = ${address}`

  const take = (shards: string) =>
    sql`
      INSERT INTO truss.cluster_shards (shard, runner)
      SELECT s, r.id FROM unnest(${shards}::text::text[]) s, truss.cluster_runners r
      WHERE r.id = ${id}::text::uuid ORDER BY s
      ON CONFLICT (shard) DO NOTHING`

  const own = sql<{ shard: string }>`SELECT shard FROM truss.cluster_shards WHERE runner = ${id}::text::uuid`

  const ownOf = (shards: string) =>
    sql<{ shard: string }>`
      SELECT shard FROM truss.cluster_shards
      WHERE runner = ${id}::text::uuid AND shard = ANY (${shards}::text::text[])`

  // Not flushed: a crash of PostgreSQL before somebody has taken the shard gives it back, and who takes it flushes both.
  const unflushed = sql`WITH s AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))`

  const release = (shard: string) =>
    sql`${unflushed} DELETE FROM truss.cluster_shards USING s WHERE shard = ${shard} AND runner = ${id}::text::uuid`

  const releaseAll = sql`${unflushed} DELETE FROM truss.cluster_shards USING s WHERE runner = ${id}::text::uuid`

  // The engine asks again only after a second: what is being handed over is waited for.
  const acquire = Effect.fnUntraced(function*(asked: ReadonlyArray<string>) {
    const shards = plain(asked)
    let until = performance.now() + waitMs
    let count = 0
    while (true) {
      yield* take(shards)
      const acquired = yield* ownOf(shards)
      if (acquired.length === asked.length || performance.now() > until) {
        for (const { shard } of acquired) held.shards.add(shard)
        if (acquired.length > 0) held.added.openUnsafe()
        return acquired.map(({ shard }) => shard)
      }
      if (acquired.length > count) until = performance.now() + quietMs
      count = acquired.length
      yield* Effect.sleep(pauseMs)
    }
  })

  return RunnerStorage.makeEncoded({
    // Of two at one address the later one listens there.
    getRunners: asPersistence(
      Effect.map(getRunners, (rows) => rows.map(({ healthy, runner }) => [runner, healthy] as const))
    ),
    register: (_address, runner, healthy) =>
      asPersistence(Effect.map(register(runner, healthy), ([row]) => row?.machine ?? 0)),
    // Its row stays, and with it the shards, until its entities have ended.
    unregister: () => asPersistence(Effect.asVoid(unregister)),
    setRunnerHealth: (address, healthy) => asPersistence(Effect.asVoid(setHealth(address, healthy))),
    acquire: (_address, shards) => asPersistence(acquire(shards)),
    // Asked for in case that a crash of PostgreSQL has taken back what was not flushed. One that is away says nothing.
    refresh: (_address, shards) =>
      own.pipe(
        Effect.timeout("2 seconds"),
        Effect.match({ onFailure: () => shards, onSuccess: (rows) => rows.map(({ shard }) => shard) })
      ),
    release: (_address, shard) =>
      asPersistence(Effect.andThen(release(shard), Effect.sync(() => void held.shards.delete(shard)))),
    releaseAll: () => asPersistence(Effect.andThen(releaseAll, Effect.sync(() => held.shards.clear())))
  })
})

/**
 * Effect Cluster's storage of runners on our own tables. A shard belongs to a runner's life, `id`, not to its address,
 * and as long as that life lasts (`listener/RunnerLease.ts`) nobody else can take it: no lock has to be refreshed, and
 * a database that is away takes nothing from anyone.
 */
export const layerShards = (id: string, held: HeldShards) =>
  Layer.effect(RunnerStorage.RunnerStorage, storage(id, held))
