import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Receiver } from "../support/Receiver.ts"
import { Application, RunningService, until } from "../support/RunningService.ts"

const request = Effect.fnUntraced(
  function*(method: string, path: string, headers: Record<string, string>, body?: unknown) {
    const { baseUrl } = yield* RunningService
    const response = yield* Effect.promise(() =>
      fetch(`${baseUrl}/api${path}`, {
        method,
        headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
        ...(body !== undefined && { body: JSON.stringify(body) })
      })
    )
    const text = yield* Effect.promise(() => response.text())
    return { status: response.status, headers: response.headers, text, tag: response.headers.get("etag") }
  }
)

const webhook = Effect.fnUntraced(function*(table: string) {
  const sql = yield* Application
  const receiver = yield* Receiver
  yield* sql.unsafe(`CREATE TABLE ${table} (id int PRIMARY KEY)`)
  const input = { name: table, table_name: table, events: ["INSERT"], url: receiver.url(`/${table}`) }
  const created = yield* request("POST", "/webhooks", {}, input)
  assert.strictEqual(created.status, 201, created.text)
  return { path: `/webhooks/${JSON.parse(created.text).id}`, tag: created.tag!, id: JSON.parse(created.text).id }
})

const one = (path: string, condition: Record<string, string>, name = "renamed") =>
  request("PATCH", path, condition, { name })

it.layer(Layer.merge(RunningService.layer(), Receiver.layer), { excludeTestServices: true })("a webhook", (it) => {
  it.effect("has a tag that changes with its settings, and not with its deliveries", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const sql = yield* Application
      const { id, path, tag } = yield* webhook("tagged")
      assert.match(tag, /^"[\x21\x23-\x7e]+"$/)
      assert.strictEqual((yield* request("GET", path, {})).tag, tag)
      yield* sql`INSERT INTO tagged VALUES (1)`
      yield* until("the delivery", service.get(id), (now) => now.last_status_code === 200)
      assert.strictEqual((yield* request("GET", path, {})).tag, tag)
      const patched = yield* one(path, {})
      assert.notStrictEqual(patched.tag, tag)
      assert.strictEqual((yield* request("GET", path, {})).tag, patched.tag)
      assert.strictEqual((yield* request("POST", `${path}/secret/rotate`, {})).status, 200)
      assert.notStrictEqual((yield* request("GET", path, {})).tag, patched.tag)
    }))

  it.effect("is not sent again to who has it", () =>
    Effect.gen(function*() {
      const { path, tag } = yield* webhook("known")
      for (const list of [tag, `"other", W/${tag}`, "*"]) {
        const answer = yield* request("GET", path, { "if-none-match": list })
        assert.deepStrictEqual([answer.status, answer.text, answer.tag], [304, "", tag], list)
      }
      assert.strictEqual((yield* request("GET", path, { "if-none-match": "\"other\"" })).status, 200)
      assert.strictEqual((yield* request("GET", path, { "if-match": "\"other\"" })).status, 412)
    }))

  it.effect("is changed only by who has seen its settings, if they say so", () =>
    Effect.gen(function*() {
      const { path, tag } = yield* webhook("guarded")
      for (const stale of ["\"other\"", `W/${tag}`, "\"\""]) {
        const answer = yield* one(path, { "if-match": stale })
        assert.strictEqual(answer.status, 412, stale)
        assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
        assert.strictEqual(JSON.parse(answer.text).type, "urn:truss:problem:precondition-failed")
      }
      assert.strictEqual((yield* one(path, { "if-none-match": "*" })).status, 412)
      assert.strictEqual(JSON.parse((yield* request("GET", path, {})).text).name, "guarded")
      assert.strictEqual((yield* one(path, { "if-match": `"other", ${tag}` })).status, 200)
      assert.strictEqual((yield* one(path, { "if-match": tag })).status, 412)
      assert.strictEqual((yield* one(path, { "if-match": "*" })).status, 200)
    }))

  it.effect("is changed by one of many who saw the same", () =>
    Effect.gen(function*() {
      const { path, tag } = yield* webhook("contended")
      const answers = yield* Effect.forEach(
        ["a", "b", "c", "d", "e", "f"],
        (name) => one(path, { "if-match": tag }, name),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(answers.map(({ status }) => status).toSorted(), [200, 412, 412, 412, 412, 412])
      const winner = answers.find(({ status }) => status === 200)!
      const read = yield* request("GET", path, {})
      assert.deepStrictEqual([read.text, read.tag], [winner.text, winner.tag])
    }))

  it.effect("is deleted only as it was seen, if that is asked", () =>
    Effect.gen(function*() {
      const { path, tag } = yield* webhook("deleted")
      const patched = yield* one(path, {})
      assert.strictEqual((yield* request("DELETE", path, { "if-match": tag })).status, 412)
      assert.strictEqual((yield* request("GET", path, {})).status, 200)
      assert.strictEqual((yield* request("DELETE", path, { "if-match": patched.tag! })).status, 204)
      for (const method of ["GET", "PATCH", "DELETE"]) {
        const body = method === "PATCH" ? { name: "x" } : undefined
        assert.strictEqual((yield* request(method, path, { "if-match": "*" }, body)).status, 404, method)
      }
    }))

  it.effect("is left alone by a condition that nobody can understand", () =>
    Effect.gen(function*() {
      const { path } = yield* webhook("unclear")
      for (const method of ["GET", "PATCH", "DELETE"]) {
        const body = method === "PATCH" ? { name: "x" } : undefined
        const answer = yield* request(method, path, { "if-match": "unquoted" }, body)
        assert.strictEqual(answer.status, 400, method)
        assert.deepStrictEqual(JSON.parse(answer.text).errors.map((fault: { path: string }) => fault.path), [
          "if-match"
        ])
      }
      assert.strictEqual((yield* request("GET", path, {})).status, 200)
    }))
})
