import { assert, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Redacted, Scope } from "effect"
import { createHash } from "node:crypto"
import { ApiKeys } from "../../src/services/ApiKeys.ts"
import { IdempotencyKeys } from "../../src/services/IdempotencyKeys.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, RunningService, until } from "../support/RunningService.ts"

const post = Effect.fnUntraced(
  function*(
    path: string,
    key: string,
    body?: unknown,
    options?: { baseUrl?: string; signal?: AbortSignal; apiKey?: string }
  ) {
    const { baseUrl } = yield* RunningService
    const response = yield* Effect.promise(() =>
      fetch(`${options?.baseUrl ?? baseUrl}${path}`, {
        method: "POST",
        headers: {
          "idempotency-key": key,
          ...(options?.apiKey !== undefined && { apikey: options.apiKey }),
          ...(body !== undefined && { "content-type": "application/json" })
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(options?.signal !== undefined && { signal: options.signal })
      })
    )
    const text = yield* Effect.promise(() => response.text())
    return {
      status: response.status,
      text,
      headers: response.headers,
      replayed: response.headers.get("idempotency-replayed")
    }
  }
)

const inputFor = Effect.fnUntraced(function*(table: string) {
  const sql = yield* Application
  const receiver = yield* Receiver
  yield* sql.unsafe(`CREATE TABLE ${table} (id int PRIMARY KEY, n numeric)`)
  return { name: table, table_name: table, events: ["INSERT"], url: receiver.url(`/${table}`) }
})

const count = Effect.fnUntraced(function*(table: string) {
  const service = yield* RunningService
  const { text } = yield* service.ask("GET", `/webhooks?table=${table}`)
  return JSON.parse(text).data.length as number
})

const typeOf = (answer: { readonly text: string }) => JSON.parse(answer.text).type as string

it.layer(Layer.merge(RunningService.layer(), Receiver.layer), { excludeTestServices: true })(
  "a request with an Idempotency-Key",
  (it) => {
    it.effect("is done once and answered the same again", () =>
      Effect.gen(function*() {
        const input = yield* inputFor("once")
        const first = yield* post("/api/webhooks", "once", input)
        assert.deepStrictEqual([first.status, first.replayed], [201, null], first.text)
        const again = yield* post("/api/webhooks", "once", input)
        assert.deepStrictEqual([again.status, again.text, again.replayed], [201, first.text, "true"])
        assert.strictEqual(again.headers.get("etag"), first.headers.get("etag"))
        assert.strictEqual(again.headers.get("content-type"), first.headers.get("content-type"))
        assert.strictEqual(yield* count("once"), 1)
        const other = yield* post("/api/webhooks", "another", input)
        assert.deepStrictEqual([other.status, other.replayed], [201, null])
        assert.strictEqual(yield* count("once"), 2)
      }))

    it.effect("leaves nothing behind by which its body could be guessed without the encryption key", () =>
      Effect.gen(function*() {
        const sql = yield* Application
        const input = yield* inputFor("guessed")
        yield* post("/api/webhooks", "guessed", { ...input, secret: "short" })
        const [kept] = yield* sql<{ fingerprint: string; row: string }>`
          SELECT encode(fingerprint, 'hex') AS fingerprint, i::text AS row FROM truss.idempotency i
          WHERE key = 'guessed'`
        const body = JSON.stringify({ ...input, secret: "short" })
        for (const text of [body, `POST /api/webhooks\n${body}`]) {
          assert.notInclude(kept!.row, createHash("sha256").update(text).digest("hex"))
        }
        assert.lengthOf(kept!.fingerprint, 64)
      }))

    it.effect("is refused when the key stands for another one", () =>
      Effect.gen(function*() {
        const input = yield* inputFor("reused")
        const first = yield* post("/api/webhooks", "reused", input)
        const { id } = JSON.parse(first.text)
        for (
          const [path, body] of [
            ["/api/webhooks", { ...input, name: "other" }],
            [`/api/webhooks/${id}/test`, undefined]
          ] as const
        ) {
          const answer = yield* post(path, "reused", body)
          assert.deepStrictEqual([answer.status, typeOf(answer)], [422, "urn:truss:problem:idempotency-key-reused"])
        }
        assert.strictEqual(yield* count("reused"), 1)
      }))

    it.effect("gets the same refusal again, whatever would be answered now", () =>
      Effect.gen(function*() {
        const sql = yield* Application
        const receiver = yield* Receiver
        const input = { name: "late", table_name: "late", events: ["INSERT"], url: receiver.url("/late") }
        const first = yield* post("/api/webhooks", "late", input)
        assert.strictEqual(first.status, 422)
        yield* sql`CREATE TABLE late (id int PRIMARY KEY)`
        const again = yield* post("/api/webhooks", "late", input)
        assert.deepStrictEqual([again.status, again.text, again.replayed], [422, first.text, "true"])
        assert.strictEqual((yield* post("/api/webhooks", "later", input)).status, 201)
      }))

    it.effect("may be tried again after it was told to", () =>
      Effect.gen(function*() {
        const sql = yield* Application
        const input = yield* inputFor("busy")
        const first = yield* sql.withTransaction(
          Effect.andThen(sql`LOCK TABLE busy IN ACCESS EXCLUSIVE MODE`, post("/api/webhooks", "busy", input))
        )
        assert.deepStrictEqual([first.status, typeOf(first)], [409, "urn:truss:problem:table-locked"])
        assert.strictEqual((yield* post("/api/webhooks", "busy", input)).status, 201)
      }))

    it.effect("is not done twice at the same time, and its answer outlives its connection", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        const input = yield* inputFor("slow")
        let release = () => {}
        const after = new Promise<void>((resolve) => (release = resolve))
        receiver.respond("/slow", () => ({ after }))
        const { id } = JSON.parse((yield* post("/api/webhooks", "slow", input)).text)
        const path = `/api/webhooks/${id}/test`
        const cut = new AbortController()
        const first = yield* Effect.forkChild(Effect.exit(post(path, "test", undefined, { signal: cut.signal })))
        yield* receiver.waitFor("/slow", 1)
        const running = yield* post(path, "test")
        assert.deepStrictEqual([running.status, typeOf(running)], [409, "urn:truss:problem:still-running"])
        assert.match(running.headers.get("retry-after") ?? "", /^\d+$/)
        cut.abort()
        yield* Fiber.join(first)
        release()
        const answer = yield* until("the answer", post(path, "test"), ({ status }) => status !== 409)
        assert.deepStrictEqual([answer.status, answer.replayed], [200, "true"])
        assert.strictEqual(receiver.at("/slow").length, 1)
      }))

    it.effect("is done once by many at the same time, on two processes", () =>
      Effect.gen(function*() {
        const input = yield* inputFor("shared")
        const { baseUrl } = yield* RunningService
        const standby = yield* Layer.build(Layer.fresh(RunningService.layerOn()))
        const other = Context.get(standby, RunningService).baseUrl
        const answers = yield* Effect.forEach(
          [baseUrl, other, baseUrl, other, baseUrl, other],
          (url) => post("/api/webhooks", "shared", input, { baseUrl: url }),
          { concurrency: "unbounded" }
        )
        for (const { status } of answers) assert.include([201, 409], status)
        assert.strictEqual(answers.filter(({ replayed, status }) => status === 201 && replayed === null).length, 1)
        assert.strictEqual(yield* count("shared"), 1)
        const again = yield* post("/api/webhooks", "shared", input)
        assert.deepStrictEqual([again.status, again.replayed], [201, "true"])
      }))

    it.effect("is let end, and its answer kept, when the service stops", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        const input = yield* inputFor("stopping")
        let release = () => {}
        const after = new Promise<void>((resolve) => (release = resolve))
        receiver.respond("/stopping", () => ({ after }))
        const { id } = JSON.parse((yield* post("/api/webhooks", "stopping", input)).text)
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(Layer.fresh(RunningService.layerOn()), scope)
        const { baseUrl } = Context.get(context, RunningService)
        const first = yield* Effect.forkChild(post(`/api/webhooks/${id}/test`, "stop", undefined, { baseUrl }))
        yield* receiver.waitFor("/stopping", 1)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        yield* until(
          "no more connections",
          Effect.promise(() => fetch(`${baseUrl}/health/live`).then(() => true, () => false)),
          (answers) => !answers
        )
        release()
        const answer = yield* Fiber.join(first)
        yield* Fiber.join(closing)
        assert.deepStrictEqual([answer.status, answer.replayed], [200, null], answer.text)
        const again = yield* post(`/api/webhooks/${id}/test`, "stop")
        assert.deepStrictEqual([again.status, again.text, again.replayed], [200, answer.text, "true"])
      }))

    it.effect("rotates a secret once, and the secret is not kept", () =>
      Effect.gen(function*() {
        const sql = yield* Application
        const input = yield* inputFor("rotated")
        const { id } = JSON.parse((yield* post("/api/webhooks", "rotated", { ...input, secret: "the first" })).text)
        const first = yield* post(`/api/webhooks/${id}/secret/rotate`, "rotate")
        const { secret, ...rest } = JSON.parse(first.text)
        assert.isString(secret)
        const again = yield* post(`/api/webhooks/${id}/secret/rotate`, "rotate")
        assert.deepStrictEqual([again.status, JSON.parse(again.text), again.replayed], [200, rest, "true"])
        const [kept] = yield* sql<{ text: string }>`SELECT string_agg(i::text, '') AS text FROM truss.idempotency i`
        assert.notInclude(kept!.text, secret)
        assert.notInclude(kept!.text, "the first")
      }))

    it.effect("keeps digits that no number holds", () =>
      Effect.gen(function*() {
        const sql = yield* Application
        const service = yield* RunningService
        const input = yield* inputFor("digits")
        const { id } = JSON.parse((yield* post("/api/webhooks", "digits", input)).text)
        yield* sql`INSERT INTO digits VALUES (1, 12345678901234567890.1234567890)`
        const [entry] = yield* service.log(id, 1)
        const first = yield* post(`/api/webhooks/${id}/replay/${entry!.id}`, "replay")
        assert.include(first.text, "12345678901234567890.1234567890")
        assert.strictEqual((yield* post(`/api/webhooks/${id}/replay/${entry!.id}`, "replay")).text, first.text)
        assert.strictEqual((yield* service.log(id, 2)).length, 2)
      }))

    it.effect("needs a key of 1 to 255 printable characters", () =>
      Effect.gen(function*() {
        const input = yield* inputFor("keys")
        for (const key of ["", "x".repeat(256), "caf\u00e9", "a\tb"]) {
          const answer = yield* post("/api/webhooks", key, input)
          assert.strictEqual(answer.status, 400, JSON.stringify(key))
          assert.strictEqual(JSON.parse(answer.text).errors[0].path, "idempotency-key")
        }
        assert.strictEqual((yield* post("/api/webhooks", "~ ".repeat(127) + "!", input)).status, 201)
        assert.strictEqual(yield* count("keys"), 1)
      }))

    it.effect("may be anything that is not kept where nothing is changed", () =>
      Effect.gen(function*() {
        const sql = yield* Application
        yield* sql`CREATE TABLE seen (id int PRIMARY KEY)`
        for (const columns of [null, ["id"]]) {
          const answer = yield* post("/api/webhooks/preview", "preview", { table_name: "seen", columns, filter: null })
          assert.deepStrictEqual([answer.status, answer.replayed], [200, null], answer.text)
        }
      }))

    it.effect("shares its key with nobody else's", () =>
      Effect.gen(function*() {
        const keys = yield* ApiKeys
        const input = yield* inputFor("owned")
        const [one, two] = yield* Effect.all([keys.create("same", "write"), keys.create("same", "write")])
        for (const { key, id } of [one, two]) {
          const apiKey = Redacted.value(key)
          const answer = yield* post("/v1/webhooks", "owned", { ...input, name: id }, { apiKey })
          assert.deepStrictEqual([answer.status, answer.replayed], [201, null], answer.text)
          const again = yield* post("/v1/webhooks", "owned", { ...input, name: id }, { apiKey })
          assert.deepStrictEqual([again.text, again.replayed], [answer.text, "true"])
        }
        assert.strictEqual((yield* post("/v1/webhooks", "owned", input)).status, 401)
      }))

    it.effect("is forgotten after 24 hours, and taken over when its process is gone", () =>
      Effect.gen(function*() {
        const sql = yield* Application
        const keys = yield* IdempotencyKeys
        const input = yield* inputFor("forgotten")
        assert.strictEqual((yield* post("/api/webhooks", "forgotten", input)).status, 201)
        const age = (column: string, by: string) =>
          sql.unsafe(
            `UPDATE truss.idempotency SET ${column} = ${column} - interval '${by}' WHERE key = 'forgotten'`
          )
        yield* age("created_at", "23 hours 59 minutes")
        yield* keys.forget
        assert.strictEqual((yield* post("/api/webhooks", "forgotten", input)).replayed, "true")
        yield* age("created_at", "2 minutes")
        const later = yield* post("/api/webhooks", "forgotten", input)
        assert.deepStrictEqual([later.status, later.replayed], [201, null])
        yield* sql`UPDATE truss.idempotency SET status = NULL WHERE key = 'forgotten'`
        assert.strictEqual((yield* post("/api/webhooks", "forgotten", input)).status, 409)
        yield* age("alive_at", "21 seconds")
        const taken = yield* post("/api/webhooks", "forgotten", input)
        assert.deepStrictEqual([taken.status, taken.replayed], [201, null])
        yield* age("created_at", "25 hours")
        yield* keys.forget
        const rows = yield* sql`SELECT FROM truss.idempotency WHERE key = 'forgotten'`
        assert.strictEqual(rows.length, 0)
      }))
  }
)
