import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { Application, RunningService } from "../support/RunningService.ts"
import { TestServer } from "./TestServer.ts"

it.layer(TestServer.layer())("POST /webhooks/preview", (it) => {
  it.effect("answers with the bodies digit for digit, and asks for every event of the schema public unless told", () =>
    Effect.gen(function*() {
      const { ask } = yield* TestServer
      const answer = yield* ask("POST", "/api/webhooks/preview", { table_name: "orders" })
      assert.strictEqual(answer.status, 200)
      assert.match(answer.headers.get("content-type") ?? "", /^application\/json/)
      assert.include(answer.text, `"n":12345678901234567890.10`)
      assert.deepStrictEqual(answer.json.samples[0].asked, {
        table_schema: "public",
        table_name: "orders",
        events: ["INSERT", "UPDATE", "DELETE", "TRUNCATE"],
        columns: null,
        filter: null
      })
      const selection = {
        table_schema: "s",
        table_name: "t",
        events: ["UPDATE"],
        columns: ["a"],
        filter: [{ column: "b", op: "in", value: [1, { c: [null] }] }]
      }
      assert.deepStrictEqual((yield* ask("POST", "/api/webhooks/preview", selection)).json.samples[0].asked, selection)
    }))

  it.effect("says with a 400 every member that does not fit, by its path", () =>
    Effect.gen(function*() {
      const { ask } = yield* TestServer
      const answer = yield* ask("POST", "/api/webhooks/preview", {
        table_name: "",
        events: [],
        columns: [],
        filter: [
          { column: "a", op: "like", value: "x" },
          { column: "a", op: "eq" },
          { column: "a", op: "changed", value: 1 },
          { column: "a", op: "gt", value: [1] },
          { column: "a", op: "in", value: [] },
          { column: "a", op: "eq", value: "\0" },
          { column: "", op: "is_null" },
          { column: "a", op: "is_null", more: 1 }
        ],
        url: "https://example.com"
      })
      assert.strictEqual(answer.status, 400)
      assert.includeMembers(
        answer.json.errors.map((fault: { path: string }) => fault.path),
        [
          "table_name",
          "events",
          "columns",
          "filter.0.op",
          "filter.1.value",
          "filter.2.value",
          "filter.3.value",
          "filter.4.value",
          "filter.5.value",
          "filter.6.column",
          "filter.7.more",
          "url"
        ]
      )
      const unfit = yield* ask("POST", "/api/webhooks/preview", { table_name: "unfit" })
      assert.strictEqual(unfit.status, 400)
      assert.deepStrictEqual(unfit.json.errors, [
        { path: "filter.0.value", message: "is no value of the column's type integer" }
      ])
    }))

  it.effect("says with a 422 what the table does not have", () =>
    Effect.gen(function*() {
      const { ask } = yield* TestServer
      const nowhere = yield* ask("POST", "/api/webhooks/preview", { table_name: "nowhere" })
      assert.strictEqual(nowhere.status, 422)
      assert.strictEqual(nowhere.json.type, "urn:truss:problem:table-not-watchable")
      const lacking = yield* ask("POST", "/api/webhooks/preview", { table_name: "lacking" })
      assert.strictEqual(lacking.status, 422)
      assert.strictEqual(lacking.json.type, "urn:truss:problem:table-mismatch")
      assert.strictEqual(lacking.json.detail, "public.lacking has no column b")
      assert.deepStrictEqual(lacking.json.errors, [
        { path: "columns.1", message: "public.lacking has no column b" }
      ])
    }))

  it.effect("is no webhook of that id", () =>
    Effect.gen(function*() {
      const { ask } = yield* TestServer
      for (const [method, body] of [["GET", undefined], ["PATCH", {}], ["DELETE", undefined]] as const) {
        assert.strictEqual((yield* ask(method, "/api/webhooks/preview", body)).status, 404, method)
      }
    }))
})

it.layer(RunningService.layer(), { excludeTestServices: true })("a webhook's selection, asked over HTTP", (it) => {
  it.effect("is refused with 400 or 422 when it is created or changed, and shown as it was given", () =>
    Effect.gen(function*() {
      const { ask, create, get, patch } = yield* RunningService
      const sql = yield* Application
      yield* sql`CREATE TABLE asked (id int PRIMARY KEY, total bigint)`
      yield* sql`CREATE TABLE keyless (id int)`
      const input = { name: "a", table_name: "asked", events: ["INSERT"], url: "https://example.com/x" }
      const errors = (text: string) =>
        (JSON.parse(text) as { errors: ReadonlyArray<{ path: string }> }).errors.map(({ path }) => path)
      const value = yield* ask("POST", "/webhooks", {
        ...input,
        filter: [{ column: "id", op: "eq", value: 1 }, { column: "id", op: "in", value: ["x"] }]
      })
      assert.strictEqual(value.status, 400)
      assert.deepStrictEqual(errors(value.text), ["filter.1.value"])
      const column = yield* ask("POST", "/webhooks", { ...input, columns: ["id", "nope"] })
      assert.strictEqual(column.status, 422)
      assert.deepStrictEqual(errors(column.text), ["columns.1"])
      const order = yield* ask("POST", "/webhooks", { ...input, table_name: "keyless", ordering: "row" })
      assert.strictEqual(order.status, 422)
      assert.deepStrictEqual(errors(order.text), ["ordering"])

      const filter = [{ column: "total", op: "gt", value: "9007199254740993" }]
      const webhook = yield* create({ ...input, filter, columns: ["total"] })
      assert.deepStrictEqual((yield* get(webhook.id)).filter as unknown, filter)
      assert.deepStrictEqual((yield* get(webhook.id)).columns, ["total"])
      const bad = yield* ask("PATCH", `/webhooks/${webhook.id}`, { filter: [{ column: "gone", op: "changed" }] })
      assert.strictEqual(bad.status, 422)
      assert.deepStrictEqual((yield* get(webhook.id)).filter as unknown, filter)
      assert.isNull((yield* patch(webhook.id, { filter: null })).filter)

      yield* sql`INSERT INTO asked SELECT i, 9007199254740990 + i FROM generate_series(1, 10) i`
      const preview = yield* ask("POST", "/webhooks/preview", { table_name: "asked", filter })
      assert.strictEqual(preview.status, 200)
      assert.include(preview.text, `{"considered":10,"would_fire":7,"samples":[{"event":"INSERT"`)
      assert.include(preview.text, `"total":9007199254741000}`)
    }))
})
