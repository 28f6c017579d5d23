import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, References } from "effect"
import type { SqlClient } from "effect/sql"
import * as Migrator from "effect/sql/Migrator"
import { randomUUID } from "node:crypto"
import { migrations } from "../../migrations/index.ts"
import { loopback } from "../../src/domain/EgressAllow.ts"
import { defaults, type WebhookId } from "../../src/domain/Webhook.ts"
import { layerServices } from "../../src/Service.ts"
import { layerDatabase } from "../../src/services/Database.ts"
import { type EncryptionKeys, generateEncryptionKey } from "../../src/services/EncryptionKey.ts"
import { ManualDelivery } from "../../src/services/ManualDelivery.ts"
import { migrate } from "../../src/services/Migrations.ts"
import { SecretRotator } from "../../src/services/SecretRotator.ts"
import { secretColumns, type SecretRow, Secrets } from "../../src/services/Secrets.ts"
import { makeSigner, unreadable } from "../../src/services/Signing.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { TestDatabase } from "../support/Database.ts"
import { keysOf } from "../support/Encryption.ts"
import { Receiver } from "../support/Receiver.ts"
import { defaultMaxPayload } from "../support/RunningService.ts"

const quiet = Layer.succeed(References.MinimumLogLevel, "Fatal")

const [oldKey, newKey] = [generateEncryptionKey(), generateEncryptionKey()]
const [old, young] = [keysOf(oldKey), keysOf(newKey)]
const [oldId, newId] = [old[0].id, young[0].id]

/** The services of another process on the test's database: one with these keys. */
const processWith = (keys: EncryptionKeys) =>
  Layer.build(Layer.fresh(
    layerServices({ encryptionKeys: keys, maxPayload: defaultMaxPayload, egress: { allow: loopback } }).pipe(
      Layer.provideMerge(
        Layer.unwrap(Effect.map(TestDatabase, ({ url }) => layerDatabase({ url: Redacted.make(url) })))
      )
    )
  ))

/** One that has migrated, was let in and has encrypted everything anew, as `serve` does. */
const started = Effect.fnUntraced(function*(keys: EncryptionKeys) {
  const services = yield* processWith(keys)
  const secrets = Context.get(services, Secrets)
  yield* Effect.provideContext(migrate(), services)
  yield* secrets.admit
  return services
})

/** Why a process with these keys does not start. */
const refusal = (keys: EncryptionKeys) =>
  started(keys).pipe(
    Effect.scoped,
    Effect.as("let in"),
    Effect.catchTag("EncryptionKeyRefused", ({ detail }) => Effect.succeed(detail))
  )

const input = {
  ...defaults,
  name: "orders",
  table_name: "orders",
  events: ["INSERT"],
  url: "http://127.0.0.1:1/",
  headers: { Authorization: "Bearer t0ken", "X-Key": "" },
  secret: "s3cret"
} as const

const create = Effect.fnUntraced(function*(services: Context.Context<Webhooks>, more: object = {}) {
  const sql = yield* PgClient.PgClient
  yield* sql`CREATE TABLE IF NOT EXISTS orders (id int)`
  return yield* Context.get(services, Webhooks).create({ ...input, ...more })
})

/** Everything stored of webhooks, as text. */
const stored = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  return (yield* sql<{ row: string }>`SELECT w::text AS row FROM truss.webhooks w`).map(({ row }) => row).join("\n")
})

const registered = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  return (yield* sql<{ id: string }>`SELECT id FROM truss.encryption_keys ORDER BY id`).map(({ id }) => id)
})

const open = Effect.fnUntraced(function*(services: Context.Context<Secrets>, id: WebhookId) {
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql.unsafe<SecretRow>(
    `SELECT ${secretColumns}, w.headers::text FROM truss.webhooks w WHERE w.id = $1::uuid`,
    [id]
  )
  return yield* Context.get(services, Secrets).open(id, row!)
})

/** A test with a database and a receiver of its own. */
const live = (
  name: string,
  body: () => Effect.Effect<unknown, unknown, TestDatabase | PgClient.PgClient | SqlClient.SqlClient | Receiver>
) =>
  it.live(
    name,
    () =>
      body().pipe(
        Effect.provide(Layer.fresh(Layer.mergeAll(TestDatabase.layer, Receiver.layer, quiet))),
        Effect.scoped
      )
  )

live("what is secret is stored encrypted, and read by whoever has the key", () =>
  Effect.scoped(Effect.gen(function*() {
    const services = yield* started(old)
    const { id } = yield* create(services)
    yield* Context.get(services, SecretRotator).rotate(id, { secret: "n3w", overlap_seconds: 60 })
    const text = yield* stored
    for (const secret of ["s3cret", "n3w", "t0ken"]) assert.notInclude(text, secret)
    assert.lengthOf(text.match(new RegExp(`v1\\.${oldId}\\.`, "g"))!, 4)
    const { headers, previousSecret, secret } = yield* open(yield* processWith(old), id)
    assert.deepStrictEqual([secret, previousSecret?.secret, headers], ["n3w", "s3cret", input.headers])
  })))

live(
  "a new key takes over what an older one encrypted, and then the older one can go",
  () =>
    Effect.scoped(Effect.gen(function*() {
      const before = yield* started(old)
      const { id } = yield* create(before)
      yield* Context.get(before, SecretRotator).rotate(id, { secret: "n3w", overlap_seconds: 60 })
      const [row] = yield* Effect.flatMap(PgClient.PgClient, (sql) => sql`SELECT updated_at::text FROM truss.webhooks`)

      yield* started(keysOf(newKey, oldKey))
      assert.deepStrictEqual(yield* registered, [newId])
      assert.notInclude(yield* stored, oldId)
      assert.deepStrictEqual(
        (yield* Effect.flatMap(PgClient.PgClient, (sql) => sql`SELECT updated_at::text FROM truss.webhooks`))[0],
        row
      )
      const { headers, previousSecret, secret } = yield* open(yield* started(young), id)
      assert.deepStrictEqual([secret, previousSecret?.secret, headers], ["n3w", "s3cret", input.headers])

      const refused = yield* Effect.flip(Context.get(before, Secrets).admit)
      assert.strictEqual(refused._tag, "EncryptionKeyRefused")
      // The process that still runs with the old key alone can neither write nor read, and changes nothing.
      const kept = yield* stored
      const refusals = [
        yield* Effect.flip(create(before)),
        yield* Effect.flip(Context.get(before, Webhooks).patch(id, { secret: "other" })),
        yield* Effect.flip(Context.get(before, SecretRotator).rotate(id, { overlap_seconds: 0 }))
      ]
      for (const refusal of refusals) assert.strictEqual(refusal._tag, "SecretsUnavailable")
      assert.strictEqual(yield* stored, kept)
      assert.strictEqual((yield* open(before, id)).secret, unreadable)
      assert.strictEqual((yield* Context.get(before, Webhooks).patch(id, { name: "renamed" })).name, "renamed")
    }))
)

live(
  "a process that has both keys and encrypts by the older one goes on when the older one is retired",
  () =>
    Effect.scoped(Effect.gen(function*() {
      const both = yield* started(keysOf(oldKey, newKey))
      const first = yield* create(both)
      yield* started(keysOf(newKey, oldKey))
      const second = yield* create(both)
      assert.notInclude(yield* stored, oldId)
      const services = yield* started(young)
      for (const { id } of [first, second]) assert.strictEqual((yield* open(services, id)).secret, "s3cret")
    }))
)

live(
  "another key is refused with the ids and what to do, and changes nothing",
  () =>
    Effect.scoped(Effect.gen(function*() {
      yield* create(yield* started(old))
      const detail = yield* refusal(young)
      assert.match(detail, new RegExp(`^TRUSS_ENCRYPTION_KEY: .*${oldId}.*${newId}.*encryption\\.key`))
      assert.notInclude(detail, "\n")
      assert.deepStrictEqual(yield* registered, [oldId])
    }))
)

/** Another process, which lives for as long as the test. */
const anotherLives = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  yield* sql`INSERT INTO truss.runners (id, address, started_at, beat)
    VALUES (${randomUUID()}::text::uuid, 'here', now(), clock_timestamp() + interval '1 hour')`
})

live(
  "while nothing is encrypted the key of the process that delivers counts, or of the one that is left",
  () =>
    Effect.scoped(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const first = yield* started(old)
      yield* anotherLives
      yield* create(first, { secret: null, headers: {} })

      const second = yield* started(young)
      assert.deepStrictEqual(yield* registered, [oldId])
      assert.strictEqual((yield* Effect.flip(create(second)))._tag, "SecretsUnavailable")
      yield* create(second, { name: "without a secret", secret: null, headers: {} })

      yield* Context.get(second, Secrets).claim
      assert.deepStrictEqual(yield* registered, [newId])
      assert.strictEqual((yield* Effect.flip(create(first)))._tag, "SecretsUnavailable")

      yield* sql`DELETE FROM truss.runners`
      yield* sql`UPDATE truss.encryption_keys SET registered_at = clock_timestamp() - interval '1 hour'`
      yield* started(old)
      assert.deepStrictEqual(yield* registered, [oldId])

      // What is encrypted stays readable by its key alone, whoever delivers.
      const { id } = yield* create(first)
      yield* Context.get(second, Secrets).claim
      assert.deepStrictEqual(yield* registered, [oldId])
      assert.strictEqual((yield* open(second, id)).secret, unreadable)
    }))
)

live("of two first starts with different keys one's counts", () =>
  Effect.scoped(Effect.gen(function*() {
    const services = yield* Effect.forEach([old, young], processWith)
    yield* Effect.provideContext(migrate(), services[0]!)
    yield* anotherLives
    yield* Effect.forEach(services, (context) => Context.get(context, Secrets).admit, { concurrency: "unbounded" })
    assert.lengthOf(yield* registered, 1)
  })))

live("what cannot be read is not sent, says so, and is written anew", () =>
  Effect.scoped(Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const receiver = yield* Receiver
    const services = yield* started(old)
    const test = (id: string) => Context.get(services, ManualDelivery).test(id)
    const [one, two] = [
      yield* create(services, { url: receiver.url("/one") }),
      yield* create(services, { url: receiver.url("/two"), secret: "another" })
    ]
    // Each has the other's secret now.
    yield* sql`UPDATE truss.webhooks w SET secret = o.secret FROM truss.webhooks o WHERE o.id <> w.id`
    for (const { id } of [one, two]) {
      assert.deepInclude(yield* test(id), { error: "secret_unreadable", status_code: null })
    }
    assert.lengthOf(receiver.requests, 0)

    const rotated = yield* Context.get(services, SecretRotator).rotate(one.id, { overlap_seconds: 600 })
    assert.isAtMost(Date.parse(rotated.previous_valid_until!) - Date.now(), 60_000)
    assert.strictEqual((yield* test(one.id)).status_code, 200)
    const [request] = receiver.at("/one")
    assert.strictEqual(request!.headers["x-truss-signature"], makeSigner(rotated.secret).body(request!.text))
    assert.isUndefined(request!.headers["x-truss-signature-previous"])

    yield* Context.get(services, Webhooks).patch(two.id, { secret: "written" })
    assert.strictEqual((yield* test(two.id)).status_code, 200)
    yield* sql`UPDATE truss.webhooks SET headers = '{"Authorization": "plain"}' WHERE id = ${two.id}::text::uuid`
    yield* Context.get(services, Webhooks).patch(two.id, { headers: { authorization: "***" } })
    assert.strictEqual((yield* test(two.id)).error, "secret_unreadable")
    yield* Context.get(services, Webhooks).patch(two.id, { headers: { Authorization: "again" } })
    assert.strictEqual((yield* test(two.id)).status_code, 200)
    assert.strictEqual(receiver.at("/two").at(-1)!.headers["authorization"], "again")
  })))

live(
  "after a key was declared lost the service starts, and nothing that it encrypted is sent",
  () =>
    Effect.scoped(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { id } = yield* create(yield* started(old))
      yield* sql`DELETE FROM truss.encryption_keys WHERE id = ${oldId}`
      const services = yield* started(young)
      assert.deepInclude(yield* Context.get(services, ManualDelivery).test(id), { error: "secret_unreadable" })
      assert.isTrue((yield* Context.get(services, Webhooks).get(id)).has_secret)
    }))
)

live("a secret whose overlap has ended is removed", () =>
  Effect.scoped(Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const services = yield* started(old)
    const { forget } = Context.get(services, Secrets)
    const { id } = yield* create(services)
    yield* Context.get(services, SecretRotator).rotate(id, { overlap_seconds: 600 })
    const previous = sql`SELECT FROM truss.webhooks WHERE previous_secret IS NOT NULL`
    yield* forget
    assert.lengthOf(yield* previous, 1)
    yield* sql`UPDATE truss.webhooks SET previous_secret_until = clock_timestamp()`
    yield* forget
    assert.lengthOf(yield* previous, 0)
  })))

const count = 1_300

live(
  "what was stored in the clear is encrypted at the next start, by two processes at once, one of them cut off",
  () =>
    Effect.scoped(Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const first = yield* processWith(old)
      const earlier = Object.entries(migrations).filter(([name]) => name < "0005")
      yield* sql`CREATE SCHEMA truss`
      yield* Migrator.make({})({ loader: Migrator.fromRecord(Object.fromEntries(earlier)), table: "truss.migrations" })
      yield* sql`INSERT INTO truss.tables (table_schema, table_name) VALUES ('public', 'orders')`
      yield* sql`INSERT INTO truss.webhooks (name, table_id, events, url, headers, secret, previous_secret,
        previous_secret_until, active, concurrency, timeout_ms, max_attempts)
      SELECT g::text, 1, '{INSERT}', 'http://127.0.0.1:1/',
        CASE WHEN g % 3 = 0 THEN '{}' ELSE '{"X-Key": "v1.plain\\"' || g || '", "X-Empty": ""}' END::json,
        CASE WHEN g % 4 > 0 THEN 'plain' || g END, CASE WHEN g % 4 = 1 THEN 'plain-before' || g END,
        CASE WHEN g % 4 = 1 THEN now() + interval '1 day' END, true, 1, 1000, 1
      FROM generate_series(1, ${count}::int) g`

      yield* Effect.provideContext(migrate(), first)
      const second = yield* processWith(old)
      const encrypted = sql<{ n: number }>`
      SELECT count(*)::float8 AS n FROM truss.webhooks w WHERE starts_with(secret, 'v1.')`
      // The first is cut off as soon as some of its work can be seen.
      const seen = Effect.repeat(encrypted, { until: ([row]) => row!.n > 0 })
      yield* Effect.raceFirst(Context.get(first, Secrets).admit, seen)
      yield* Effect.all([Context.get(second, Secrets).admit, Context.get(first, Secrets).admit], {
        concurrency: "unbounded"
      })
      assert.notInclude(yield* stored, "plain")
      for (const row of yield* sql<{ id: WebhookId; name: string }>`SELECT id::text, name FROM truss.webhooks`) {
        const n = Number(row.name)
        const { headers, previousSecret, secret } = yield* open(second, row.id)
        assert.strictEqual(secret, n % 4 > 0 ? `plain${n}` : null)
        assert.strictEqual(previousSecret?.secret, n % 4 === 1 ? `plain-before${n}` : undefined)
        assert.deepStrictEqual(headers, n % 3 === 0 ? {} : { "X-Key": `v1.plain"${n}`, "X-Empty": "" })
      }
    }))
)
