import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { createHmac } from "node:crypto"
import { createServer } from "node:http"
import { assertOneLine, run as program, serve, start, stop, until, withDatabase } from "../support/Program.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService, until as untilTrue } from "../support/RunningService.ts"
import { freePort } from "../support/ServiceProcess.ts"

const exec = (url: string, ...statements: ReadonlyArray<string>) =>
  Effect.flatMap(
    PgClient.PgClient,
    (sql) => Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
  ).pipe(Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })))

/** The command, once it listens: its process and its webhook. */
const listening = Effect.fnUntraced(function*(args: ReadonlyArray<string>, env: Readonly<Record<string, string>>) {
  const running = yield* start(["listen", ...args], env)
  const id = yield* until("the line that says it listens", () => {
    if (running.child.exitCode !== null) throw new Error(running.output.stderr)
    return /\(webhook ([0-9a-f-]{36})\)/.exec(running.output.stderr)?.[1]
  })
  const lines = () => running.output.stdout.split("\n").slice(0, -1)
  const printed = (count: number) => until(`${count} lines`, () => lines().length >= count ? lines() : undefined)
  return { ...running, id, printed }
})

const hmac = (key: string | Buffer, text: string, as: "hex" | "base64") =>
  createHmac("sha256", key).update(text).digest(as)

describe("listen", () => {
  it.live("forwards what a real webhook is sent, byte for byte and header for header", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const service = yield* RunningService
      const secret = "a secret that stays here"
      yield* run("CREATE TABLE orders (id int PRIMARY KEY, total numeric, doc json)")
      yield* service.create({ table_name: "orders", url: receiver.url("/real"), secret })
      const { printed } = yield* listening(
        ["--table", "orders", "--forward-to", receiver.url("/local"), "--secret", secret, "--json"],
        { TRUSS_URL: service.baseUrl }
      )
      yield* run(
        "INSERT INTO orders VALUES (1, 12345678901234567890.10, '{\"a\" :\r\n [1,\n 2.50]}')",
        "UPDATE orders SET total = 1.50",
        "DELETE FROM orders",
        "TRUNCATE orders"
      )
      const real = yield* receiver.waitFor("/real", 4)
      const local = yield* receiver.waitFor("/local", 4)
      for (const sent of real) {
        const got = local.find(({ headers }) => headers["webhook-id"] === sent.headers["webhook-id"])
        assert(got !== undefined)
        assert.strictEqual(got.text, sent.text)
        const names = (raw: ReadonlyArray<string>) => raw.filter((_, i) => i % 2 === 0)
        assert.deepStrictEqual(names(got.rawHeaders), names(sent.rawHeaders))
        for (const name of ["user-agent", "content-type", "x-truss-event", "x-truss-signature"]) {
          assert.strictEqual(got.headers[name], sent.headers[name])
        }
        const at = got.headers["webhook-timestamp"]
        const signed = hmac(secret, `${got.headers["webhook-id"]}.${at}.${got.text}`, "base64")
        assert.strictEqual(got.headers["webhook-signature"], `v1,${signed}`)
        assert.strictEqual(got.headers["x-truss-signature"], hmac(secret, got.text, "hex"))
      }
      assert.include(local[0]!.text, "\r\n [1,\n 2.50]")
      const lines = (yield* printed(4)).map((line) => JSON.parse(line))
      assert.deepStrictEqual(lines.map((line) => line.event_type), ["INSERT", "UPDATE", "DELETE", "TRUNCATE"])
      assert.deepStrictEqual(lines.map((line) => line.status_code), [200, 200, 200, 200])
      assert.strictEqual(typeof lines[0].latency_ms, "number")
      assert.deepStrictEqual(lines.map((line) => line.log_id), local.map(({ headers }) => headers["x-truss-delivery"]))
    }).pipe(Effect.provide(Layer.fresh(Layer.merge(RunningService.layer(), Receiver.layer)))))

  it.live.each(["SIGINT", "SIGTERM"] as const)(
    "leaves no webhook behind after %s, and exits with 0",
    (signal) =>
      Effect.gen(function*() {
        const service = yield* RunningService
        yield* run("CREATE TABLE orders (id int PRIMARY KEY)")
        const command = yield* listening(["--table", "orders", "--print"], { TRUSS_URL: service.baseUrl })
        assert.strictEqual((yield* service.get(command.id)).table_name, "orders")
        assert.strictEqual((yield* stop(command, signal)).code, 0)
        assert.strictEqual((yield* service.ask("GET", `/webhooks/${command.id}`)).status, 404)
        const [row] = yield* Effect.flatMap(
          Application,
          (sql) => sql`SELECT count(*)::int AS n FROM pg_trigger WHERE NOT tgisinternal`
        )
        assert.deepStrictEqual(row, { n: 0 })
      }).pipe(Effect.provide(Layer.fresh(RunningService.layer())))
  )

  it.live("prints bodies, of the events that were asked for, and replays", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* run("CREATE SCHEMA \"Odd.one\"", "CREATE TABLE \"Odd.one\".\"T\" (id int PRIMARY KEY)")
      const { id, printed } = yield* listening(
        ["--table", "\"Odd.one\".T", "--events", "insert,DELETE", "--print", "--url", service.baseUrl],
        {}
      )
      yield* run(
        "INSERT INTO \"Odd.one\".\"T\" VALUES (1)",
        "UPDATE \"Odd.one\".\"T\" SET id = 2",
        "DELETE FROM \"Odd.one\".\"T\""
      )
      const [first, second] = (yield* printed(2)).map((line) => JSON.parse(line))
      assert.deepStrictEqual(first.row, { id: 1 })
      assert.deepStrictEqual(second.old_row, { id: 2 })
      const [newest] = (yield* service.logs(id)).data
      assert.strictEqual((yield* service.ask("POST", `/webhooks/${id}/replay/${newest!.id}`)).status, 200)
      assert.strictEqual((yield* printed(3))[2], (yield* printed(3))[1])
    }).pipe(Effect.provide(Layer.fresh(RunningService.layer()))))

  it.live("loses nothing when the local program and the server go away and come back", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        yield* exec(DATABASE_URL, "CREATE TABLE orders (id int PRIMARY KEY)")
        const PORT = String(yield* freePort)
        const localPort = yield* freePort
        const apiKey = `truss_sk_${"k".repeat(32)}`
        const begin = Effect.gen(function*() {
          const service = yield* start(["serve"], { DATABASE_URL, PORT, TRUSS_AUTH: "required", TRUSS_API_KEY: apiKey })
          yield* until("a server", () => service.output.stdout.includes("listening for changes") || undefined)
          return service
        })
        const first = yield* begin
        const command = yield* listening(
          ["--table", "public.orders", "--forward-to", `http://127.0.0.1:${localPort}/hooks`, "--api-key", apiKey],
          { TRUSS_URL: `http://127.0.0.1:${PORT}/` }
        )
        yield* exec(DATABASE_URL, "INSERT INTO orders SELECT generate_series(1, 20)")
        yield* until("a word about the local program", () =>
          command.output.stderr.includes("connection_refused; waiting") || undefined)
        const seen: Array<number> = []
        const local = yield* Effect.acquireRelease(
          Effect.sync(() =>
            createServer((request, response) => {
              let text = ""
              request.on("data", (chunk) =>
                text += chunk)
              request.on("end", () => {
                seen.push(JSON.parse(text).row.id)
                response.statusCode = 500
                response.end()
              })
            }).listen(localPort, "127.0.0.1")
          ),
          (server) => Effect.sync(() => server.close())
        )
        yield* command.printed(20)
        yield* stop(first, "SIGKILL")
        yield* until("a word about the server", () =>
          command.output.stderr.includes("no Truss Webhooks answers") || undefined)
        yield* exec(DATABASE_URL, "INSERT INTO orders SELECT generate_series(21, 40)")
        yield* begin
        const lines = yield* command.printed(40)
        assert.deepStrictEqual(
          seen.toSorted((a, b) =>
            a - b
          ),
          Array.from({ length: 40 }, (_, i) => i + 1)
        )
        assert.match(lines[0]!, /^\d\d:\d\d:\d\d\.\d{3} {2}INSERT {4}\S+ {2}500 {2}\d+\.\d ms$/)
        assert.include(command.output.stderr, "the server is back")
        assert.isTrue(local.listening)
        assert.strictEqual((yield* stop(command, "SIGINT")).code, 0)
      })
    ))

  it.live("sends again at its end what failed, and what was under way, though the server is away", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        yield* exec(DATABASE_URL, "CREATE TABLE orders (id int PRIMARY KEY)")
        const service = yield* serve([], { DATABASE_URL })
        const receiver = yield* Receiver
        const seen: Array<string> = []
        let mended = false
        receiver.respond("/hooks", ({ headers, text }) => {
          const { id } = JSON.parse(text).row
          seen.push(`${id} ${headers["webhook-id"]}`)
          if (mended || id === 2) return { status: 204 }
          return id === 3 ? { fault: "hang" } : { status: id === 4 ? 404 : 500 }
        })
        const command = yield* listening(
          ["--table", "orders", "--forward-to", receiver.url("/hooks"), "--replay-failed", "--json"],
          { TRUSS_URL: service.url }
        )
        for (const [index, id] of [1, 2, 4, 3].entries()) {
          yield* command.printed(index)
          yield* exec(DATABASE_URL, `INSERT INTO orders VALUES (${id})`)
        }
        yield* until("the one that hangs", () => seen.length === 4 || undefined)
        yield* stop(service, "SIGKILL")
        mended = true
        const { code, stderr } = yield* stop(command, "SIGTERM")
        assert.strictEqual(code, 0, stderr)
        assert.match(stderr, /could not delete the temporary webhook \S+; the server deletes it by itself/)
        assert.match(stderr, /sending the 3 that failed again/)
        assert.deepStrictEqual(seen.slice(4), [seen[0], seen[2], seen[3]])
        const lines = (yield* command.printed(6)).map((line) => JSON.parse(line))
        assert.deepStrictEqual(
          lines.map((line) => [line.status_code, line.again]),
          [[500, false], [204, false], [404, false], [204, true], [204, true], [204, true]]
        )
      })
    ).pipe(Effect.provide(Layer.fresh(Receiver.layer))))

  it.live("says how many failed in the end, with exit code 1", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver
      const service = yield* RunningService
      yield* run("CREATE TABLE orders (id int PRIMARY KEY)")
      receiver.respond("/hooks", () => ({ status: 500 }))
      const command = yield* listening(
        ["--table", "orders", "--forward-to", receiver.url("/hooks"), "--replay-failed"],
        { TRUSS_URL: service.baseUrl }
      )
      yield* run("INSERT INTO orders VALUES (1), (2)")
      yield* command.printed(2)
      const { code, stderr, stdout } = yield* stop(command, "SIGINT")
      assert.strictEqual(code, 1)
      assert.match(stderr, /: 2 failed in the end\n$/)
      assert.match(stdout, /500 {2}\d+\.\d ms {2}again\n$/)
      assert.strictEqual((yield* service.ask("GET", `/webhooks/${command.id}`)).status, 404)
    }).pipe(Effect.provide(Layer.fresh(Layer.merge(RunningService.layer(), Receiver.layer)))))

  it.live("ends when nobody reads its lines any more, and leaves no webhook behind", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* run("CREATE TABLE orders (id int PRIMARY KEY)")
      const command = yield* listening(["--table", "orders", "--print"], { TRUSS_URL: service.baseUrl })
      command.child.stdout.destroy()
      yield* Effect.raceFirst(
        command.ended,
        Effect.forever(Effect.andThen(
          run("INSERT INTO orders SELECT coalesce(max(id), 0) + 1 FROM orders"),
          Effect.sleep("50 millis")
        ))
      )
      assert.strictEqual(command.child.exitCode, 0, command.output.stderr)
      assert.strictEqual((yield* service.ask("GET", `/webhooks/${command.id}`)).status, 404)
    }).pipe(Effect.provide(Layer.fresh(RunningService.layer()))))

  it.live("is missed when it was killed: the webhook goes when nobody follows it", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* run("CREATE TABLE orders (id int PRIMARY KEY)")
      const args = ["--table", "orders", "--print", "--url", service.baseUrl]
      const killed = yield* listening(args, {})
      const alive = yield* listening(args, {})
      killed.child.kill("SIGKILL")
      yield* killed.ended
      yield* untilTrue("the end of what was left", service.ask("GET", `/webhooks/${killed.id}`), ({ status }) =>
        status === 404, 60_000)
      yield* run("INSERT INTO orders VALUES (1)")
      yield* alive.printed(1)
    }).pipe(Effect.provide(Layer.fresh(RunningService.layer({ forgetListenAfterMs: 25_000 })))))

  it.live("says in one line what does not fit", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const env = { TRUSS_URL: service.baseUrl }
      const to = ["--forward-to", "http://localhost:3000"]
      assertOneLine(yield* program(["listen", ...to], env), 2, /--table is missing/)
      assertOneLine(yield* program(["listen", "--table", "t"], env), 2, /either --forward-to URL or --print/)
      assertOneLine(
        yield* program(["listen", "--table", "t", "--forward-to", "ftp://x"], env),
        2,
        /--forward-to must be an http/
      )
      assertOneLine(
        yield* program(["listen", "--table", "t", "--events", "SELECT", ...to], env),
        2,
        /--events must be some of/
      )
      assertOneLine(
        yield* program(["listen", "--table", "t", "--print", "--replay-failed"], env),
        2,
        /--replay-failed needs --forward-to/
      )
      assertOneLine(
        yield* program(["listen", "--table", "nowhere", ...to], env),
        1,
        /there is no table public\.nowhere/
      )
      assertOneLine(
        yield* program(["listen", "--table", "t", ...to], { TRUSS_URL: "http://127.0.0.1:1" }),
        1,
        /TRUSS_URL: no Truss Webhooks answers at http:\/\/127\.0\.0\.1:1/
      )
      const key = ["--api-key", `truss_sk_${"x".repeat(32)}`]
      assertOneLine(yield* program(["listen", "--table", "t", ...to, ...key], env), 1, /wants an API key/)
    }).pipe(Effect.provide(Layer.fresh(RunningService.layer()))))
})
