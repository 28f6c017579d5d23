/** Hands each new order to a function of this program: no HTTP, the same guarantees. */
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer, Schema } from "effect"
import { layerDeliveryBeside, parseEncryptionKeys, subscribe } from "truss-webhooks"

const NewOrder = Schema.Struct({
  event: Schema.Literals(["INSERT", "TEST"]),
  row: Schema.Struct({ id: Schema.Int, note: Schema.NullOr(Schema.String) })
})

/** An event may come twice, after a crash: its id says which one it is. What fails here is tried again. */
const Parcels = Layer.effectDiscard(subscribe(
  { name: "parcels", table_name: "orders", events: ["INSERT"], ordering: "row", payload: NewOrder },
  Effect.fnUntraced(function*({ event, row }, { id }) {
    if (event === "TEST") return
    const sql = yield* PgClient.PgClient
    yield* sql`INSERT INTO parcels (event_id, order_id) VALUES (${id}, ${row.id}) ON CONFLICT DO NOTHING`
    yield* Effect.log("packed", row.id, row.note)
  })
))

const Truss = Layer.unwrap(Effect.gen(function*() {
  const encryptionKeys = parseEncryptionKeys(yield* Config.String("TRUSS_ENCRYPTION_KEY"))
  if (encryptionKeys === undefined) return yield* Effect.die("TRUSS_ENCRYPTION_KEY must be 32 bytes in base64")
  return layerDeliveryBeside({ encryptionKeys })
}))

const Database = PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") })

Parcels.pipe(Layer.provide(Truss), Layer.provide(Database), Layer.launch, NodeRuntime.runMain)
