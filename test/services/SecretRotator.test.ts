import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Webhook as StandardWebhook } from "standardwebhooks"
import { Webhook as SvixWebhook } from "svix"
import { defaults } from "../../src/domain/Webhook.ts"
import { Actor } from "../../src/services/Audit.ts"
import { ManualDelivery } from "../../src/services/ManualDelivery.ts"
import { SecretRotator } from "../../src/services/SecretRotator.ts"
import { makeSigner } from "../../src/services/Signing.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { type Received, Receiver } from "../support/Receiver.ts"
import { Application, layerInstalled } from "../support/RunningService.ts"

const create = Effect.fnUntraced(function*(path: string, secret: string | null) {
  const application = yield* Application
  yield* application`CREATE TABLE IF NOT EXISTS orders (id int)`
  const url = (yield* Receiver).url(path)
  const webhooks = yield* Webhooks
  return yield* webhooks.create({
    ...defaults,
    name: "orders",
    table_name: "orders",
    events: ["INSERT"],
    url,
    secret
  })
})

const rotate = (id: string, overlap_seconds = 3600) =>
  Effect.flatMap(SecretRotator, (rotator) => rotator.rotate(id, { overlap_seconds }))

/** The request of a delivery that is made now. */
const delivered = Effect.fnUntraced(function*(id: string, path: string) {
  const manual = yield* ManualDelivery
  yield* manual.test(id)
  return (yield* Receiver).at(path).at(-1)!
})

const isAccepted = (secret: string, { headers, text }: Received) => {
  const given = {
    "webhook-id": String(headers["webhook-id"]),
    "webhook-timestamp": String(headers["webhook-timestamp"]),
    "webhook-signature": String(headers["webhook-signature"])
  }
  const [standard, svix] = [StandardWebhook, SvixWebhook].map((Library) => {
    try {
      new Library(secret).verify(text, given)
      return true
    } catch {
      return false
    }
  })
  assert.strictEqual(standard, svix)
  return standard
}

const bodySignatures = ({ headers }: Received) => [
  headers["x-truss-signature"],
  headers["x-truss-signature-previous"]
]

const first = `whsec_${Buffer.alloc(32, 1).toString("base64")}`

it.layer(Layer.merge(layerInstalled(), Receiver.layer), { excludeTestServices: true })("a rotated secret", (it) => {
  it.effect("signs beside the one before, until the overlap has passed", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const webhook = yield* create("/overlap", first)
      const rotated = yield* rotate(webhook.id, 600)
      assert.match(rotated.secret, /^whsec_[A-Za-z0-9+/]{43}=$/)
      const ahead = Date.parse(rotated.previous_valid_until ?? "") - Date.now()
      assert.isBelow(Math.abs(ahead - 600_000), 60_000)

      const during = yield* delivered(webhook.id, "/overlap")
      assert.isTrue(isAccepted(rotated.secret, during))
      assert.isTrue(isAccepted(first, during))
      assert.deepStrictEqual(bodySignatures(during), [
        makeSigner(rotated.secret).body(during.text),
        makeSigner(first).body(during.text)
      ])

      yield* sql`UPDATE truss.webhooks SET previous_secret_until = clock_timestamp() WHERE id = ${webhook.id}::text::uuid`
      const after = yield* delivered(webhook.id, "/overlap")
      assert.isTrue(isAccepted(rotated.secret, after))
      assert.isFalse(isAccepted(first, after))
      assert.deepStrictEqual(bodySignatures(after), [makeSigner(rotated.secret).body(after.text), undefined])
    }))

  it.effect("becomes the previous one with the next rotation, whose overlap counts", () =>
    Effect.gen(function*() {
      const webhook = yield* create("/twice", first)
      const second = yield* rotate(webhook.id)
      const third = yield* rotate(webhook.id)
      const request = yield* delivered(webhook.id, "/twice")
      assert.isTrue(isAccepted(third.secret, request))
      assert.isTrue(isAccepted(second.secret, request))
      assert.isFalse(isAccepted(first, request))
    }))

  it.effect("is the only one where there was none, and where no overlap is wanted", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const webhook = yield* create("/alone", null)
      const one = yield* rotate(webhook.id)
      assert.isNull(one.previous_valid_until)
      assert.notProperty((yield* delivered(webhook.id, "/alone")).headers, "x-truss-signature-previous")

      const two = yield* rotate(webhook.id, 0)
      assert.isAtMost(Date.parse(two.previous_valid_until ?? "") - Date.now(), 60_000)
      const request = yield* delivered(webhook.id, "/alone")
      assert.isTrue(isAccepted(two.secret, request))
      assert.isFalse(isAccepted(one.secret, request))
      const [row] = yield* sql`SELECT previous_secret FROM truss.webhooks WHERE id = ${webhook.id}::text::uuid`
      assert.deepStrictEqual(row, { previous_secret: null })
    }))

  it.effect("gives way at once, with the one before, to a secret that is written by PATCH", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      const webhook = yield* create("/patched", first)
      const rotated = yield* rotate(webhook.id)
      yield* webhooks.patch(webhook.id, { name: "renamed" })
      assert.isTrue(isAccepted(first, yield* delivered(webhook.id, "/patched")))

      const third = `whsec_${Buffer.alloc(32, 3).toString("base64")}`
      yield* webhooks.patch(webhook.id, { secret: third })
      const request = yield* delivered(webhook.id, "/patched")
      assert.isTrue(isAccepted(third, request))
      assert.isFalse(isAccepted(first, request))
      assert.isFalse(isAccepted(rotated.secret, request))

      yield* rotate(webhook.id)
      yield* webhooks.patch(webhook.id, { secret: null })
      const unsigned = yield* delivered(webhook.id, "/patched")
      assert.notProperty(unsigned.headers, "webhook-signature")
      assert.notProperty(unsigned.headers, "x-truss-signature-previous")
    }))

  it.effect("is for a webhook that is there", () =>
    Effect.gen(function*() {
      for (const id of ["nobody", "00000000-0000-0000-0000-000000000000"]) {
        assert.strictEqual((yield* Effect.flip(rotate(id)))._tag, "WebhookNotFound")
      }
    }))

  it.effect("is in the audit with every other change of its webhook, but never its value", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const webhooks = yield* Webhooks
      const rotator = yield* SecretRotator
      const webhook = yield* create("/audited", "a secret")
      yield* webhooks.patch(webhook.id, { secret: "another secret", headers: { "X-Key": "hidden value" } })
      yield* webhooks.patch(webhook.id, {})
      yield* rotator.rotate(webhook.id, { secret: "a third secret", overlap_seconds: 60 }).pipe(
        Effect.provideService(Actor, "deploy")
      )
      yield* webhooks.remove(webhook.id)
      const entries = yield* sql<{ actor: string; action: string; detail: string }>`
        SELECT actor, action, detail::text AS detail FROM truss.audit WHERE webhook_id = ${webhook.id}::text::uuid
        ORDER BY id`
      assert.deepStrictEqual(entries.map(({ action, actor, detail }) => [actor, action, JSON.parse(detail)]), [
        ["api", "webhook.created", { name: "orders", table: "public.orders" }],
        ["api", "webhook.updated", { fields: ["secret", "headers"] }],
        ["deploy", "webhook.secret_rotated", { overlap_seconds: 60, generated: false }],
        ["api", "webhook.deleted", { name: "orders", table: "public.orders" }]
      ])
    }))
})
