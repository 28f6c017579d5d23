import { Effect, FiberSet, Schedule } from "effect"
import { entityOf } from "../domain/Layout.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import { WebhookEntity } from "./WebhookActor.ts"

/** Tells webhooks' actors, wherever they run, that there may be something to do. Waits for nobody. */
export interface Messenger {
  readonly wake: (entity: string) => Effect.Effect<void>
  readonly reload: (entity: string) => Effect.Effect<void>
}

/** Tells each part of a webhook. */
export const toParts = (send: (entity: string) => Effect.Effect<void>, id: WebhookId, parts: number) =>
  Effect.forEach(Array.from({ length: parts }, (_, part) => entityOf(id, part)), send, { discard: true })

/** A runner that takes longer to answer is asked again, by then maybe at another address. */
const patience = "2 seconds"

/**
 * Messages to actors on any runner. A message says only that something has changed, so of those to one webhook at most
 * one is under way and one waits: a runner that does not answer holds up nobody else, and costs a fiber a webhook.
 */
export const clusterMessenger = Effect.gen(function*() {
  const actor = yield* WebhookEntity.client
  const fork = yield* FiberSet.runtime(yield* FiberSet.make<void>())<never>()

  const sender = (send: (entity: string) => Effect.Effect<void, unknown>) => {
    /** Whether something has changed since the message that is under way was sent. */
    const underWay = new Map<string, boolean>()
    const deliver = Effect.fnUntraced(function*(id: string) {
      do {
        underWay.set(id, false)
        yield* send(id).pipe(Effect.timeout(patience), Effect.retry(Schedule.spaced("100 millis")), Effect.orDie)
      } while (underWay.get(id) === true)
    }, (effect, id) => Effect.ensuring(effect, Effect.sync(() => underWay.delete(id))))
    return (id: string) =>
      Effect.sync(() => {
        if (underWay.has(id)) underWay.set(id, true)
        else {
          underWay.set(id, false)
          fork(deliver(id))
        }
      })
  }

  return {
    wake: sender((id) => actor(id).Wake(undefined, { discard: true })),
    reload: sender((id) => actor(id).Reload(undefined, { discard: true }))
  } satisfies Messenger
})
