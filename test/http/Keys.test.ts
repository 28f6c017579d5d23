import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { ApiKey } from "../../src/domain/ApiKey.ts"
import type { AuditRecord } from "../../src/domain/Audit.ts"
import { run, RunningService } from "../support/RunningService.ts"

interface KeyList {
  readonly data: ReadonlyArray<ApiKey>
  readonly next_cursor: string | null
}

interface AuditList {
  readonly data: ReadonlyArray<AuditRecord>
  readonly next_cursor: string | null
}

type CreatedKey = ApiKey & { readonly key: string }

const parsed = Effect.fnUntraced(function*<A>(path: string) {
  const service = yield* RunningService
  const answer = yield* service.ask("GET", path)
  assert.strictEqual(answer.status, 200, answer.text)
  return JSON.parse(answer.text) as A
})

const keys = (query = "limit=500") => parsed<KeyList>(`/keys?${query}`)
const audit = (query = "limit=500") => parsed<AuditList>(`/audit?${query}`)

const made = Effect.fnUntraced(function*(name: string, scope: "read" | "write") {
  const service = yield* RunningService
  const answer = yield* service.ask("POST", "/keys", { name, scope })
  assert.strictEqual(answer.status, 201, answer.text)
  return JSON.parse(answer.text) as CreatedKey
})

/** The status that the management API gives to the owner of a key. */
const asked = Effect.fnUntraced(function*(key: string, method: string, path: string, body?: unknown) {
  const service = yield* RunningService
  const answer = yield* Effect.promise(() =>
    fetch(`${service.baseUrl}/v1${path}`, {
      method,
      headers: { apikey: key, "content-type": "application/json" },
      ...(body !== undefined && { body: JSON.stringify(body) })
    })
  )
  yield* Effect.promise(() => answer.text())
  return answer.status
})

it.layer(RunningService.layer(), { excludeTestServices: true })("API keys over HTTP", (it) => {
  it.effect("are shown once, and work until they are revoked", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const { key, ...entry } = yield* made("deploy", "write")
      assert.match(key, /^truss_sk_[\w-]{43}$/)
      assert.hasAllKeys(entry, ["id", "name", "scope", "prefix", "created_at", "last_used_at"])
      assert.deepInclude(entry, { name: "deploy", scope: "write", prefix: key.slice(0, 16), last_used_at: null })
      const list = yield* keys()
      assert.deepStrictEqual(list.data.find(({ id }) => id === entry.id), entry)
      assert.notInclude(JSON.stringify(list), key)

      assert.strictEqual(yield* asked(key, "GET", "/webhooks"), 200)
      const gone = yield* service.ask("DELETE", `/keys/${entry.id}`)
      assert.deepStrictEqual([gone.status, gone.text], [204, ""])
      assert.strictEqual(yield* asked(key, "GET", "/webhooks"), 401)
      for (const id of [entry.id, crypto.randomUUID(), "nope", "%00"]) {
        assert.strictEqual((yield* service.ask("DELETE", `/keys/${id}`)).status, 404, id)
      }
    }))

  it.effect("of scope read see the list and change nothing", () =>
    Effect.gen(function*() {
      const reader = yield* made("reader", "read")
      const writer = yield* made("writer", "write")
      assert.strictEqual(yield* asked(reader.key, "GET", "/keys"), 200)
      assert.strictEqual(yield* asked(reader.key, "GET", "/audit"), 200)
      assert.strictEqual(yield* asked(reader.key, "POST", "/keys", { name: "x", scope: "write" }), 403)
      assert.strictEqual(yield* asked(reader.key, "DELETE", `/keys/${writer.id}`), 403)
      assert.strictEqual(yield* asked(writer.key, "POST", "/keys", { name: "by writer", scope: "read" }), 201)
      assert.strictEqual(yield* asked(writer.key, "DELETE", `/keys/${reader.id}`), 204)
      assert.strictEqual(yield* asked(reader.key, "GET", "/keys"), 401)
      const { data } = yield* audit()
      const [revoked, created] = data
      assert.deepInclude(revoked, { actor: "writer", action: "key.revoked", webhook_id: null })
      assert.deepStrictEqual(revoked!.detail, { key_id: reader.id, name: "reader", scope: "read" })
      assert.deepInclude(created, { actor: "writer", action: "key.created" })
      assert.deepInclude(created!.detail, { name: "by writer", scope: "read" })
      for (const { key } of [reader, writer]) assert.notInclude(JSON.stringify(data), key)
    }))

  it.effect("need a name and a scope, and every fault is said at once", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const before = (yield* keys()).data.length
      const paths = Effect.fnUntraced(function*(body: unknown) {
        const answer = yield* service.ask("POST", "/keys", body)
        assert.strictEqual(answer.status, 400, answer.text)
        assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
        return (JSON.parse(answer.text).errors as ReadonlyArray<{ path: string }>).map(({ path }) => path).sort()
      })
      assert.deepStrictEqual(yield* paths({}), ["name", "scope"])
      assert.deepStrictEqual(yield* paths({ name: "", scope: "admin", more: 1 }), ["more", "name", "scope"])
      assert.deepStrictEqual(yield* paths({ name: "a".repeat(201), scope: "read" }), ["name"])
      assert.deepStrictEqual(yield* paths({ name: "a\u0000", scope: "read" }), ["name"])
      assert.deepStrictEqual(yield* paths([]), [""])
      assert.strictEqual((yield* keys()).data.length, before)
    }))

  it.effect("come in pages, oldest first", () =>
    Effect.gen(function*() {
      for (let n = 0; n < 5; n++) yield* made(`page ${n}`, "read")
      const all = (yield* keys()).data
      const paged: Array<ApiKey> = []
      let cursor: string | null = null
      do {
        const page: KeyList = yield* keys(`limit=2${cursor === null ? "" : `&cursor=${cursor}`}`)
        assert.isAtMost(page.data.length, 2)
        paged.push(...page.data)
        cursor = page.next_cursor
      } while (cursor !== null)
      assert.deepStrictEqual(paged, [...all])
      assert.deepStrictEqual(paged.slice(-5).map(({ name }) => name), [0, 1, 2, 3, 4].map((n) => `page ${n}`))
      const service = yield* RunningService
      for (const query of ["limit=501", "cursor=nonsense"]) {
        assert.strictEqual((yield* service.ask("GET", `/keys?${query}`)).status, 400, query)
      }
    }))
})

it.layer(RunningService.layer(), { excludeTestServices: true })("the audit", (it) => {
  it.effect("says who changed what, newest first, and holds no secret", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* run("CREATE TABLE orders (id int PRIMARY KEY)")
      const secret = "whsec_c2VjcmV0IHRoYXQgbm9ib2R5IG1heSBzZWUh"
      const { id } = yield* service.create({
        table_name: "orders",
        url: "http://127.0.0.1:1/",
        secret,
        headers: { "x-token": "hidden value" }
      })
      yield* service.patch(id, { headers: { "x-token": "another hidden" }, active: false })
      yield* service.remove(id)
      const { data, next_cursor } = yield* audit()
      assert.isNull(next_cursor)
      assert.deepStrictEqual(
        data.map(({ action, actor, webhook_id }) => [action, actor, webhook_id]),
        ["deleted", "updated", "created"].map((what) => [`webhook.${what}`, "local", id])
      )
      assert.deepStrictEqual(data.map(({ detail }) => detail), [
        { name: "orders", table: "public.orders" },
        { fields: ["headers", "active"] },
        { name: "orders", table: "public.orders" }
      ])
      for (const { at } of data) assert.match(at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      assert.notMatch(JSON.stringify(data), /whsec_|hidden/)
    }))

  it.effect("comes in pages that stay steady while entries are added", () =>
    Effect.gen(function*() {
      for (let n = 0; n < 12; n++) yield* made(`k${n}`, "read")
      const all = (yield* audit()).data
      assert.deepStrictEqual(all.map(({ id }) => Number(id)), all.map(({ id }) => Number(id)).toSorted((a, b) => b - a))
      const paged: Array<AuditRecord> = []
      let cursor: string | null = null
      do {
        const page: AuditList = yield* audit(`limit=2${cursor === null ? "" : `&cursor=${cursor}`}`)
        paged.push(...page.data)
        yield* made("meanwhile", "read")
        cursor = page.next_cursor
      } while (cursor !== null)
      assert.deepStrictEqual(paged, [...all])
      assert.strictEqual(new Set(paged.map(({ id }) => id)).size, all.length)
    }))

  it.effect("is refused for parameters that do not fit", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      for (const query of ["limit=0", "cursor=-1", "cursor=~", `cursor=${"z".repeat(20)}`]) {
        const answer = yield* service.ask("GET", `/audit?${query}`)
        assert.strictEqual(answer.status, 400, query)
        assert.strictEqual(JSON.parse(answer.text).errors[0].path, query.split("=")[0])
      }
      assert.strictEqual((yield* service.ask("POST", "/audit", {})).status, 405)
    }))
})
