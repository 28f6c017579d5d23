import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Effect, PubSub } from "effect"
import { defaults, type WebhookCreate, type WebhookId } from "../../src/domain/Webhook.ts"
import { Capture } from "../../src/services/Capture.ts"
import { secretColumns, type SecretRow, Secrets } from "../../src/services/Secrets.ts"
import { WebhookChanges } from "../../src/services/WebhookChanges.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { layerInstalled, run } from "../support/RunningService.ts"

const input = (table: string, more?: Partial<WebhookCreate>): WebhookCreate => ({
  ...defaults,
  name: table,
  table_name: table,
  events: ["INSERT"],
  url: "https://example.com/hook",
  ...more
})

/** What is stored, decrypted. */
const stored = Effect.fnUntraced(function*(id: WebhookId) {
  const sql = yield* PgClient.PgClient
  const secrets = yield* Secrets
  const [row] = yield* sql.unsafe<SecretRow & { table_id: number }>(
    `SELECT w.headers::text, ${secretColumns}, w.table_id FROM truss.webhooks w WHERE w.id = $1::uuid`,
    [id]
  )
  return { table_id: row!.table_id, ...yield* secrets.open(id, row!) }
})

const triggersOn = (table: string) =>
  Effect.flatMap(PgClient.PgClient, (sql) =>
    Effect.map(
      sql`SELECT tgname FROM pg_trigger WHERE tgrelid = ${`public.${table}`}::regclass AND NOT tgisinternal`,
      (rows) => rows.length
    ))

it.layer(layerInstalled(), { excludeTestServices: true })("webhooks", (it) => {
  it.effect("are shown as they were created, without header values and secret, and in full where they are needed", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      yield* run("CREATE TABLE shown (id int)")
      const webhook = yield* webhooks.create(input("shown", {
        name: "Name 🎉 \"q\"",
        events: ["DELETE", "INSERT"],
        headers: { "X-Key": "v1", Authorization: "Bearer \"x\"" },
        secret: "s3cret\\",
        concurrency: 3,
        timeout_ms: 100,
        max_attempts: 20
      }))
      assert.deepInclude(webhook, {
        name: "Name 🎉 \"q\"",
        table_schema: "public",
        table_name: "shown",
        url: "https://example.com/hook",
        headers: { "X-Key": "***", Authorization: "***" },
        has_secret: true,
        active: true,
        fail_count: 0,
        disabled_reason: null,
        concurrency: 3,
        timeout_ms: 100,
        max_attempts: 20,
        last_delivery_at: null,
        last_status_code: null
      })
      assert.sameMembers([...webhook.events], ["INSERT", "DELETE"])
      assert.match(webhook.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      assert.notInclude(JSON.stringify(webhook), "s3cret")
      assert.deepStrictEqual(yield* webhooks.get(webhook.id), webhook)
      const row = yield* stored(webhook.id)
      assert.deepStrictEqual(row.headers, { "X-Key": "v1", Authorization: "Bearer \"x\"" })
      assert.strictEqual(row.secret, "s3cret\\")
    }))

  it.effect("keep what a patch leaves out, and the value of a header that is written back masked", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      yield* run("CREATE TABLE patched (id int)")
      const webhook = yield* webhooks.create(
        input("patched", { headers: { "X-Kept": "1", "X-Gone": "2", "X-New": "3" }, secret: "old" })
      )
      const unchanged = yield* webhooks.patch(webhook.id, {})
      assert.deepStrictEqual({ ...unchanged, updated_at: "", version: "" }, { ...webhook, updated_at: "", version: "" })

      const patched = yield* webhooks.patch(webhook.id, {
        headers: { "x-kept": "***", "X-New": "4", "X-More": "***" },
        timeout_ms: 500
      })
      assert.strictEqual(patched.timeout_ms, 500)
      assert.strictEqual(patched.max_attempts, 8)
      assert.isTrue(patched.has_secret)
      assert.isAbove(Date.parse(patched.updated_at), Date.parse(webhook.updated_at) - 1)
      assert.strictEqual(patched.created_at, webhook.created_at)
      const row = yield* stored(webhook.id)
      assert.deepStrictEqual(row.headers, { "x-kept": "1", "X-New": "4", "X-More": "***" })
      assert.strictEqual(row.secret, "old")

      assert.isFalse((yield* webhooks.patch(webhook.id, { secret: null })).has_secret)
      yield* webhooks.patch(webhook.id, { secret: "new" })
      assert.strictEqual((yield* stored(webhook.id)).secret, "new")

      const paused = yield* webhooks.patch(webhook.id, { active: false })
      assert.deepInclude(paused, { active: false, disabled_reason: "paused" })
      assert.deepInclude(yield* webhooks.patch(webhook.id, { name: "x" }), { active: false, disabled_reason: "paused" })
      assert.deepInclude(yield* webhooks.patch(webhook.id, { active: true }), { active: true, disabled_reason: null })
    }))

  it.effect("lose no patch when many come at once", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      yield* run("CREATE TABLE contended (id int)")
      const webhook = yield* webhooks.create(input("contended"))
      yield* Effect.forEach(
        [
          { name: "renamed" },
          { concurrency: 7 },
          { timeout_ms: 700 },
          { max_attempts: 7 },
          { url: "https://example.com/7" },
          {
            headers: { "x-seven": "7" }
          },
          { secret: "seven" },
          { active: false }
        ],
        (patch) => webhooks.patch(webhook.id, patch),
        { concurrency: "unbounded" }
      )
      assert.deepInclude(yield* webhooks.get(webhook.id), {
        name: "renamed",
        concurrency: 7,
        timeout_ms: 700,
        max_attempts: 7,
        url: "https://example.com/7",
        headers: { "x-seven": "***" },
        has_secret: true,
        active: false
      })
    }))

  it.effect("move to another table with their triggers, or stay whole when they cannot", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      yield* run("CREATE TABLE here (id int)", "CREATE TABLE there (id int)", "CREATE VIEW nowhere AS SELECT 1 AS id")
      const webhook = yield* webhooks.create(input("here", { events: ["INSERT", "DELETE"] }))
      const error = yield* Effect.flip(webhooks.patch(webhook.id, { table_name: "nowhere", name: "changed" }))
      assert.strictEqual(error._tag, "TableNotWatchable")
      assert.deepInclude(yield* webhooks.get(webhook.id), { name: "here", table_name: "here" })
      assert.strictEqual(yield* triggersOn("here"), 2)
      const moved = yield* webhooks.patch(webhook.id, { table_name: "there" })
      assert.strictEqual(moved.table_name, "there")
      assert.deepStrictEqual([yield* triggersOn("here"), yield* triggersOn("there")], [0, 2])
    }))

  it.effect("can be changed, paused and deleted while their table is missing", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      const capture = yield* Capture
      yield* run("CREATE TABLE missing (id int)", "CREATE TABLE found (id int)")
      const webhook = yield* webhooks.create(input("missing"))
      const other = yield* webhooks.create(input("missing"))
      yield* run("DROP TABLE missing")
      yield* capture.reconcile
      assert.deepInclude(yield* webhooks.patch(webhook.id, { name: "still" }), {
        name: "still",
        disabled_reason: "table_missing"
      })
      assert.deepInclude(yield* webhooks.patch(webhook.id, { active: false }), {
        active: false,
        disabled_reason: "paused"
      })
      const error = yield* Effect.flip(webhooks.patch(webhook.id, { active: true }))
      assert.strictEqual(error._tag, "TableNotWatchable")
      assert.deepInclude(yield* webhooks.patch(other.id, { table_name: "found" }), {
        table_name: "found",
        disabled_reason: null
      })
      yield* webhooks.remove(webhook.id)
      assert.strictEqual((yield* Effect.flip(webhooks.get(webhook.id)))._tag, "WebhookNotFound")
    }))

  it.effect("are not found by ids that are none, or are gone", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      yield* run("CREATE TABLE gone (id int)")
      const webhook = yield* webhooks.create(input("gone"))
      yield* webhooks.remove(webhook.id)
      for (const id of [webhook.id, "", "x", "0F0E0D0C-0B0A-4999-8888-776655443322", "'; --", "\0"]) {
        for (
          const effect of [
            Effect.flip(webhooks.get(id)),
            Effect.flip(webhooks.patch(id, { name: "x" })),
            Effect.flip(webhooks.remove(id))
          ]
        ) assert.strictEqual((yield* effect)._tag, "WebhookNotFound", id)
      }
    }))

  it.effect("tell the rest of the process when they are created, changed and deleted", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      const heard = yield* PubSub.subscribe(yield* WebhookChanges)
      yield* run("CREATE TABLE told (id int)")
      const { id } = yield* webhooks.create(input("told"))
      assert.strictEqual(yield* PubSub.take(heard), id)
      yield* webhooks.patch(id, { name: "x" })
      assert.strictEqual(yield* PubSub.take(heard), id)
      yield* webhooks.remove(id)
      assert.strictEqual(yield* PubSub.take(heard), id)
    }).pipe(Effect.scoped))
})

it.layer(layerInstalled(), { excludeTestServices: true })("the list of webhooks", (it) => {
  it.effect("comes in pages that stay steady while webhooks are added and deleted", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      yield* run("CREATE TABLE listed (id int)", "CREATE SCHEMA other", "CREATE TABLE other.listed (id int)")
      assert.deepStrictEqual(yield* webhooks.list({ limit: 10 }), { data: [], next_cursor: null })
      const created = yield* Effect.forEach(
        Array.from({ length: 12 }, (_, i) => i),
        (i) =>
          webhooks.create(
            input("listed", { name: `w${i}`, active: i % 3 > 0, table_schema: i % 2 === 0 ? "public" : "other" })
          )
      )
      const names: Array<string> = []
      let cursor: string | null = null
      let pages = 0
      do {
        const page: Effect.Success<ReturnType<typeof webhooks.list>> = yield* webhooks.list({
          limit: 5,
          ...(cursor === null ? {} : { cursor })
        })
        names.push(...page.data.map(({ name }) => name))
        cursor = page.next_cursor
        pages++
        if (pages === 1) yield* webhooks.remove(created[1]!.id)
      } while (cursor !== null)
      assert.strictEqual(pages, 3)
      assert.deepStrictEqual(names, Array.from({ length: 12 }, (_, i) => `w${i}`))

      const count = (query: object) => Effect.map(webhooks.list({ limit: 500, ...query }), ({ data }) => data.length)
      assert.strictEqual(yield* count({}), 11)
      assert.strictEqual(yield* count({ active: false }), 4)
      assert.strictEqual(yield* count({ active: true }), 7)
      assert.strictEqual(yield* count({ table: "listed" }), 11)
      assert.strictEqual(yield* count({ table: "public.listed" }), 6)
      assert.strictEqual(yield* count({ table: "other.listed", active: true }), 3)
      assert.strictEqual(yield* count({ table: "nothing" }), 0)
      assert.strictEqual(yield* count({ table: "' OR true --" }), 0)
      // A full last page has no page after it.
      assert.isNull((yield* webhooks.list({ limit: 11 })).next_cursor)
    }))

  it.effect("refuses cursors that are not its own", () =>
    Effect.gen(function*() {
      const webhooks = yield* Webhooks
      const encode = (text: string) => Buffer.from(text).toString("base64url")
      for (
        const cursor of [
          "x",
          "\0",
          "é",
          encode("2025-01-01 00:00:00+00 x"),
          encode("yesterday 0f0e0d0c-0b0a-4999-8888-776655443322"),
          encode("2025-99-99 99:99:99+00 0f0e0d0c-0b0a-4999-8888-776655443322"),
          encode("9999-01-01 00:00:00+99 0f0e0d0c-0b0a-4999-8888-776655443322")
        ]
      ) {
        const error = yield* Effect.flip(webhooks.list({ limit: 5, cursor }))
        assert.strictEqual(error._tag, "InvalidParameter", cursor)
      }
    }))
})
