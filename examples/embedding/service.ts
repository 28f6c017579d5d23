import { NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { layerService, parseEncryptionKeys } from "truss-webhooks"

/** What `truss-webhooks serve` runs, as a layer beside the program's others. */
const Truss = Layer.unwrap(Effect.gen(function*() {
  const encryptionKeys = parseEncryptionKeys(yield* Config.String("TRUSS_ENCRYPTION_KEY"))
  if (encryptionKeys === undefined) return yield* Effect.die("TRUSS_ENCRYPTION_KEY must be 32 bytes in base64")
  return layerService({
    database: { url: yield* Config.Redacted("DATABASE_URL") },
    http: { host: "127.0.0.1", port: yield* Config.Port("PORT").pipe(Config.withDefault(8787)), auth: "open" },
    encryptionKeys,
    concurrency: 256,
    retentionDays: 7,
    maxPayload: 1_048_576,
    listen: "auto"
  })
}))

Truss.pipe(Layer.launch, NodeRuntime.runMain)
