import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { assertOneLine, run as program, start, stop, until } from "../support/Program.ts"
import { Receiver } from "../support/Receiver.ts"
import { run, RunningService } from "../support/RunningService.ts"

/** The command's standard output; fails the test unless it exits with 0. */
const said = (env: Readonly<Record<string, string>>, ...args: ReadonlyArray<string>) =>
  Effect.map(program(["webhooks", ...args], env), ({ code, stderr, stdout }) => {
    assert.strictEqual(code, 0, stderr)
    return stdout
  })

describe("webhooks", () => {
  it.live("makes, shows, changes, tests and deletes one", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const env = { TRUSS_URL: service.baseUrl }
      yield* run("CREATE TABLE orders (id int PRIMARY KEY, total numeric)")
      const flags = `--json --table orders --events INSERT --endpoint ${receiver.url("/hook")} --secret s3cret`.split(
        " "
      )
      const made = yield* said(env, "create", ...flags, "--data", "{\"ordering\":\"row\"}")
      const webhook = JSON.parse(made)
      assert.strictEqual(webhook.ordering, "row")
      assert.strictEqual(webhook.has_secret, true)
      const listed = yield* said(env, "list", "--table", "orders")
      assert.match(listed, /^ID +STATE +TABLE/)
      assert.match(listed, new RegExp(`^${webhook.id}  active  public\\.orders  INSERT  0 +http`, "m"))
      assert.strictEqual(JSON.parse(yield* said(env, "get", webhook.id)).name, "orders")

      const paused = JSON.parse(yield* said(env, "update", webhook.id, "--name", "new", "--data", "{\"active\":false}"))
      assert.strictEqual(paused.disabled_reason, "paused")
      assert.strictEqual(paused.name, "new")

      assert.strictEqual(JSON.parse(yield* said(env, "test", "--json", webhook.id)).status_code, 200)
      receiver.respond("/hook", () => ({ status: 500 }))
      const failing = yield* program(["webhooks", "test", webhook.id], env)
      assert.strictEqual(failing.code, 1)
      assert.strictEqual(failing.stderr, "truss-webhooks: the endpoint answered 500\n")

      yield* said(env, "delete", webhook.id)
      assertOneLine(yield* program(["webhooks", "get", webhook.id], env), 1, /There is no such webhook/)
    }).pipe(Effect.provide(Layer.fresh(Layer.merge(RunningService.layer(), Receiver.layer)))))

  it.live("shows the log, follows it, and sends again", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const receiver = yield* Receiver
      const env = { TRUSS_URL: service.baseUrl }
      yield* run("CREATE TABLE orders (id int PRIMARY KEY, total numeric)")
      const { id } = yield* service.create({ table_name: "orders", url: receiver.url("/hook") })
      const following = yield* start(["webhooks", "logs", id, "--follow", "--json"], env)
      const followed = (count: number) =>
        until(`${count} entries`, () => {
          const lines = following.output.stdout.split("\n").slice(0, -1)
          return lines.length >= count ? lines : undefined
        })
      // Once one has come, it follows: which one comes first depends on when it began.
      yield* until("an entry", async () => {
        await fetch(`${service.baseUrl}/api/webhooks/${id}/test`, { method: "POST" })
        return following.output.stdout.includes("\n") || undefined
      })
      yield* run("INSERT INTO orders VALUES (1, 12345678901234567890.10)")
      yield* until("the INSERT", () => following.output.stdout.includes("12345678901234567890.10") || undefined)
      const before = (yield* followed(1)).length

      const shown = yield* said(env, "logs", id, "--event-type", "INSERT")
      const logId = /^\S+ {2}(dlv_\S+) {2}INSERT {4}success {3}200 {2}\d+\.\d ms\n$/.exec(shown)?.[1]
      assert(logId !== undefined, shown)
      assert.include(yield* said(env, "logs", id, "--json", "--limit", "500"), "12345678901234567890.10")
      assert.match(yield* said(env, "replay", id, logId), / {2}200 {2}\d+\.\d ms {2}replay\n$/)
      const job = JSON.parse(yield* said(env, "replay", id, "--event-type", "INSERT"))
      assert.strictEqual(job.matched, 1)
      yield* followed(before + 2)
      assert.strictEqual((yield* stop(following, "SIGINT")).code, 0)

      assertOneLine(yield* program(["webhooks", "replay", id], env), 2, /give a log entry's id, or some of/)
      assertOneLine(yield* program(["webhooks", "logs", id, "--limit", "0"], env), 2, /--limit/)
      assertOneLine(yield* program(["webhooks", "logs", "nobody", "--follow"], env), 1, /There is no such webhook/)
      assertOneLine(yield* program(["webhooks", "create", "--data", "[]"], env), 2, /--data must be a JSON object/)
      const args = ["--table", "orders", "--events", "INSERT", "--endpoint", "nowhere"]
      assertOneLine(yield* program(["webhooks", "create", ...args], env), 1, /url must be an absolute http/)
    }).pipe(Effect.provide(Layer.fresh(Layer.merge(RunningService.layer(), Receiver.layer)))))
})

describe("completions", () => {
  it.live.each(["bash", "zsh", "fish"] as const)(
    "are there for %s, with every command",
    (shell) =>
      Effect.gen(function*() {
        const { code, stdout } = yield* program(["--completions", shell])
        assert.strictEqual(code, 0)
        for (const word of ["serve", "listen", "doctor", "uninstall", "webhooks", "forward-to"]) {
          assert.include(stdout, word)
        }
      })
  )
})
