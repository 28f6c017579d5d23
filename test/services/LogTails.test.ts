import { assert, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { defaults } from "../../src/domain/Webhook.ts"
import { LogTails, type TailLimits } from "../../src/services/LogTails.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { Application, layerInstalled, until } from "../support/RunningService.ts"

const webhook = Effect.fnUntraced(function*(table: string) {
  const sql = yield* Application
  const webhooks = yield* Webhooks
  yield* sql.unsafe(`CREATE TABLE IF NOT EXISTS ${table} (id int)`)
  const input = { ...defaults, name: table, table_name: table, events: ["INSERT"] as const, url: "http://localhost" }
  return (yield* webhooks.create(input)).id
})

/** An entry in the log of a webhook, as its session would write it. */
const entry = Effect.fnUntraced(function*(id: string, n: number) {
  const sql = yield* Application
  yield* sql.unsafe(
    `INSERT INTO truss.attempts (nonce, event_seq, event_at, created_at, webhook_id, table_id, latency_ms, event_type,
      outcome, slot, event_slot, attempt)
    SELECT ${n}, ${n}, now(), now(), w.id, w.table_id, 1, 'INSERT', 'success', s.slot, s.slot, 1
    FROM truss.webhooks w, (SELECT max(slot) AS slot FROM truss.slots) s WHERE w.id = '${id}'`
  )
})

const tails = (limits: Partial<TailLimits>) =>
  Effect.map(Layer.build(Layer.fresh(LogTails.layerWith(limits))), (context) => Context.get(context, LogTails))

const detailOf = (error: { readonly _tag: string; readonly detail?: string }) =>
  error._tag === "TooManySubscribers" ? String(error.detail) : error._tag

it.layer(layerInstalled(), { excludeTestServices: true })("those who follow logs", (it) => {
  it.effect("are so many at most for a webhook, and so many for the process", () =>
    Effect.gen(function*() {
      const [first, second] = [yield* webhook("bounded_1"), yield* webhook("bounded_2")]
      const { open } = yield* tails({ perWebhook: 2, perProcess: 3 })
      const leaving = yield* Scope.make()
      yield* Scope.provide(open(first, undefined), leaving)
      yield* open(first, undefined)
      const third = yield* Effect.flip(open(first, undefined))
      assert.match(detailOf(third), /^2 clients follow this log/)
      yield* open(second, undefined)
      const fourth = yield* Effect.flip(open(second, undefined))
      assert.match(detailOf(fourth), /^3 clients follow logs/)
      yield* Scope.close(leaving, Exit.void)
      yield* open(second, undefined)
    }).pipe(Effect.scoped))

  it.effect("lose their place and what waits for them when they stay away, and keep it while they wait", () =>
    Effect.gen(function*() {
      const id = yield* webhook("away")
      const { open } = yield* tails({ perWebhook: 2, awayMs: 500 })
      const gone = yield* open(id, undefined)
      const here = yield* open(id, undefined)
      const waiting = yield* Effect.forkChild(here.ready)
      yield* entry(id, 1)
      yield* Fiber.join(waiting)
      assert.strictEqual(here.take().length, 1)
      const next = yield* Effect.forkChild(here.ready)
      yield* until("a place", Effect.exit(Effect.scoped(open(id, undefined))), Exit.isSuccess)
      assert.strictEqual(gone.take(), "ended")
      yield* entry(id, 2)
      yield* Fiber.join(next)
      assert.strictEqual(here.take().length, 1)
    }).pipe(Effect.scoped))

  it.effect("are let go when the service stops, whoever comes then at once", () =>
    Effect.gen(function*() {
      const id = yield* webhook("stopping")
      const { end, open } = yield* tails({})
      const before = yield* open(id, undefined)
      yield* end
      const after = yield* open(id, undefined)
      for (const tail of [before, after]) {
        yield* tail.ready
        assert.strictEqual(tail.take(), "ended")
      }
    }).pipe(Effect.scoped))
})
