import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, References } from "effect"
import { Webhook as StandardWebhook } from "standardwebhooks"
import { defaults, type WebhookCreate } from "../../src/domain/Webhook.ts"
import { Alerts } from "../../src/services/Alerts.ts"
import { Disabling } from "../../src/services/Disabling.ts"
import { SecretRotator } from "../../src/services/SecretRotator.ts"
import { makeSigner } from "../../src/services/Signing.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { type Received, Receiver } from "../support/Receiver.ts"
import { Application, layerInstalled, RunningService } from "../support/RunningService.ts"

const quiet = Layer.succeed(References.MinimumLogLevel, "Fatal")

/** The services with an alert URL of the test's own, and that path of the receiver. */
class AlertPath extends Context.Service<AlertPath, string>()("truss/test/AlertPath") {
  static readonly layer = (path: string) =>
    Layer.unwrap(
      Effect.map(Receiver, (receiver) => layerInstalled({ alertUrl: receiver.url(path), circuitAlertAfterMs: 300_000 }))
    ).pipe(
      Layer.provideMerge(Receiver.layer),
      Layer.provideMerge(Layer.succeed(AlertPath, path)),
      Layer.provideMerge(quiet)
    )
}

const create = Effect.fnUntraced(function*(more?: Partial<WebhookCreate>) {
  const application = yield* Application
  yield* application`CREATE TABLE IF NOT EXISTS orders (id int)`
  const webhooks = yield* Webhooks
  return yield* webhooks.create({
    ...defaults,
    name: "orders",
    table_name: "orders",
    events: ["INSERT"],
    url: "https://example.com/hook?token=hidden",
    ...more
  })
})

const disable = (id: Parameters<Disabling["Service"]["disable"]>[0]) =>
  Effect.flatMap(Disabling, (disabling) => disabling.disable(id, "gone"))
const sendDue = Effect.flatMap(Alerts, (alerts) => alerts.sendDue)
const noticeCircuits = Effect.flatMap(Alerts, (alerts) => alerts.noticeCircuits)

interface AlertRow {
  readonly kind: string
  readonly body: string
  readonly attempt: number
  /** Seconds from now. */
  readonly due: number | null
}

const stored = (id: string) =>
  Effect.flatMap(
    PgClient.PgClient,
    (sql) =>
      sql<AlertRow>`SELECT kind, body, attempt, extract(epoch FROM at - clock_timestamp())::float8 AS due
      FROM truss.alerts WHERE webhook_id = ${id}::text::uuid ORDER BY id`
  )

const openCircuit = (id: string, minutesAgo: number) =>
  Effect.flatMap(
    PgClient.PgClient,
    (sql) =>
      sql`UPDATE truss.cursors SET fail_count = 12, opened_at = clock_timestamp() - ${minutesAgo} * interval '1 minute'
      WHERE webhook_id = ${id}::text::uuid`
  )

const makeDue = (id: string, attempt?: number) =>
  Effect.flatMap(
    PgClient.PgClient,
    (sql) =>
      sql`UPDATE truss.alerts SET at = clock_timestamp(), attempt = coalesce(${attempt ?? null}::int2, attempt)
      WHERE webhook_id = ${id}::text::uuid`
  )

const received = Effect.gen(function*() {
  return (yield* Receiver).at(yield* AlertPath)
})

const accepts = (secret: string, { headers, text }: Received) =>
  assert.doesNotThrow(() =>
    new StandardWebhook(secret).verify(text, {
      "webhook-id": String(headers["webhook-id"]),
      "webhook-timestamp": String(headers["webhook-timestamp"]),
      "webhook-signature": String(headers["webhook-signature"])
    })
  )

const secret = `whsec_${Buffer.alloc(32, 1).toString("base64")}`

it.layer(AlertPath.layer("/alerts"), { excludeTestServices: true })("an alert", (it) => {
  it.effect("that is refused is sent again, the same, and no more once it was accepted", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      receiver.respond("/alerts", (_, index) => ({ status: index === 0 ? 500 : 204, body: "" }))
      const webhook = yield* create({ secret })
      yield* disable(webhook.id)
      yield* sendDue
      const [row] = yield* stored(webhook.id)
      assert.strictEqual(row!.attempt, 2)
      assert.isAbove(row!.due!, 0)
      assert.isBelow(row!.due!, 6)
      yield* sendDue
      assert.lengthOf(yield* received, 1)

      yield* makeDue(webhook.id)
      yield* sendDue
      yield* sendDue
      const [refused, accepted, ...more] = yield* received
      assert.isEmpty(more)
      assert.isNull((yield* stored(webhook.id))[0]!.due)
      assert.strictEqual(accepted!.text, row!.body)
      assert.strictEqual(refused!.text, row!.body)
      assert.strictEqual(accepted!.headers["webhook-id"], refused!.headers["webhook-id"])
      assert.match(String(accepted!.headers["webhook-id"]), /^alt_\d+$/)
      assert.strictEqual(accepted!.headers["x-truss-event"], "ALERT")
      assert.strictEqual(accepted!.headers["content-type"], "application/json")
      assert.notProperty(accepted!.headers, "x-truss-delivery")
      assert.strictEqual(accepted!.headers["x-truss-signature"], makeSigner(secret).body(accepted!.text))
      accepts(secret, accepted!)
    }))
})

it.layer(AlertPath.layer("/signed"), { excludeTestServices: true })("the signatures of an alert", (it) => {
  it.effect("are those of the webhook that it is about", () =>
    Effect.gen(function*() {
      const rotator = yield* SecretRotator
      const unsigned = yield* create()
      const rotated = yield* create({ secret })
      const next = yield* rotator.rotate(rotated.id, { overlap_seconds: 600 })
      yield* disable(unsigned.id)
      yield* disable(rotated.id)
      yield* sendDue
      const requests = yield* received
      const about = (id: string) => requests.find(({ text }) => JSON.parse(text).webhook.id === id)!
      assert.notProperty(about(unsigned.id).headers, "webhook-signature")
      assert.notProperty(about(unsigned.id).headers, "x-truss-signature")
      accepts(secret, about(rotated.id))
      accepts(next.secret, about(rotated.id))
      assert.strictEqual(
        about(rotated.id).headers["x-truss-signature-previous"],
        makeSigner(secret).body(about(rotated.id).text)
      )
    }))
})

it.layer(AlertPath.layer("/refused"), { excludeTestServices: true })("an alert that nobody accepts", (it) => {
  it.effect("waits as long as Retry-After says, and is given up after eight attempts", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      receiver.respond("/refused", () => ({ status: 503, headers: { "retry-after": "1000" } }))
      const webhook = yield* create()
      yield* disable(webhook.id)
      yield* sendDue
      const [row] = yield* stored(webhook.id)
      assert.isAbove(row!.due!, 900)
      assert.isAtMost(row!.due!, 1_000)

      yield* makeDue(webhook.id, 8)
      yield* sendDue
      const [given] = yield* stored(webhook.id)
      assert.deepInclude(given, { attempt: 8, due: null })
      assert.lengthOf(yield* received, 2)
    }))
})

it.layer(AlertPath.layer("/circuits"), { excludeTestServices: true })("an open circuit", (it) => {
  it.effect("is an alert after five minutes, once for each opening", () =>
    Effect.gen(function*() {
      const webhook = yield* create()
      yield* openCircuit(webhook.id, 4)
      yield* noticeCircuits
      assert.isEmpty(yield* stored(webhook.id))

      yield* openCircuit(webhook.id, 6)
      yield* noticeCircuits
      yield* noticeCircuits
      const [row, ...more] = yield* stored(webhook.id)
      assert.isEmpty(more)
      assert.strictEqual(row!.kind, "circuit_open")
      const body = JSON.parse(row!.body)
      assert.deepInclude(body, { type: "webhook.circuit_open", reason: "circuit_open", fail_count: 12 })
      assert.deepStrictEqual(body.webhook, {
        id: webhook.id,
        name: "orders",
        table_schema: "public",
        table_name: "orders",
        url: "https://example.com/hook"
      })
      assert.isBelow(Math.abs(Date.parse(body.timestamp) - Date.parse(body.since) - 360_000), 60_000)
      assert.notInclude(row!.body, "hidden")

      yield* openCircuit(webhook.id, 7)
      yield* noticeCircuits
      assert.lengthOf(yield* stored(webhook.id), 2)
      yield* sendDue
      assert.lengthOf(yield* received, 2)
    }))

  it.effect("of a webhook that is paused is none", () =>
    Effect.gen(function*() {
      const webhook = yield* create({ active: false })
      yield* openCircuit(webhook.id, 60)
      yield* noticeCircuits
      assert.isEmpty(yield* stored(webhook.id))
    }))
})

it.layer(Layer.mergeAll(layerInstalled(), Receiver.layer).pipe(Layer.provideMerge(quiet)), {
  excludeTestServices: true
})("without an address", (it) => {
  it.effect("alerts are written down and nothing is sent", () =>
    Effect.gen(function*() {
      const webhook = yield* create()
      yield* openCircuit(webhook.id, 60)
      yield* noticeCircuits
      yield* disable(webhook.id)
      yield* sendDue
      const rows = yield* stored(webhook.id)
      assert.deepStrictEqual(rows.map(({ due, kind }) => [kind, due]), [["circuit_open", null], ["disabled", null]])
    }))
})

const running = Layer.unwrap(
  Effect.map(
    Receiver,
    (receiver) => RunningService.layer({ alertUrl: receiver.url("/running"), circuitAlertAfterMs: 0 })
  )
).pipe(Layer.provideMerge(Receiver.layer), Layer.provideMerge(quiet))

it.layer(running, { excludeTestServices: true })("while the service runs", (it) => {
  it.effect("alerts arrive by themselves, those that were refused too, and each of them once", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const service = yield* RunningService
      const application = yield* Application
      receiver.respond("/running", (_, index) => ({ status: index === 0 ? 500 : 200 }))
      yield* application`CREATE TABLE orders (id int)`
      const webhook = yield* service.create({ table_name: "orders", url: "https://example.com/hook" })
      yield* openCircuit(webhook.id, 1)
      yield* receiver.waitFor("/running", 2)
      yield* disable(webhook.id)
      const requests = yield* receiver.waitFor("/running", 3)
      const types = requests.map(({ text }) => JSON.parse(text).type)
      assert.deepStrictEqual(types, ["webhook.circuit_open", "webhook.circuit_open", "webhook.disabled"])
      assert.strictEqual(requests[0]!.headers["webhook-id"], requests[1]!.headers["webhook-id"])
    }))
})
