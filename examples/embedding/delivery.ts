import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Stream } from "effect"
import { deliveryOutcomes, layerDeliveryBeside, parseEgressAllow, parseEncryptionKeys, Registrar } from "truss-webhooks"

const Truss = Layer.unwrap(Effect.gen(function*() {
  const encryptionKeys = parseEncryptionKeys(yield* Config.String("TRUSS_ENCRYPTION_KEY"))
  if (encryptionKeys === undefined) return yield* Effect.die("TRUSS_ENCRYPTION_KEY must be 32 bytes in base64")
  // Only for endpoints on private networks.
  const allow = parseEgressAllow(yield* Config.String("EGRESS_ALLOW").pipe(Config.withDefault("none")))
  return layerDeliveryBeside({ encryptionKeys, egress: { allow } })
}))

/** The program's own client: Truss Webhooks goes where it goes, by connections of its own. */
const Database = PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") })

const program = Effect.gen(function*() {
  const registrar = yield* Registrar
  const webhook = yield* registrar.register({
    name: "new orders",
    table_name: "orders",
    events: ["INSERT"],
    url: yield* Config.String("ENDPOINT"),
    secret: yield* Config.String("SECRET")
  })
  yield* Effect.log("ready", webhook.id)
  yield* Stream.runForEach(
    deliveryOutcomes(webhook.id),
    ({ attempt, event_type, outcome, status_code }) => Effect.log(event_type, "attempt", attempt, outcome, status_code)
  )
})

program.pipe(Effect.provide(Truss), Effect.provide(Database), NodeRuntime.runMain)
