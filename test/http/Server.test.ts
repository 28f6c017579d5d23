import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Exit, Fiber, Layer, Schedule, Scope } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { connect } from "node:net"
import * as Server from "../../src/http/Server.ts"
import { Asked, layerServices, raw, TestServer } from "./TestServer.ts"

const input = { name: "orders", table_name: "slow", events: ["INSERT"], url: "https://example.com/hook" }

const isListening = (port: number) =>
  Effect.callback<boolean>((resume) => {
    const socket = connect(port, "127.0.0.1")
    const done = (listening: boolean) => () => {
      socket.destroy()
      resume(Effect.succeed(listening))
    }
    socket.on("connect", done(true)).on("error", done(false))
  })

describe("the server", () => {
  it.live("says in one line that its port is in use", () =>
    Effect.gen(function*() {
      const { port } = yield* TestServer
      const error = yield* Effect.flip(Effect.scoped(Layer.build(
        Layer.fresh(Server.layer({ host: "127.0.0.1", port, auth: "open" })).pipe(Layer.provide(layerServices))
      )))
      assert.instanceOf(error, Server.ListenError)
      assert.strictEqual(error.reason, "port_in_use")
      assert.include(error.message, `127.0.0.1:${port}`)
      assert.notInclude(error.message, "\n")
    }).pipe(Effect.provide(TestServer.layer())))

  it.live("says in one line that its host is none of this machine's", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(
        Server.layer({ host: "192.0.2.1", port: 0, auth: "open" }).pipe(Layer.provide(layerServices))
      )))
      assert.strictEqual(error.reason, "no_such_address")
    }))

  it.live("stops at once when nothing is asked of it, also with connections open", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(TestServer.layer(), scope)
      const { ask } = yield* Effect.provide(TestServer, context)
      assert.strictEqual((yield* ask("GET", "/health/live")).status, 200)
      const before = yield* Clock.currentTimeMillis
      yield* Scope.close(scope, Exit.void)
      assert.isBelow((yield* Clock.currentTimeMillis) - before, 2000)
    }))

  it.live("cuts requests that do not end, and connections that never asked, when its time is up", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(TestServer.layer({ shutdownTimeout: "300 millis" }), scope)
      const { ask, port } = yield* Effect.provide(TestServer, context)
      const asked = yield* Effect.provide(Asked, context)
      const slow = yield* Effect.forkChild(Effect.exit(ask("POST", "/api/webhooks", input)))
      const half = yield* Effect.forkChild(raw(port, "POST /api/webhooks HTTP/1.1\r\nhost: localhost\r\n"))
      yield* Deferred.await(asked.slow)
      const before = yield* Clock.currentTimeMillis
      yield* Scope.close(scope, Exit.void)
      assert.isBelow((yield* Clock.currentTimeMillis) - before, 3000)
      const exit = yield* Fiber.join(slow)
      if (Exit.isSuccess(exit)) assert.strictEqual(exit.value.status, 503)
      yield* Fiber.join(half)
    }))

  it.live("lets requests in flight end", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(TestServer.layer(), scope)
      const { port } = yield* Effect.provide(TestServer, context)
      const body = JSON.stringify({ ...input, table_name: "orders" })
      const answered = yield* Deferred.make<string>()
      const request = `POST /api/webhooks HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n` +
        `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`
      const socket = connect(port, "127.0.0.1", () => socket.write(request))
      let text = ""
      const continued = yield* Deferred.make<void>()
      socket.on("data", (data) => {
        text += data.toString()
        if (text.includes("100 Continue")) Deferred.doneUnsafe(continued, Effect.void)
        if (text.includes("201 Created")) Deferred.doneUnsafe(answered, Effect.succeed(text))
      })
      yield* Deferred.await(continued)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* isListening(port).pipe(
        Effect.repeat({ until: (listening) => !listening, schedule: Schedule.spaced("5 millis") })
      )
      socket.write(body)
      assert.include(yield* Deferred.await(answered), "201 Created")
      yield* Fiber.join(closing)
      socket.destroy()
    }))

  it.live("puts its routes on a router of somebody else, and leaves the rest alone", () =>
    Effect.gen(function*() {
      const web = HttpRouter.toWebHandler(
        Layer.mergeAll(
          Server.layerRoutes({ auth: "open" }),
          HttpRouter.add("GET", "/mine", Effect.succeed(HttpServerResponse.text("mine")))
        ).pipe(Layer.provide(layerServices), Layer.provideMerge(HttpServer.layerServices)),
        { disableLogger: true }
      )
      const ask = (path: string, method = "GET") =>
        Effect.promise(() =>
          web.handler(new Request(`http://localhost${path}`, { method, headers: { host: "localhost" } }))
        )
      const mine = yield* ask("/mine")
      assert.deepStrictEqual([mine.status, mine.headers.get("x-content-type-options")], [200, null])
      assert.strictEqual((yield* ask("/api/webhooks")).status, 200)
      assert.strictEqual((yield* ask("/v1/webhooks")).status, 401)
      const unknown = yield* ask("/api/nope")
      assert.deepStrictEqual([unknown.status, unknown.headers.get("content-type")], [404, "application/problem+json"])
      assert.strictEqual((yield* ask("/api/webhooks", "PUT")).headers.get("allow"), "GET, HEAD, POST")
      yield* Effect.promise(web.dispose)
    }))
})
