import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Registrar } from "../../src/services/Registrar.ts"
import { Webhooks } from "../../src/services/Webhooks.ts"
import { layerInstalled, run } from "../support/RunningService.ts"

const input = {
  name: "new orders",
  table_name: "orders",
  events: ["INSERT"],
  url: "http://127.0.0.1:1/",
  secret: "a long random string",
  headers: { authorization: "Bearer one" },
  filter: [{ column: "id", op: "gt", value: "5" }]
} as const

const audited = Effect.flatMap(PgClient.PgClient, (sql) => sql<{ action: string }>`SELECT action FROM truss.audit`)

it.layer(layerInstalled(), { excludeTestServices: true })("webhooks that stand in code", (it) => {
  it.effect("are made once, however often and by how many at a time they are registered", () =>
    Effect.gen(function*() {
      const registrar = yield* Registrar
      yield* run("CREATE TABLE orders (id int PRIMARY KEY, note text)")
      const made = yield* Effect.all(Array.from({ length: 8 }, () => registrar.register(input)), { concurrency: 8 })
      assert.strictEqual(new Set(made.map(({ id }) => id)).size, 1)
      assert.deepStrictEqual((yield* audited).map(({ action }) => action), ["webhook.created"])
      const again = yield* registrar.register(input)
      assert.deepStrictEqual(again, made[0])
    }))

  it.effect("change what is said, secrets and headers too, and leave alone what is not", () =>
    Effect.gen(function*() {
      const registrar = yield* Registrar
      const webhooks = yield* Webhooks
      const { id, version } = yield* registrar.register(input)
      yield* webhooks.patch(id, { active: false, concurrency: 3 })
      const changed = yield* registrar.register({ ...input, url: "http://127.0.0.1:2/", max_attempts: 2 })
      assert.deepInclude(changed, { id, url: "http://127.0.0.1:2/", max_attempts: 2, active: false, concurrency: 3 })
      assert.notStrictEqual(changed.version, version)
      const versions = [changed.version]
      for (const more of [{ secret: "another" }, { headers: { authorization: "Bearer two" } }, { filter: null }]) {
        const next = {
          ...input,
          url: "http://127.0.0.1:2/",
          secret: "another",
          headers: { authorization: "Bearer two" }
        }
        versions.push((yield* registrar.register({ ...next, ...more })).version)
      }
      assert.notStrictEqual(versions[1], versions[0])
      assert.notStrictEqual(versions[3], versions[2])
      assert.strictEqual(versions[2], versions[1])
    }))

  it.effect("are refused with every fault at once, and when it cannot be said which is meant", () =>
    Effect.gen(function*() {
      const registrar = yield* Registrar
      const webhooks = yield* Webhooks
      const wrong = yield* Effect.flip(
        registrar.register({ ...input, name: "", url: "ftp://x", colour: "red" } as never)
      )
      assert.strictEqual(wrong._tag, "InvalidWebhook")
      for (const part of ["name", "url", "colour"]) assert.include(wrong.message, part)
      assert.notInclude(wrong.message, input.secret)
      const nowhere = yield* Effect.flip(registrar.register({ ...input, name: "n", table_name: "nowhere" }))
      assert.strictEqual(nowhere._tag, "TableNotWatchable")

      const first = yield* registrar.register({ ...input, name: "twice" })
      const second = yield* registrar.register({ ...input, name: "once" })
      yield* webhooks.patch(second.id, { name: "twice" })
      const ambiguous = yield* Effect.flip(registrar.register({ ...input, name: "twice" }))
      assert.include(ambiguous.message, first.id)
      assert.include(ambiguous.message, second.id)
    }))
})
