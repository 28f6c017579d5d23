/** What a page does with the typed client; bundled by the test. */
import { Effect } from "effect"
import { defaults, TrussClient } from "truss-webhooks/client"

const program = Effect.gen(function*() {
  const client = yield* TrussClient
  const made = yield* client.webhooks.create({
    payload: { ...defaults, name: "from a page", table_name: "orders", events: ["INSERT"], url: "http://127.0.0.1:1/" }
  })
  const { data } = yield* client.webhooks.list({ query: {} })
  const missing = yield* Effect.flip(client.webhooks.get({ params: { id: "nobody" } }))
  return { made: made.id, listed: data.map(({ id }) => id), missing: missing._tag }
})

Object.assign(globalThis, {
  answers: Effect.runPromise(Effect.provide(program, TrussClient.layer({ url: location.origin })))
})
