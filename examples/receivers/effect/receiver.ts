import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { ByteSize, Config, Effect, Layer, Redacted } from "effect"
import { HttpIncomingMessage, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { VerificationError, verifyStandard } from "truss-webhooks/verify"

const receive = Effect.fnUntraced(
  function*(secret: Redacted.Redacted) {
    const request = yield* HttpServerRequest.HttpServerRequest
    const body = yield* request.arrayBuffer
    const change = yield* Effect.tryPromise({
      try: () => verifyStandard({ body, headers: request.headers, secret: Redacted.value(secret) }),
      catch: (error) => error
    })
    // The same event may come twice: keep the id with what you do, and do nothing the second time.
    yield* Effect.log(request.headers["webhook-id"], change.event, change.table, change.row ?? change.old_row)
    return HttpServerResponse.empty({ status: 204 })
  },
  Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.mebibytes(2)),
  Effect.catchIf(
    (error) => error instanceof VerificationError,
    (error) => Effect.as(Effect.logWarning(error.message), HttpServerResponse.empty({ status: 401 }))
  )
)

const routes = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const secret = yield* Config.Redacted("SECRET")
  yield* router.add("POST", "/", receive(secret))
}))

const server = Layer.unwrap(Effect.gen(function*() {
  const port = yield* Config.Port("PORT").pipe(Config.withDefault(3000))
  return NodeHttpServer.layer(createServer, { host: "127.0.0.1", port })
}))

HttpRouter.serve(routes).pipe(Layer.provide(server), Layer.launch, NodeRuntime.runMain)
