import { PgClient } from "@effect/sql-pg"
import { Clock, Effect, Layer, Redacted, Schedule, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { FetchHttpClient, HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"
import { randomBytes } from "node:crypto"
import { chmod, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { loopback } from "../domain/EgressAllow.ts"
import { layerService } from "../Service.ts"
import { EmbeddedPostgres } from "../services/EmbeddedPostgres.ts"
import { newEncryptionKeys } from "../services/EncryptionKey.ts"
import type { SettingsShape } from "../services/Settings.ts"
import { openReceiver } from "./DemoReceiver.ts"
import { makeScreen, type Screen } from "./DemoScreen.ts"
import { makeShow, type Show } from "./DemoShow.ts"
import { CommandFailed, explained } from "./Failure.ts"
import { listenFlags, withSettings } from "./Flags.ts"
import { probePort } from "./ProbePort.ts"
import { untilStopped } from "./RunMain.ts"

const patience = "30 seconds"
const patienceMs = 30_000

const failed = (line: string) => new CommandFailed({ lines: [line] })

const choosePort = Effect.fnUntraced(function*(settings: SettingsShape, once: boolean) {
  const { host, port, portGiven } = settings
  return yield* probePort(host, port).pipe(
    Effect.catchIf(
      (error) => once && !portGiven && error.reason === "port_in_use",
      () => probePort(host, 0)
    )
  )
})

/** PostgreSQL may run as another user, who has to get through to its own folder. */
const temporaryFolder = Effect.acquireRelease(
  Effect.promise(async () => {
    const folder = await mkdtemp(join(tmpdir(), "truss-demo-"))
    await chmod(folder, 0o711)
    return folder
  }),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

const urlOf = (host: string, port: number) =>
  `http://${/^(127\.|0\.0\.0\.0$|::1?$)/.test(host) ? "localhost" : host.includes(":") ? `[${host}]` : host}:${port}`

const Created = Schema.Struct({ id: Schema.String })

interface Api {
  readonly url: string
  readonly key: Redacted.Redacted | undefined
}

const authorized = ({ key }: Api) => (request: HttpClientRequest.HttpClientRequest) =>
  key === undefined ? request : HttpClientRequest.setHeader(request, "apikey", Redacted.value(key))

const Ready = Schema.Struct({ mode: Schema.Literals(["notify", "poll"]) })

/** Waits until the service hears of changes. */
const whenReady = Effect.fnUntraced(function*({ url }: Api) {
  const client = HttpClient.filterStatusOk(yield* HttpClient.HttpClient)
  yield* client.get(`${url}/health/ready`).pipe(
    Effect.flatMap(HttpClientResponse.schemaBodyJson(Ready)),
    Effect.retry(Schedule.spaced("20 millis")),
    Effect.timeoutOrElse({
      duration: patience,
      orElse: () => failed(`the service was not ready within ${patience}; LOG_LEVEL=debug shows more`)
    })
  )
})

const createWebhook = Effect.fnUntraced(function*(api: Api, receiver: string, secret: string) {
  const client = yield* HttpClient.HttpClient
  const request = HttpClientRequest.post(`${api.url}/api/webhooks`).pipe(
    authorized(api),
    HttpClientRequest.bodyJsonUnsafe({
      name: "Demo: orders",
      table_name: "orders",
      events: ["INSERT", "UPDATE", "DELETE"],
      url: receiver,
      secret
    })
  )
  const response = yield* client.execute(request)
  if (response.status !== 201) {
    return yield* failed(`POST /api/webhooks answered ${response.status}: ${yield* response.text}`)
  }
  return yield* HttpClientResponse.schemaBodyJson(Created)(response)
})

/** One INSERT, UPDATE and DELETE, each delivered before the next. */
const introduce = Effect.fnUntraced(function*({ change, delivered, sql }: Show) {
  const steps = [
    ["INSERT", "order 1: Ada, 42.00, new", sql`INSERT INTO orders (customer, total) VALUES ('Ada', 42.00)`],
    ["UPDATE", "order 1: new to paid", sql`UPDATE orders SET status = 'paid' WHERE id = 1`],
    ["DELETE", "order 1", sql`DELETE FROM orders WHERE id = 1`]
  ] as const
  const deadline = (yield* Clock.currentTimeMillis) + patienceMs
  const missing = steps.map(([event]) => event as string)
  for (const [event, text, statement] of steps) {
    yield* change(event, 1, text, statement)
    yield* delivered(event, 1).pipe(Effect.timeoutOrElse({
      duration: Math.max(0, deadline - (yield* Clock.currentTimeMillis)),
      orElse: () => failed(`not delivered within ${patience}: ${missing.join(", ")}`)
    }))
    missing.shift()
  }
})

/** An endpoint that fails once, and the retry. */
const stumble = Effect.fnUntraced(
  function*(show: Show, failNext: Effect.Effect<void>) {
    const { change, delivered, sql } = show
    yield* change(
      "INSERT",
      2,
      "order 2: Grace, 99.50, new",
      sql`INSERT INTO orders (customer, total) VALUES ('Grace', 99.50)`
    )
    yield* delivered("INSERT", 2)
    yield* failNext
    yield* change(
      "UPDATE",
      2,
      "order 2: new to paid, and the receiver answers 500 once",
      sql`UPDATE orders SET status = 'paid' WHERE id = 2`,
      ["it is tried again in about 5 s", "the same webhook-id again"]
    )
    yield* delivered("UPDATE", 2)
  },
  Effect.timeoutOrElse({
    duration: patience,
    orElse: () => failed(`the retry was not delivered within ${patience}`)
  })
)

const keepChanging = Effect.fnUntraced(function*({ change, sql }: Show) {
  const states = ["packed", "shipped", "returned", "paid"]
  let status = "paid"
  while (true) {
    yield* Effect.sleep("5 seconds")
    const next = states[(states.indexOf(status) + 1) % states.length]!
    yield* change("UPDATE", 2, `order 2: ${status} to ${next}`, sql`UPDATE orders SET status = ${next} WHERE id = 2`)
    status = next
  }
})

const start = Effect.fnUntraced(function*(settings: SettingsShape, once: boolean, screen: Screen) {
  const port = yield* choosePort(settings, once)
  yield* screen.title("Truss Webhooks: every change of a table, delivered and signed")
  const dataDir = yield* temporaryFolder
  const [startTook, postgres] = yield* Effect.timed(EmbeddedPostgres.start({ dataDir, database: "demo" }))
  yield* screen.part("PostgreSQL", `${postgres.version}, embedded, in a temporary folder`, startTook)

  const databaseUrl = Redacted.make(postgres.url)
  const clients = yield* Layer.build(Layer.fresh(PgClient.layer({ url: databaseUrl, maxConnections: 1 })))
  const sql = yield* Effect.provide(PgClient.PgClient, clients)
  yield* sql`CREATE TABLE orders (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    total numeric(10,2) NOT NULL,
    status text NOT NULL DEFAULT 'new'
  )`
  yield* screen.part("Table", "public.orders (id, customer, total, status)")

  const key = settings.apiKey ??
    (settings.auth === "open" ? undefined : Redacted.make(`truss_sk_${randomBytes(24).toString("base64url")}`))
  const api: Api = { url: urlOf(settings.host, port), key }
  const [serviceTook] = yield* Effect.timed(Effect.andThen(
    Layer.build(layerService({
      database: { url: databaseUrl },
      http: { host: settings.host, port, auth: settings.auth, apiKey: key, kratosUrl: settings.kratosUrl },
      encryptionKeys: newEncryptionKeys(),
      concurrency: settings.concurrency,
      retentionDays: settings.retentionDays,
      maxPayload: settings.maxPayload,
      disableAfterMs: settings.disableAfterMs,
      alertUrl: settings.alertUrl,
      // The receiver is on this machine, wherever the API can be reached from.
      egress: { allow: [...settings.egressAllow, ...loopback] },
      listen: settings.listen
    })),
    whenReady(api)
  ))
  yield* screen.part("Service", api.url, serviceTook)

  const secret = `whsec_${randomBytes(32).toString("base64")}`
  const receiver = yield* openReceiver(secret)
  yield* screen.part("Receiver", `${receiver.url}, verifies X-Truss-Signature`)
  const webhook = yield* createWebhook(api, receiver.url, secret)
  yield* screen.part("Webhook", `${webhook.id} on public.orders, signed`)
  yield* screen.text()
  const show = yield* Effect.provide(makeShow(screen, receiver), clients)
  return { api, databaseUrl: postgres.url, receiver, show, webhook }
})

const demo = (once: boolean) =>
  Effect.fnUntraced(
    function*(settings: SettingsShape) {
      const screen = yield* makeScreen
      const { api, databaseUrl, receiver, show, webhook } = yield* start(settings, once, screen)
      yield* introduce(show)
      yield* screen.text()
      if (once) {
        return yield* screen.text("INSERT, UPDATE and DELETE were delivered, and their signatures verified.")
      }
      yield* stumble(show, receiver.failNext)
      const key = settings.apiKey !== undefined ? "$TRUSS_API_KEY" : api.key && Redacted.value(api.key)
      const curl = `curl ${key === undefined ? "" : `-H "apikey: ${key}" `}`
      yield* screen.text()
      yield* screen.part("Dashboard", api.url)
      yield* screen.part("API", `${api.url}/docs`)
      yield* screen.part("Webhooks", `${curl}${api.url}/api/webhooks`)
      yield* screen.part("Its log", `${curl}'${api.url}/api/webhooks/${webhook.id}/logs?limit=5'`)
      yield* screen.part("Database", `psql '${databaseUrl}'`)
      yield* screen.text()
      yield* screen.text("An order changes every 5 seconds, and changes of your own appear here too.")
      yield* screen.text(screen.bold("Ctrl-C stops everything; nothing of it stays."))
      yield* screen.text()
      return yield* keepChanging(show)
    },
    Effect.scoped,
    Effect.provide(FetchHttpClient.layer),
    (self, settings) => explained({ ...settings, databaseUrl: undefined })(self)
  )

/** `truss-webhooks demo` */
export const demoCommand = Command.make(
  "demo",
  {
    ...listenFlags,
    once: Flag.Boolean("once").pipe(
      Flag.withDescription("End after the first INSERT, UPDATE and DELETE; the exit code says whether they arrived"),
      Flag.withDefault(false)
    )
  },
  ({ once, ...flags }) => untilStopped(withSettings(flags, demo(once)))
).pipe(
  Command.withDescription(
    "Start an embedded PostgreSQL (DATABASE_URL is left alone), the service, a receiver and a signed webhook, and show " +
      "each change being delivered"
  ),
  Command.withShortDescription("See it work, without a database of your own"),
  Command.withExamples([
    { command: "truss-webhooks demo", description: "Until Ctrl-C" },
    { command: "truss-webhooks demo --once", description: "As a check: exit code 0 if all was delivered and verified" }
  ])
)
