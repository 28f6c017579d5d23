import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Latch, Stream } from "effect"
import { encodeAttemptId } from "../../src/domain/AttemptRef.ts"
import type { WebhookId } from "../../src/domain/Webhook.ts"
import { Cursors } from "../../src/services/Cursors.ts"
import { deliveryOutcomes } from "../../src/services/DeliveryOutcomes.ts"
import type { StoredEvent } from "../../src/services/EventPageQuery.ts"
import { LogTails } from "../../src/services/LogTails.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { attempted, eventsOf, installed } from "../support/Installed.ts"
import { layerInstalled, run, until } from "../support/RunningService.ts"

const firstNonce = 1_000_000

/** More than may wait for a subscriber. */
const count = 1500

/** Writes as many attempts as a busy webhook does in less than a second. */
const flood = Effect.fnUntraced(function*(id: WebhookId, { ref }: StoredEvent, nonces: ReadonlyArray<number>) {
  const cursors = yield* Cursors
  const common = {
    ref,
    eventType: "INSERT",
    attempt: 1,
    createdAt: Date.now(),
    statusCode: 200,
    responseBody: null,
    latencyMs: 1,
    error: null,
    outcome: "success",
    nextAttemptAt: null,
    replayOf: null,
    wasDue: false,
    probe: false,
    keys: []
  } as const
  for (let from = 0; from < count; from += 500) {
    yield* cursors.append(id, nonces.slice(from, from + 500).map((nonce) => ({ ...common, nonce })))
  }
})

it.layer(layerInstalled(), { excludeTestServices: true })("the outcomes of deliveries", (it) => {
  it.effect("come without a gap to who is so slow that they were dropped meanwhile", () =>
    Effect.gen(function*() {
      const real = yield* LogTails
      let opened = 0
      const counting = LogTails.of({
        ...real,
        open: (...args) => {
          opened++
          return real.open(...args)
        }
      })
      const { id } = yield* installed("orders")
      yield* run("INSERT INTO orders VALUES (1, 'tea')")
      const [event] = yield* eventsOf("orders")
      const first = { ref: event!.ref, eventType: "INSERT" } as const
      const idOf = (nonce: number) => encodeAttemptId({ eventSeq: event!.ref.seq, nonce })
      const after = idOf(yield* attempted(id, first, "success"))

      // Only who has caught up is given what the webhook's one reader finds, and dropped when it does not take it: one
      // that was held while it still read for itself catches up, and is held again.
      const gate = yield* Latch.make(true)
      const seen: Array<string> = []
      const slow = yield* deliveryOutcomes(id, { after }).pipe(
        Stream.runForEach((entry) => Effect.andThen(Effect.sync(() => void seen.push(entry.id)), gate.await)),
        Effect.provideService(LogTails, counting),
        Effect.forkChild
      )
      const expected: Array<string> = []
      const sees = (length: number) => until(`${length} entries`, Effect.sync(() => seen.length), (n) => n === length)
      const round = Effect.fnUntraced(function*() {
        yield* gate.close
        expected.push(idOf(yield* attempted(id, first, "success")))
        yield* sees(expected.length)
        const quick = yield* deliveryOutcomes(id, { after: expected.at(-1) }).pipe(
          Stream.take(count),
          Stream.runCollect,
          Effect.forkChild
        )
        const nonces = Array.from({ length: count }, (_, i) => firstNonce + expected.length + i)
        yield* flood(id, event!, nonces)
        const ids = nonces.map(idOf)
        assert.deepStrictEqual((yield* Fiber.join(quick)).map((entry) => entry.id), ids)
        expected.push(...ids)
        yield* gate.open
        yield* sees(expected.length)
      })
      yield* until(
        "it to be dropped and to come back",
        Effect.andThen(round(), Effect.sync(() => opened)),
        (n) => n > 1
      )
      assert.deepStrictEqual(seen, expected)
      yield* Fiber.interrupt(slow)
    }))

  it.effect("end with the webhook, and are not there without one", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      const { id } = yield* installed("parcels")
      const following = yield* Effect.forkChild(Stream.runDrain(deliveryOutcomes(id)))
      yield* webhooks.remove(id)
      const exit = yield* Fiber.await(following)
      // It may be gone before anybody follows.
      assert.isTrue(exit._tag === "Success" || String(exit.cause).includes("WebhookNotFound"))
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(deliveryOutcomes(id))))._tag, "WebhookNotFound")
    }))
})
