import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Schedule, type Scope } from "effect"
import { listenSinkUrl } from "../domain/ListenSink.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import { Actor, ownActor } from "./Audit.ts"
import { Webhooks } from "./Webhooks.ts"

/** How often whoever follows the log of a temporary webhook is noted. */
const noteEvery = "20 seconds"

/**
 * Notes, until the scope ends, that the log of this webhook is followed, if it is a temporary one. `enabled_at`, which
 * otherwise tells since when an endpoint may fail, is when that was seen last: such a webhook never fails.
 */
export const noteFollower = (sql: PgClient.PgClient, id: WebhookId): Effect.Effect<void, never, Scope.Scope> =>
  sql`UPDATE truss.webhooks SET enabled_at = clock_timestamp()
    WHERE id = ${id}::text::uuid AND starts_with(url, ${listenSinkUrl}) RETURNING id`.pipe(
    Effect.map((rows) => rows.length > 0),
    Effect.orElseSucceed(() => true),
    Effect.repeat({ while: (isTemporary) => isTemporary, schedule: Schedule.spaced(noteEvery) }),
    Effect.forkScoped,
    Effect.asVoid
  )

const defaultForgetAfterMs = 600_000

/**
 * The temporary webhooks of `truss-webhooks listen`. One lives as long as somebody follows its log, on whatever process,
 * and some time longer: a command that was killed leaves it behind.
 */
export class ListenSinks extends Context.Service<ListenSinks, {
  /** Deletes what nobody has followed for long, as long as the scope; a start counts as having been seen. */
  readonly sweep: Effect.Effect<void, never, Scope.Scope>
}>()("truss/services/ListenSinks") {
  static readonly layer = (options?: { readonly forgetAfterMs?: number | undefined }) =>
    Layer.effect(
      ListenSinks,
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const webhooks = yield* Webhooks
        const forgetAfterMs = options?.forgetAfterMs ?? defaultForgetAfterMs

        const forgotten = sql<{ id: WebhookId }>`
          SELECT id::text AS id FROM truss.webhooks
          WHERE starts_with(url, ${listenSinkUrl})
            AND enabled_at < clock_timestamp() - ${forgetAfterMs}::float8 * interval '1 millisecond'`

        const forget = Effect.gen(function*() {
          for (const { id } of yield* forgotten) {
            yield* webhooks.remove(id).pipe(
              Effect.provideService(Actor, ownActor),
              Effect.andThen(Effect.logInfo("deleted a webhook of truss-webhooks listen that nobody follows", { id })),
              Effect.ignore({ log: "Debug" })
            )
          }
        })

        const sweep = forget.pipe(
          Effect.ignore({ log: "Debug" }),
          Effect.delay(Math.min(60_000, forgetAfterMs)),
          Effect.forever,
          Effect.delay(forgetAfterMs),
          Effect.forkScoped,
          Effect.asVoid
        )

        return ListenSinks.of({ sweep })
      })
    )
}
