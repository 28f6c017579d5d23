import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Latch, Stream } from "effect"
import { encodeAttemptId } from "../../src/domain/AttemptRef.ts"
import type { WebhookId } from "../../src/domain/Webhook.ts"
import { Cursors } from "../../src/services/Cursors.ts"
import { deliveryOutcomes } from "../../src/services/DeliveryOutcomes.ts"
import type { StoredEvent } from "../../src/services/EventPageQuery.ts"
import { LogTails } from "../../src/services/LogTails.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { attempted, eventsOf, installed } from "../support/Installed.ts"
import { layerInstalled, run } from "../support/RunningService.ts"

const count = 4000
const firstNonce = 1_000_000
const nonces = Array.from({ length: count }, (_, i) => firstNonce + i)

/** Writes as many attempts as a busy webhook does in a second. */
const flood = Effect.fnUntraced(function*(id: WebhookId, { ref }: StoredEvent) {
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

      // Whoever has had some entries and waits for the next one is given what the webhook's one reader finds.
      const primes = yield* Effect.all(Array.from({ length: 5 }, () => Deferred.make<void>()))
      const gate = yield* Latch.make(false)
      const seen: Array<string> = []
      const slow = yield* deliveryOutcomes(id, { after }).pipe(
        Stream.take(primes.length + count),
        Stream.runForEach((entry) =>
          Effect.suspend(() => {
            const index = seen.push(entry.id) - 1
            if (index < primes.length) Deferred.doneUnsafe(primes[index]!, Effect.void)
            return index === primes.length - 1 ? gate.await : Effect.void
          })
        ),
        Effect.provideService(LogTails, counting),
        Effect.forkChild
      )
      const expected: Array<string> = []
      for (const prime of primes) {
        expected.push(idOf(yield* attempted(id, first, "success")))
        yield* Deferred.await(prime)
      }
      const quick = yield* deliveryOutcomes(id, { after: expected.at(-1) }).pipe(
        Stream.take(count),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* flood(id, event!)
      expected.push(...nonces.map(idOf))
      assert.deepStrictEqual((yield* Fiber.join(quick)).map((entry) => entry.id), expected.slice(primes.length))
      yield* gate.open
      yield* Fiber.join(slow)
      assert.deepStrictEqual(seen, expected)
      // It was dropped and came back, unless it was still reading by itself when the flood began.
      assert.isAtLeast(opened, 1)
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
