import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Layer } from "effect"
import { HttpRouter, type HttpServerRequest, HttpServerResponse } from "effect/http"
import { createHash, timingSafeEqual } from "node:crypto"
import { createServer } from "node:http"
import { layerDeliveryBeside, layerMountedApi, parseEncryptionKeys, Problems } from "truss-webhooks"

const sha256 = (text: string) => createHash("sha256").update(text).digest()

/** However the program knows its users: here, all who have a token are administrators. */
const authenticate = Effect.fnUntraced(function*(token: string, request: HttpServerRequest.HttpServerRequest) {
  if (!timingSafeEqual(sha256(request.headers["x-admin-token"] ?? ""), sha256(token))) {
    return yield* new Problems.Unauthorized({ detail: "Send x-admin-token" })
  }
  return { id: "admin", name: "admin", actor: "admin", scope: "write" } as const
})

const Routes = Layer.unwrap(Effect.gen(function*() {
  const token = yield* Config.NonEmptyString("ADMIN_TOKEN")
  return Layer.mergeAll(
    HttpRouter.add("GET", "/", Effect.succeed(HttpServerResponse.text("the program's own page"))),
    layerMountedApi({ prefix: "/admin/hooks", authenticate: (request) => authenticate(token, request) })
  )
}))

const Truss = Layer.unwrap(Effect.gen(function*() {
  const encryptionKeys = parseEncryptionKeys(yield* Config.String("TRUSS_ENCRYPTION_KEY"))
  if (encryptionKeys === undefined) return yield* Effect.die("TRUSS_ENCRYPTION_KEY must be 32 bytes in base64")
  return layerDeliveryBeside({ encryptionKeys })
}))

const Database = PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") })

const Server = Layer.unwrap(Effect.map(
  Config.Port("PORT").pipe(Config.withDefault(3000)),
  (port) => NodeHttpServer.layer(createServer, { host: "127.0.0.1", port })
))

HttpRouter.serve(Routes).pipe(
  // Listens last, when there is somebody to answer.
  Layer.provide(Server),
  Layer.provide(Truss),
  Layer.provide(Database),
  Layer.launch,
  NodeRuntime.runMain
)
