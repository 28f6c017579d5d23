import { Config, Effect, Layer } from "effect"
import { TrussClient } from "truss-webhooks/client"

const Client = Layer.unwrap(Effect.gen(function*() {
  const url = yield* Config.String("TRUSS_URL").pipe(Config.withDefault("http://localhost:8787"))
  // Needed by every service but an open one on this machine.
  const apiKey = yield* Config.Redacted("TRUSS_API_KEY").pipe(Config.withDefault(undefined))
  return TrussClient.layer({ url, apiKey })
}))

const program = Effect.gen(function*() {
  const client = yield* TrussClient
  const { data } = yield* client.webhooks.list({ query: { active: true } })
  for (const { backlog, circuit, name } of data) console.log(name, circuit, backlog)
})

await Effect.runPromise(Effect.provide(program, Client))
