import { assert, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { Kratos } from "../../src/services/Kratos.ts"
import { type KratosAnswer, KratosServer, kratosSession } from "../support/KratosServer.ts"
import { waitFor } from "../support/ServiceProcess.ts"

const Checked = Layer.unwrap(Effect.map(KratosServer, ({ url }) => Kratos.layer(url))).pipe(
  Layer.provideMerge(KratosServer.layer)
)

const check = (value: string) => Effect.flatMap(Kratos, (kratos) => kratos.check(Redacted.make(value)))

const outcome = (value: string) =>
  Effect.match(check(value), {
    onSuccess: ({ id }) => id,
    onFailure: (error) => error._tag === "KratosRefused" ? error.reason : error.detail
  })

const answers = (value: string, answer: KratosAnswer) =>
  Effect.map(KratosServer, (server) => void server.answers.set(value, answer))

const times = (value: string) => Effect.map(KratosServer, (server) => server.times(value))

const asked = (value: string, count = 1) =>
  TestClock.withLive(waitFor(`${count} questions`, Effect.map(times(value), (found) => found >= count)))

const { id } = kratosSession().identity

const fresh = <A, E>(name: string, test: Effect.Effect<A, E, Kratos | KratosServer>) =>
  it.effect(name, () => Effect.provide(test, Layer.fresh(Checked)))

fresh(
  "a session is asked for with its cookie and nothing else of the request",
  Effect.gen(function*() {
    yield* answers("good", [200, kratosSession()])
    assert.deepStrictEqual(yield* check("good"), { id, name: "ada@example.com" })
    const [question] = (yield* KratosServer).asked
    assert.deepInclude(question, { method: "GET", path: "/base/sessions/whoami" })
    assert.strictEqual(question!.headers.cookie, "ory_kratos_session=good")
    for (const name of ["authorization", "traceparent", "b3", "apikey"]) assert.notProperty(question!.headers, name)
  })
)

fresh(
  "an answer is kept for 30 seconds and no longer",
  Effect.gen(function*() {
    yield* answers("good", [200, kratosSession()])
    yield* check("good")
    yield* answers("good", [401, {}])
    yield* TestClock.adjust("29999 millis")
    assert.strictEqual(yield* outcome("good"), id)
    assert.strictEqual(yield* times("good"), 1)
    yield* TestClock.adjust("1 millis")
    assert.strictEqual(yield* outcome("good"), "no_session")
    assert.strictEqual(yield* times("good"), 2)
  })
)

fresh(
  "an answer is never kept past the end of its session",
  Effect.gen(function*() {
    yield* TestClock.setTime(Date.parse("2025-01-01T00:00:00Z"))
    yield* answers("short", [200, kratosSession({ expires_at: "2025-01-01T00:00:10.5Z" })])
    assert.strictEqual(yield* outcome("short"), id)
    yield* TestClock.adjust("10499 millis")
    assert.strictEqual(yield* outcome("short"), id)
    assert.strictEqual(yield* times("short"), 1)
    yield* TestClock.adjust("1 millis")
    assert.strictEqual(yield* outcome("short"), "no_session")
  })
)

fresh(
  "many at the same time ask once",
  Effect.gen(function*() {
    yield* answers("good", (response) => void setTimeout(() => response.end(JSON.stringify(kratosSession())), 50))
    const found = yield* Effect.all(Array.from({ length: 200 }, () => outcome("good")), { concurrency: "unbounded" })
    assert.deepStrictEqual(new Set(found), new Set([id]))
    assert.strictEqual(yield* times("good"), 1)
  })
)

fresh(
  "who goes away while others wait takes nothing from them",
  Effect.gen(function*() {
    const server = yield* KratosServer
    let open: (() => void) | undefined
    server.answers.set("good", (response) => open = () => response.end(JSON.stringify(kratosSession())))
    const first = yield* Effect.forkChild(outcome("good"))
    yield* asked("good")
    const second = yield* Effect.forkChild(outcome("good"), { startImmediately: true })
    yield* Fiber.interrupt(first)
    open!()
    assert.strictEqual(yield* Fiber.join(second), id)
    assert.strictEqual(yield* times("good"), 1)
  })
)

fresh(
  "refusals and failures are not kept",
  Effect.gen(function*() {
    for (const [status, found] of [[401, "no_session"], [403, "second_factor"], [500, "answers 500"]] as const) {
      yield* answers("later", [status, {}])
      for (const _ of [1, 2]) assert.strictEqual(yield* outcome("later"), found)
    }
    assert.strictEqual(yield* times("later"), 6)
    yield* answers("later", [200, kratosSession()])
    assert.strictEqual(yield* outcome("later"), id)
  })
)

fresh(
  "a session that is not active, or over, is none",
  Effect.gen(function*() {
    yield* TestClock.setTime(Date.parse("2025-01-01T00:00:00Z"))
    yield* answers("inactive", [200, kratosSession({ active: false })])
    yield* answers("over", [200, kratosSession({ expires_at: "2024-12-31T23:59:59Z" })])
    for (const value of ["inactive", "over", "unknown"]) assert.strictEqual(yield* outcome(value), "no_session")
  })
)

const text = (body: string | Buffer): KratosAnswer => (response) => void response.end(body)

const failures: ReadonlyArray<readonly [name: string, answer: KratosAnswer, found: string]> = [
  ["302", (response) => void response.writeHead(302, { location: "/base/sessions/whoami?again" }).end(), "answers 302"],
  ["404", [404, {}], "answers 404"],
  ["429", [429, {}], "answers 429"],
  ["502", [502, {}], "answers 502"],
  ["201", [201, kratosSession()], "answers 201"],
  ["empty", text(""), "answers with no session"],
  ["html", text("<html>"), "answers with no session"],
  ["null", text("null"), "answers with no session"],
  ["array", text(JSON.stringify([kratosSession()])), "answers with no session"],
  ["cut", text(JSON.stringify(kratosSession()).slice(0, -1)), "answers with no session"],
  ["active-as-text", [200, kratosSession({ active: "true" })], "answers with no session"],
  ["no-active", [200, { identity: { id: "x" } }], "answers with no session"],
  ["no-identity", [200, { active: true }], "answers with no session"],
  ["no-id", [200, kratosSession({}, { id: "" })], "answers with no session"],
  ["odd-id", [200, kratosSession({}, { id: "a\nb" })], "answers with no session"],
  ["odd-expiry", [200, kratosSession({ expires_at: "tomorrow" })], "answers with no session"],
  ["huge", [200, kratosSession({ padding: "x".repeat(70_000) })], "answers with no session"],
  ["drop", "drop", "does not answer"],
  [
    "half",
    (response) => {
      response.writeHead(200, { "content-length": "1000" })
      response.write("{")
      setTimeout(() => response.destroy(), 20)
    },
    "does not answer"
  ]
]

fresh(
  "what is no answer of Kratos's lets nobody in",
  Effect.gen(function*() {
    for (const [name, answer, found] of failures) {
      yield* answers(name, answer)
      assert.strictEqual(yield* outcome(name), found, name)
    }
  })
)

fresh(
  "an answer without an end is read no further than 64 KiB",
  Effect.gen(function*() {
    const closed = Promise.withResolvers<void>()
    yield* answers("endless", (response) => {
      response.once("close", () => closed.resolve())
      const write = (): void => {
        while (!response.destroyed && response.write(" ".repeat(16_384)));
        if (!response.destroyed) response.once("drain", write)
      }
      write()
    })
    assert.strictEqual(yield* outcome("endless"), "answers with no session")
    yield* Effect.promise(() => closed.promise)
  })
)

for (
  const [name, answer] of [
    ["that says nothing", "hang"],
    ["that stops within its answer", (response: { write: (text: string) => void }) => response.write("{")]
  ] as ReadonlyArray<readonly [string, KratosAnswer]>
) {
  fresh(
    `a Kratos ${name} is waited for 3 seconds`,
    Effect.gen(function*() {
      yield* answers("slow", answer)
      const waiting = yield* Effect.forkChild(outcome("slow"))
      yield* asked("slow")
      yield* TestClock.adjust("2999 millis")
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* Fiber.join(waiting), "does not answer within 3000 ms")
    })
  )
}

fresh(
  "a cookie that no cookie can be is not asked for",
  Effect.gen(function*() {
    for (const value of ["", "a b", "a;b", "a,b", "a\r\nx: y", "ä", "x".repeat(4097)]) {
      assert.strictEqual(yield* outcome(value), "no_session", value)
    }
    assert.deepStrictEqual((yield* KratosServer).asked, [])
    yield* answers("MTcz|a=b-_/+==", [200, kratosSession()])
    assert.strictEqual(yield* outcome("MTcz|a=b-_/+=="), id)
  })
)

fresh(
  "no more than 32 questions are asked at the same time",
  Effect.gen(function*() {
    const values = Array.from({ length: 100 }, (_, n) => `n${n}`)
    const { answers } = yield* KratosServer
    let open = 0
    let most = 0
    const answer: KratosAnswer = (response) => {
      most = Math.max(most, ++open)
      setTimeout(() => {
        open--
        response.end(JSON.stringify(kratosSession()))
      }, 20)
    }
    for (const value of values) answers.set(value, answer)
    const found = yield* Effect.forEach(values, outcome, { concurrency: "unbounded" })
    assert.deepStrictEqual(new Set(found), new Set([id]))
    assert.strictEqual(most, 32)
  })
)

fresh(
  "the name is a trait that can be shown, or none",
  Effect.gen(function*() {
    const names: ReadonlyArray<readonly [traits: unknown, name: string | undefined]> = [
      [{ email: "ada@example.com", username: "ada" }, "ada@example.com"],
      [{ username: "ada" }, "ada"],
      [{ email: { address: "x" }, username: "ada" }, "ada"],
      [{ email: "a\nb" }, undefined],
      [{ email: "\u202egnp.exe" }, undefined],
      [{ email: "x".repeat(201) }, undefined],
      [{ email: "" }, undefined],
      ["ada", undefined],
      [null, undefined],
      [undefined, undefined]
    ]
    for (const [index, [traits, name]] of names.entries()) {
      yield* answers(`traits${index}`, [200, kratosSession({}, { traits })])
      assert.strictEqual((yield* check(`traits${index}`)).name, name, JSON.stringify(traits))
    }
  })
)

it.effect("nothing at the address is a failure", () =>
  Effect.gen(function*() {
    const kratos = Context.get(yield* Layer.build(Kratos.layer("http://127.0.0.1:1")), Kratos)
    assert.strictEqual((yield* Effect.flip(kratos.check(Redacted.make("x"))))._tag, "KratosUnavailable")
  }))
