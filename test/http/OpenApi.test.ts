import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, References } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { OpenApi } from "effect/http-api"
import { decodeAttemptId } from "../../src/domain/AttemptRef.ts"
import { loopback } from "../../src/domain/EgressAllow.ts"
import { decodeEventId } from "../../src/domain/EventRef.ts"
import type { Webhook } from "../../src/domain/Webhook.ts"
import { dashboardFiles } from "../../src/http/DashboardFiles.ts"
import { DescribedApi as Described } from "../../src/http/OpenApiDocument.ts"
import { examples } from "../../src/http/OpenApiExamples.ts"
import * as Server from "../../src/http/Server.ts"
import { layerService, layerServices } from "../../src/Service.ts"
import { layerDatabase } from "../../src/services/Database.ts"
import { version } from "../../src/services/Version.ts"
import { TestDatabase } from "../support/Database.ts"
import { testKeys } from "../support/Encryption.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, defaultMaxPayload, until } from "../support/RunningService.ts"
import {
  type Answer,
  type Call,
  type DescribedApi,
  describedApi,
  type Document,
  type Operation
} from "./DescribedApi.ts"

const masterKey = `truss_sk_${"m".repeat(43)}`
const quiet = Layer.succeed(References.MinimumLogLevel, "Fatal")
const options = {
  concurrency: 16,
  retentionDays: 7,
  maxPayload: defaultMaxPayload,
  listen: "auto",
  encryptionKeys: testKeys,
  egress: { allow: loopback }
} as const
const required = { host: "127.0.0.1", port: 0, auth: "required", apiKey: Redacted.make(masterKey) } as const

const baseUrlOf = ({ address }: HttpServer.HttpServer["Service"]) =>
  `http://127.0.0.1:${"port" in address ? address.port : 0}`

/** The running service, whose document is held against what it answers. */
class Subject extends Context.Service<Subject, { readonly baseUrl: string; readonly api: DescribedApi }>()(
  "truss/test/Subject"
) {
  static readonly layer = Layer.effect(
    Subject,
    Effect.gen(function*() {
      const baseUrl = baseUrlOf(yield* HttpServer.HttpServer)
      const document = yield* Effect.promise(() => fetch(`${baseUrl}/openapi.json`).then((answer) => answer.json()))
      return { baseUrl, api: describedApi(document as Document) }
    })
  ).pipe(
    Layer.provide(
      Layer.unwrap(
        Effect.map(
          TestDatabase,
          ({ url }) => layerService({ ...options, database: { url: Redacted.make(url) }, http: required })
        )
      )
    ),
    Layer.provideMerge(Application.layer),
    Layer.provideMerge(TestDatabase.layerUrl),
    Layer.provideMerge(Receiver.layer),
    Layer.provide(quiet)
  )
}

/** What calls of one operation are made with. */
interface Scene {
  readonly operation: Operation
  /** Calls the operation itself, with a key that may write. */
  readonly call: (call: Call) => Effect.Effect<Answer>
  /** Asks for anything else that a call needs. */
  readonly ask: <A>(method: string, path: string, body?: unknown) => Effect.Effect<A>
  readonly run: (statement: string) => Effect.Effect<ReadonlyArray<object>>
  /** A webhook on a table of its own, whose endpoint answers 200 unless said. */
  readonly webhook: (more?: Readonly<Record<string, unknown>>) => Effect.Effect<Webhook>
  /** Changes the webhook's table once and waits for an entry of its log, or so many. */
  readonly delivery: (
    webhook: Webhook,
    count?: number
  ) => Effect.Effect<{ readonly id: string; readonly event_id: string }>
  /** A URL of the receiver. */
  readonly url: (path: string) => string
  /** Runs while others hold the table's lock. */
  readonly whileLocked: <A>(table: string, use: Effect.Effect<A>) => Effect.Effect<A>
}

const nobody = "00000000-0000-4000-8000-000000000000"

/**
 * What makes each operation answer with what the document says that it can; the refusals that many operations share are
 * in `refusals`. By `operationId`, without the `api.` of the routes under `/api`.
 */
const calls: Readonly<Record<string, (scene: Scene) => Effect.Effect<unknown, never, Subject>>> = {
  "session.get": Effect.fnUntraced(function*({ call }) {
    const { json } = yield* call({ status: 200 })
    assert.deepStrictEqual(json.principal, { name: "TRUSS_API_KEY", scope: "write" })
    yield* call({ query: { long: "x".repeat(8192) }, status: 414 })
  }),
  "session.create": Effect.fnUntraced(function*({ call }) {
    const body = { api_key: masterKey }
    yield* call({ body, status: 204 })
    yield* call({ body: { api_key: "truss_sk_of_nobody" }, status: 401 })
    yield* call({ body, headers: { "sec-fetch-site": "cross-site" }, status: 403 })
    for (const wrong of ["{", "[]", "{}"]) yield* call({ body: wrong, status: 400 })
    yield* call({ body, headers: { "content-type": "text/plain" }, status: 415 })
    yield* call({ body: " ".repeat(1_048_577), status: 413 })
    yield* call({ query: { long: "x".repeat(8192) }, body, status: 414 })
  }),
  "session.end": Effect.fnUntraced(function*({ call }) {
    yield* call({ status: 204 })
    yield* call({ headers: { "sec-fetch-site": "cross-site" }, status: 403 })
    yield* call({ headers: { "content-type": "text/plain" }, body: "x", status: 415 })
    yield* call({ query: { long: "x".repeat(8192) }, status: 414 })
  }),
  "webhooks.create": Effect.fnUntraced(function*({ call, run, url, whileLocked }) {
    yield* run("CREATE TABLE IF NOT EXISTS created (id int PRIMARY KEY)")
    const body = { name: "n", table_name: "created", events: ["INSERT"], url: url("/") }
    yield* call({ body, status: 201 })
    yield* call({
      body: {
        ...body,
        columns: ["id"],
        filter: [{ column: "id", op: "in", value: [1, "2"] }],
        ordering: "row",
        rate_limit: 10,
        secret: "whsec_x",
        headers: { a: "b" }
      },
      status: 201
    })
    yield* call({ body: { ...body, name: "" }, status: 400 })
    yield* call({ body: { ...body, table_name: "nowhere" }, status: 422 })
    yield* call({ body: { ...body, columns: ["nothing"] }, status: 422 })
    yield* whileLocked("created", call({ body: { ...body, events: ["DELETE"] }, status: 409 }))
  }),
  "webhooks.list": Effect.fnUntraced(function*({ call, webhook }) {
    const { table_name } = yield* webhook()
    const query = { limit: 1, active: true }
    const page = yield* call({ query, status: 200 })
    yield* call({ query: { ...query, cursor: page.json.next_cursor ?? "" }, status: page.json.next_cursor ? 200 : 400 })
    yield* call({ query: { table: `public.${table_name}` }, status: 200 })
    yield* call({ query: { cursor: "nonsense" }, status: 400 })
  }),
  "webhooks.get": Effect.fnUntraced(function*({ call, webhook }) {
    const params = { id: (yield* webhook()).id }
    const { headers } = yield* call({ params, status: 200 })
    const etag = headers["etag"]!
    yield* call({ params, headers: { "if-none-match": etag }, status: 304 })
    yield* call({ params, headers: { "if-match": "\"other\"" }, status: 412 })
    yield* call({ params, headers: { "if-match": "no tag" }, status: 400 })
  }),
  "webhooks.patch": Effect.fnUntraced(function*({ call, webhook, whileLocked }) {
    const { id, table_name } = yield* webhook()
    const params = { id }
    const { headers } = yield* call({ params, body: { active: false }, status: 200 })
    yield* call({ params, headers: { "if-match": headers["etag"]! }, body: { secret: null }, status: 200 })
    yield* call({ params, headers: { "if-match": headers["etag"]! }, body: { name: "late" }, status: 412 })
    yield* call({ params, headers: { "if-none-match": "*" }, body: { name: "late" }, status: 412 })
    yield* call({ params, body: { nonsense: 1 }, status: 400 })
    yield* call({ params, body: { filter: [{ column: "nothing", op: "is_null" }] }, status: 422 })
    yield* call({ params, body: { table_name: "nowhere" }, status: 422 })
    yield* whileLocked(table_name, call({ params, body: { active: true, events: ["UPDATE"] }, status: 409 }))
  }),
  "webhooks.delete": Effect.fnUntraced(function*({ call, webhook, whileLocked }) {
    const { id, table_name } = yield* webhook()
    const params = { id }
    yield* call({ params, headers: { "if-match": "\"other\"" }, status: 412 })
    yield* call({ params, headers: { "if-match": "no tag" }, status: 400 })
    yield* whileLocked(table_name, call({ params, status: 409 }))
    yield* call({ params, status: 204 })
  }),
  "webhooks.test": Effect.fnUntraced(function*({ call, url, webhook }) {
    yield* call({ params: { id: (yield* webhook()).id }, status: 200 })
    const unreachable = yield* webhook({ url: "http://127.0.0.1:1/" })
    yield* call({ params: { id: unreachable.id }, body: {}, status: 200 })
    yield* call({ params: { id: (yield* webhook({ url: url("/") })).id }, body: { any: 1 }, status: 400 })
  }),
  "webhooks.rotate": Effect.fnUntraced(function*({ call, webhook }) {
    const params = { id: (yield* webhook()).id }
    yield* call({ params, status: 200 })
    yield* call({ params, body: { secret: "another", overlap_seconds: 1 }, status: 200 })
    yield* call({ params, body: { overlap_seconds: -1 }, status: 400 })
  }),
  "webhooks.preview": Effect.fnUntraced(function*({ call, delivery, webhook }) {
    const one = yield* webhook()
    yield* delivery(one)
    const { table_name } = one
    const { json } = yield* call({ body: { table_name }, status: 200 })
    assert.strictEqual(json.samples.length, 1)
    yield* call({ body: { table_name, filter: [{ column: "id", op: "eq", value: "x" }] }, status: 400 })
    yield* call({ body: { table_name, columns: ["nothing"] }, status: 422 })
    yield* call({ body: { table_name: "nowhere" }, status: 422 })
  }),
  "logs.list": Effect.fnUntraced(function*({ call, delivery, webhook }) {
    const one = yield* webhook()
    const { event_id } = yield* delivery(one)
    const params = { id: one.id }
    const query = {
      limit: 1,
      event_type: "INSERT",
      outcome: "success",
      status_code: 200,
      event_id,
      from: "2020-01-01",
      to: "2120-01-01T00:00:00Z"
    }
    yield* delivery(one, 2)
    assert.strictEqual((yield* call({ params, query, status: 200 })).json.data.length, 1)
    const { json } = yield* call({ params, query: { limit: 1 }, status: 200 })
    yield* call({ params, query: { cursor: json.next_cursor }, status: 200 })
    yield* call({ params, query: { cursor: "-" }, status: 400 })
    yield* call({ params, query: { status_code: 99 }, status: 400 })
  }),
  "logs.stream": Effect.fnUntraced(function*({ call, delivery, operation, webhook }) {
    const { api } = yield* Subject
    const one = yield* webhook()
    const first = yield* delivery(one)
    yield* delivery(one)
    const params = { id: one.id }
    const events = (text: string) =>
      [...text.matchAll(/^event: (\w+)\ndata: (.*)$/gm)].map(([, name, data]) => [name!, data!])
    const resumed = yield* call({
      params,
      headers: { "last-event-id": first.id },
      query: { last_event_id: first.id },
      status: 200,
      until: (text) => events(text).length > 0
    })
    const reset = yield* call({
      params,
      headers: { "last-event-id": "unknown" },
      status: 200,
      until: (text) => events(text).length > 0
    })
    for (const [name, data] of [...events(resumed.text), ...events(reset.text)]) {
      const at = `openapi#/paths/${encodeURIComponent(operation.path.replaceAll("/", "~1"))}/get/responses/200/content/`
      const fault = api.validate(`${at}text~1event-stream/x-events/${name}`, JSON.parse(data!))
      assert.isUndefined(fault, name)
    }
    assert.deepStrictEqual([events(resumed.text)[0]![0], events(reset.text)[0]![0]], ["entry", "reset"])
    yield* call({ params, query: { last_event_id: "\n" }, status: 400 })
  }),
  "logs.get": Effect.fnUntraced(function*({ call, delivery, webhook }) {
    const one = yield* webhook()
    yield* call({ params: { id: one.id, logId: (yield* delivery(one)).id }, status: 200 })
  }),
  "logs.replay": Effect.fnUntraced(function*({ call, delivery, webhook }) {
    const one = yield* webhook()
    const params = { id: one.id, logId: (yield* delivery(one)).id }
    yield* call({ params, status: 200 })
    yield* call({ params, body: {}, status: 200 })
  }),
  "logs.skip": Effect.fnUntraced(function*({ call, delivery, url, webhook }) {
    const one = yield* webhook({ url: url("/failing"), ordering: "row" })
    const { event_id } = yield* delivery(one)
    yield* call({ params: { id: one.id, eventId: event_id }, status: 200 })
  }),
  "repair.reconcile": Effect.fnUntraced(function*({ call, delivery, webhook }) {
    const one = yield* webhook()
    yield* delivery(one)
    yield* call({ params: { id: one.id }, status: 200 })
    yield* call({ params: { id: one.id }, query: { from: "2020-01-01", to: "2120-01-01" }, status: 200 })
    yield* call({ params: { id: one.id }, query: { from: "yesterday" }, status: 400 })
  }),
  "repair.replay": Effect.fnUntraced(function*({ call, delivery, webhook }) {
    const one = yield* webhook()
    yield* delivery(one)
    const params = { id: one.id }
    assert.strictEqual((yield* call({ params, status: 202 })).json.matched, 1)
    yield* call({ params, body: { outcome: "failed", event_type: "INSERT", from: "2020-01-01" }, status: 202 })
  }),
  "repair.recover": Effect.fnUntraced(function*({ call, webhook }) {
    const params = { id: (yield* webhook()).id }
    yield* call({ params, body: { since: "2020-01-01T00:00:00Z" }, status: 202 })
    yield* call({ params, body: { since: "yesterday" }, status: 400 })
    yield* call({ params, status: 400 })
  }),
  "repair.jobs": Effect.fnUntraced(function*({ ask, call, webhook }) {
    const { id } = yield* webhook()
    yield* ask("POST", `/webhooks/${id}/replay`)
    yield* ask("POST", `/webhooks/${id}/recover`, { since: "2020-01-01" })
    const { json } = yield* call({ params: { id }, query: { limit: 1 }, status: 200 })
    yield* call({ params: { id }, query: { cursor: json.next_cursor }, status: 200 })
    yield* call({ params: { id }, query: { cursor: "nonsense" }, status: 400 })
  }),
  "repair.cancel": Effect.fnUntraced(function*({ ask, call, webhook }) {
    const { id } = yield* webhook()
    const { job_id } = yield* ask<{ job_id: string }>("POST", `/webhooks/${id}/replay`)
    yield* call({ params: { id, jobId: job_id }, status: 204 })
  }),
  "events.get": Effect.fnUntraced(function*({ call, delivery, webhook }) {
    const { event_id } = yield* delivery(yield* webhook())
    const { json } = yield* call({ params: { eventId: event_id }, status: 200 })
    assert.strictEqual(json.webhooks[0].attempts.length, 1)
  }),
  "tables.list": Effect.fnUntraced(function*({ call, run }) {
    yield* run("CREATE TABLE IF NOT EXISTS listed_1 (id int)")
    yield* run("CREATE TABLE IF NOT EXISTS listed_2 (id int)")
    const { json } = yield* call({ query: { limit: 1, partitions: true }, status: 200 })
    yield* call({ query: { cursor: json.next_cursor }, status: 200 })
    yield* call({ query: { cursor: "nonsense" }, status: 400 })
  }),
  "keys.list": Effect.fnUntraced(function*({ ask, call }) {
    for (const name of ["a", "b"]) yield* ask("POST", "/keys", { name, scope: "read" })
    const { json } = yield* call({ query: { limit: 1 }, status: 200 })
    yield* call({ query: { cursor: json.next_cursor }, status: 200 })
    yield* call({ query: { cursor: "nonsense" }, status: 400 })
  }),
  "keys.create": Effect.fnUntraced(function*({ call }) {
    yield* call({ body: { name: "made", scope: "read" }, status: 201 })
    yield* call({ body: { name: "made", scope: "all" }, status: 400 })
  }),
  "keys.revoke": Effect.fnUntraced(function*({ ask, call }) {
    const { id } = yield* ask<{ id: string }>("POST", "/keys", { name: "revoked", scope: "read" })
    yield* call({ params: { id }, status: 204 })
  }),
  "audit.list": Effect.fnUntraced(function*({ call, webhook }) {
    yield* webhook()
    yield* webhook()
    const { json } = yield* call({ query: { limit: 1 }, status: 200 })
    yield* call({ query: { cursor: json.next_cursor }, status: 200 })
    yield* call({ query: { cursor: "-" }, status: 400 })
  }),
  "stats.get": Effect.fnUntraced(function*({ call, delivery, webhook }) {
    const one = yield* webhook()
    yield* delivery(one)
    for (const window of ["1h", "24h", "7d"]) yield* call({ params: { id: one.id }, query: { window }, status: 200 })
    yield* call({ params: { id: one.id }, query: { window: "1y" }, status: 400 })
  }),
  "stats.all": Effect.fnUntraced(function*({ call, delivery, webhook }) {
    yield* delivery(yield* webhook())
    for (const window of ["1h", "24h", "7d"]) yield* call({ query: { window }, status: 200 })
    yield* call({ query: { window: "1y" }, status: 400 })
  }),
  "cluster.get": ({ call }) => call({ status: 200 }),
  "system.live": ({ call }) => call({ status: 200 }),
  "system.ready": ({ call }) => call({ status: 200 }),
  "system.metrics": ({ call }) => call({ status: 200 }),
  "system.openapi": ({ call }) => call({ status: 200 })
}

/** A status that no request can bring about. */
const outOfReach = new Set(["500"])

const isOfApi = ({ path }: Operation) => /^\/(?:api|v1)\//.test(path)
const idOf = ({ operationId }: Operation) => operationId.replace(/^api\./, "")

let tables = 0

const sceneOf = Effect.fnUntraced(function*(operation: Operation) {
  const { api, baseUrl } = yield* Subject
  const sql = yield* Application
  const receiver = yield* Receiver
  receiver.respond("/failing", () => ({ status: 500 }))
  const ask: Scene["ask"] = (method, path, body) =>
    Effect.promise(async () => {
      const answer = await fetch(`${baseUrl}/v1${path}`, {
        method,
        headers: { apikey: masterKey, "content-type": "application/json" },
        ...(body !== undefined && { body: JSON.stringify(body) })
      })
      const text = await answer.text()
      if (!answer.ok) throw new Error(`${method} ${path}: ${text}`)
      return text === "" ? undefined : JSON.parse(text)
    })
  const run: Scene["run"] = (statement) => Effect.orDie(sql.unsafe<object>(statement))
  const scene: Scene = {
    operation,
    call: (call) =>
      api.call(
        baseUrl,
        operation,
        isOfApi(operation) ? { ...call, headers: { apikey: masterKey, ...call.headers } } : call
      ),
    ask,
    run,
    webhook: Effect.fnUntraced(function*(more) {
      const table = `t${++tables}`
      yield* run(`CREATE TABLE ${table} (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)`)
      return yield* ask<Webhook>("POST", "/webhooks", {
        name: table,
        table_name: table,
        events: ["INSERT"],
        url: receiver.url("/"),
        ...more
      })
    }),
    delivery: Effect.fnUntraced(function*({ id, table_name }, count = 1) {
      yield* run(`INSERT INTO ${table_name} DEFAULT VALUES`)
      const log = ask<{ data: ReadonlyArray<{ id: string; event_id: string }> }>("GET", `/webhooks/${id}/logs`)
      return (yield* until("an entry of the log", log, ({ data }) => data.length >= count)).data[0]!
    }),
    url: receiver.url,
    whileLocked: (table, use) =>
      Effect.orDie(sql.withTransaction(
        Effect.andThen(sql.unsafe(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`), use)
      ))
  }
  return scene
})

const exampleParameters = ({ parameters }: Operation) =>
  Object.fromEntries(
    parameters.filter((parameter) => parameter.in === "path").map(({ example, name }) => [name, String(example)])
  )

/** The example of the body, where there is one. */
const exampleBody = ({ requestBody }: Operation): unknown => {
  const schema = requestBody?.content["application/json"]?.schema as { readonly $ref: string } | undefined
  return schema === undefined ? undefined : examples[schema.$ref.split("/").at(-1)!]
}

const isOfSession = ({ path }: Operation) => path === "/api/session"

/** The refusals that operations share: who must answer with one follows from what it takes. */
const refusals = Effect.fnUntraced(function*({ operation, ask, call, run }: Scene) {
  if (!isOfApi(operation) || isOfSession(operation)) return
  const { api, baseUrl } = yield* Subject
  const names = Object.keys(exampleParameters(operation))
  const params = Object.fromEntries(names.map((name) => [name, nobody]))
  const body = exampleBody(operation)
  const { key: readKey } = yield* ask<{ key: string }>("POST", "/keys", { name: "reader", scope: "read" })

  yield* api.call(baseUrl, operation, { params, body, status: 401 })
  if (operation.method !== "get" && !operation.path.endsWith("/preview")) {
    yield* api.call(baseUrl, operation, { params, body, headers: { apikey: readKey }, status: 403 })
  }
  yield* call({ params, query: { long: "x".repeat(8192) }, body, status: 414 })
  for (const id of names.length > 0 ? [nobody, "no%id", "x".repeat(200)] : []) {
    yield* call({ params: Object.fromEntries(names.map((name) => [name, id])), body, status: 404 })
  }
  if (operation.requestBody !== undefined) {
    for (const wrong of ["{", "[]", "{\"nobody knows\":1}"]) yield* call({ params, body: wrong, status: 400 })
    yield* call({ params, body, headers: { "content-type": "text/plain" }, status: 415 })
    yield* call({ params, body: " ".repeat(1_048_577), status: 413 })
  }
  for (const parameter of operation.parameters) {
    if (parameter.in !== "query" || typeof parameter.example === "string") continue
    for (const wrong of ["", "x", "-1", "1e9"]) {
      yield* call({ params, query: { [parameter.name]: wrong }, status: 400 })
    }
  }
  if (operation.parameters.some(({ name }) => name === "Idempotency-Key")) {
    const once = { "idempotency-key": `${operation.operationId} once` }
    const first = yield* Effect.exit(call({ params, body: "{", headers: once, status: 400 }))
    assert.isTrue(first._tag === "Success")
    const again = yield* call({ params, body: "{", headers: once, status: 400 })
    assert.strictEqual(again.headers["idempotency-replayed"], "true")
    yield* call({ params, body: "{ ", headers: once, status: 422 })
    // As if the first request still ran.
    yield* run(`UPDATE truss.idempotency SET status = NULL, alive_at = clock_timestamp()
      WHERE key = '${operation.operationId} once'`)
    yield* call({ params, body: "{", headers: once, status: 409 })
    yield* call({ params, body, headers: { "idempotency-key": "é" }, status: 400 })
  }
})

it.layer(Subject.layer, { excludeTestServices: true, timeout: 60_000 })("the OpenAPI document", (it) => {
  it.effect("is one, and of this version", () =>
    Effect.gen(function*() {
      const { api } = yield* Subject
      const document = OpenApi.fromApi(Described) as unknown as Document
      assert.isUndefined(yield* api.faults)
      assert.match(document.openapi, /^3\.1\./)
      assert.strictEqual(document.info.version, version)
    }))

  it.effect("has an example of every body and parameter, and each fits", () =>
    Effect.gen(function*() {
      const { api } = yield* Subject
      assert.deepStrictEqual(api.wrongExamples(), [])
      assert.isDefined(decodeEventId(String((examples["LogEntry"] as { event_id: string }).event_id)))
      assert.isDefined(decodeAttemptId(String((examples["LogEntry"] as { id: string }).id)))
    }))

  it.effect("closes every object that has named members", () =>
    Effect.sync(() => {
      const { components } = OpenApi.fromApi(Described)
      for (const [name, schema] of Object.entries(components.schemas)) {
        if ("properties" in schema) assert.strictEqual(schema["additionalProperties"], false, name)
      }
    }))

  it.effect("has every route that the service answers, and no other", () =>
    Effect.gen(function*() {
      const { api } = yield* Subject
      const routes = new Set<string>()
      const recording = Effect.map(HttpRouter.make, (router) => ({
        ...router,
        addAll: ((all: ReadonlyArray<HttpRouter.Route<never, never>>) => {
          for (const { method, path } of all) routes.add(`${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`)
          return router.addAll(all)
        }) as typeof router.addAll,
        add: ((method, path, handler, options) => {
          routes.add(`${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`)
          return router.add(method, path, handler, options)
        }) as typeof router.add
      }))
      yield* Effect.scoped(Layer.build(
        Server.layerRoutes({ auth: "required" }).pipe(
          Layer.provide(Layer.effect(HttpRouter.HttpRouter, recording)),
          Layer.provide(layerAway),
          Layer.provide(HttpServer.layerServices)
        )
      ))
      const files = [...(yield* dashboardFiles()).keys()]
      const pages = ["/", "/docs", ...files].map((path) => `GET ${path}`)
      // What no endpoint takes, which is answered with 404 and 405.
      const real = [...routes].filter((route) => !route.endsWith("/*") && !pages.includes(route))
      const documented = api.operations.map(({ method, path }) => `${method.toUpperCase()} ${path}`)
      assert.deepStrictEqual(real.toSorted(), documented.toSorted())
      assert.isAbove(real.length, 50)
    }))

  it.effect("is what every operation does, whether it succeeds or not", () =>
    Effect.gen(function*() {
      const { api } = yield* Subject
      const missing = api.operations.filter((operation) => calls[idOf(operation)] === undefined)
      assert.deepStrictEqual(
        missing.map(({ method, operationId, path }) =>
          `${method.toUpperCase()} ${path}: nobody calls it. Add "${
            operationId.replace(/^api\./, "")
          }" to \`calls\` in ` +
          "test/http/OpenApi.test.ts, with a call for each of its answers."
        ),
        []
      )
      yield* Effect.forEach(api.operations, (operation) =>
        Effect.gen(function*() {
          const scene = yield* sceneOf(operation)
          yield* calls[idOf(operation)]!(scene)
          yield* refusals(scene)
        }), { concurrency: 6, discard: true })
      yield* unavailable(api)
      yield* fromElsewhere(api)
      const unmet = api.operations.flatMap(({ method, operationId, path, responses }) =>
        Object.keys(responses).filter((status) => !outOfReach.has(status) && !api.seen(operationId).has(Number(status)))
          .map((status) => `${method.toUpperCase()} ${path} never answered ${status}, which the document has`)
      )
      assert.deepStrictEqual(unmet, [])
    }), 120_000)
})

/** The services, with a database that cannot be reached. */
const layerAway = layerServices({ ...options, apiKey: Redacted.make(masterKey) }).pipe(
  Layer.provideMerge(layerDatabase({ url: Redacted.make("postgres://nobody@127.0.0.1:1/nothing") })),
  Layer.provide(quiet)
)

/** A server of its own for some calls. */
const withServer = <A, E>(http: Partial<Server.ServerOptions>, use: (baseUrl: string) => Effect.Effect<A, E>) =>
  Effect.scoped(Effect.gen(function*() {
    const context = yield* Layer.build(
      Layer.fresh(Server.layer({ ...required, ...http })).pipe(
        Layer.provide(Layer.fresh(layerAway)),
        Layer.provide(quiet)
      )
    )
    return yield* use(baseUrlOf(Context.get(context, HttpServer.HttpServer)))
  }))

/** While the database is away: 503 from whatever needs it. */
const unavailable = (api: DescribedApi) =>
  withServer({}, (baseUrl) =>
    Effect.forEach(
      api.operations.filter(({ responses }) => "503" in responses),
      (operation) =>
        api.call(baseUrl, operation, {
          params: exampleParameters(operation),
          body: exampleBody(operation),
          headers: isOfSession(operation)
            ? { cookie: `truss_session=${"s".repeat(43)}` }
            : isOfApi(operation)
            ? { apikey: masterKey }
            : {},
          status: 503
        }),
      { concurrency: 4, discard: true }
    ))

/** An open `/api` refuses other host names. */
const fromElsewhere = (api: DescribedApi) =>
  withServer({ auth: "open" }, (baseUrl) =>
    Effect.forEach(
      api.operations.filter(({ path }) => path.startsWith("/api/")),
      (operation) =>
        api.call(baseUrl, operation, {
          params: exampleParameters(operation),
          body: exampleBody(operation),
          headers: { host: "rebound.example" },
          status: 403
        }),
      { discard: true }
    ))
