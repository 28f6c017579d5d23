import { PgClient } from "@effect/sql-pg"
import { Effect, type Latch, Layer } from "effect"
import { ClusterError, RunnerStorage } from "effect/cluster"
import type { SqlError } from "effect/sql"
import { plain } from "./PgArray.ts"

/** What a runner holds in the database, as far as it knows. */
export interface HeldShards {
  readonly shards: ReadonlySet<string>
  /** Opened whenever shards were added. */
  readonly added: Latch.Latch
}

const asPersistence = <A>(effect: Effect.Effect<A, SqlError.SqlError>) =>
  Effect.mapError(effect, (cause) => new ClusterError.PersistenceError({ cause }))

/**
 * Effect Cluster's storage of runners on our own tables. A shard belongs to a runner's life, `id`, not to its address,
 * and as long as that life lasts (`listener/RunnerLease.ts`) nobody else can take it: no lock has to be refreshed, and
 * a database that is away takes nothing from anyone.
 */
export const makeShardStorage = Effect.fnUntraced(
  function*(id: string, held: { shards: Set<string>; added: Latch.Latch }) {
    const sql = yield* PgClient.PgClient

    const forget = (shards: Iterable<string>) =>
      Effect.sync(() => {
        for (const shard of shards) held.shards.delete(shard)
      })

    return RunnerStorage.makeEncoded({
      // Of two at one address the later one listens there.
      getRunners: asPersistence(Effect.map(
        sql<{ runner: string; healthy: boolean }>`
        SELECT DISTINCT ON (address) runner, healthy FROM truss.cluster_runners
        WHERE runner IS NOT NULL AND NOT leaving ORDER BY address, joined_at DESC`,
        (rows) => rows.map(({ healthy, runner }) => [runner, healthy] as const)
      )),

      register: (_address, runner, healthy) =>
        asPersistence(Effect.map(
          sql<{ machine: number }>`
          UPDATE truss.cluster_runners SET runner = ${runner}, healthy = ${healthy} WHERE id = ${id}::text::uuid
          RETURNING machine`,
          (rows) => rows[0]?.machine ?? 0
        )),

      // Its row stays, and with it the shards, until its entities have ended.
      unregister: () =>
        asPersistence(Effect.asVoid(
          sql`UPDATE truss.cluster_runners SET leaving = true WHERE id = ${id}::text::uuid`
        )),

      setRunnerHealth: (address, healthy) =>
        asPersistence(Effect.asVoid(
          sql`UPDATE truss.cluster_runners SET healthy = ${healthy} WHERE address = ${address}`
        )),

      acquire: (_address, shards) =>
        asPersistence(Effect.gen(function*() {
          yield* sql`
          INSERT INTO truss.cluster_shards (shard, runner)
          SELECT s, r.id FROM unnest(${plain(shards)}::text::text[]) s, truss.cluster_runners r
          WHERE r.id = ${id}::text::uuid ORDER BY s
          ON CONFLICT (shard) DO NOTHING`
          const acquired = yield* sql<{ shard: string }>`
          SELECT shard FROM truss.cluster_shards
          WHERE runner = ${id}::text::uuid AND shard = ANY (${plain(shards)}::text::text[])`
          for (const { shard } of acquired) held.shards.add(shard)
          if (acquired.length > 0) held.added.openUnsafe()
          return acquired.map(({ shard }) => shard)
        })),

      // Asked for in case that a crash of PostgreSQL has taken back what was not flushed. One that is away says nothing.
      refresh: (_address, shards) =>
        sql<{ shard: string }>`SELECT shard FROM truss.cluster_shards WHERE runner = ${id}::text::uuid`.pipe(
          Effect.timeout("2 seconds"),
          Effect.match({ onFailure: () => shards, onSuccess: (rows) => rows.map(({ shard }) => shard) })
        ),

      release: (_address, shard) =>
        asPersistence(Effect.andThen(
          sql`DELETE FROM truss.cluster_shards WHERE shard = ${shard} AND runner = ${id}::text::uuid`,
          forget([shard])
        )),

      releaseAll: () =>
        asPersistence(Effect.andThen(
          sql`DELETE FROM truss.cluster_shards WHERE runner = ${id}::text::uuid`,
          Effect.suspend(() => forget([...held.shards]))
        ))
    })
  }
)

/** The storage of the runner whose life is `id`. */
export const layerShards = (id: string, held: { shards: Set<string>; added: Latch.Latch }) =>
  Layer.effect(RunnerStorage.RunnerStorage, makeShardStorage(id, held))
