import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { readdir } from "node:fs/promises"
import { connect } from "node:net"
import { join } from "node:path"
import {
  assertOneLine,
  listen,
  run,
  serve,
  start,
  status,
  stop,
  temporary,
  until,
  withDatabase
} from "../support/Program.ts"
import { freePort } from "../support/ServiceProcess.ts"

const nowhere = "postgres://app:hunter2@127.0.0.1:1/app"

describe("the command line", () => {
  it.live("tells a flag that is not there, with exit code 2", () =>
    Effect.map(run(["serve", "--prot", "1"]), (ended) => assertOneLine(ended, 2, /--prot, did you mean --port\?/)))

  it.live("tells a flag's value that does not fit, with exit code 2", () =>
    Effect.map(run(["serve", "--port", "http"]), (ended) => assertOneLine(ended, 2, /--port must be a whole number/)))

  it.live("tells a command that is not there, with exit code 2", () =>
    Effect.map(run(["sevre"]), (ended) => assertOneLine(ended, 2, /no command "sevre", did you mean serve\?/)))

  it.live("shows help with examples for every command, and its version", () =>
    Effect.gen(function*() {
      const help = Effect.fnUntraced(function*(...command: ReadonlyArray<string>) {
        const { code, stdout } = yield* run([...command, "--help"])
        assert.strictEqual(code, 0)
        assert.match(stdout, new RegExp(`EXAMPLES[^]*truss-webhooks ${command.join(" ")}`), command.join(" "))
        const [, list = ""] = /SUBCOMMANDS\n([^]*?)\n(?:\n|EXAMPLES)/.exec(stdout) ?? []
        return [...list.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name!)
      })
      const commands = yield* help()
      assert.includeMembers(commands, ["serve", "listen", "types", "webhooks", "doctor", "uninstall"])
      for (const command of commands) {
        for (const sub of yield* help(command)) yield* help(command, sub)
      }
      assert.match((yield* run(["--version"])).stdout, /^truss-webhooks v\d+\.\d+\.\d+/)
    }))

  it.live("tells what a new webhook lacks, by its flags, and a number that is none, with exit code 2", () =>
    Effect.gen(function*() {
      const args = ["webhooks", "create", "--table", "orders", "--events", "INSERT"]
      assertOneLine(yield* run(args), 2, /create: --endpoint is missing, or url in --data/)
      assertOneLine(
        yield* run(["webhooks", "logs", "ID", "--limit", "0"]),
        2,
        /--limit must be a whole number from 1 to 500, not 0/
      )
      assertOneLine(yield* run(["webhooks", "logs", "ID", "--limit", "x"]), 2, /--limit must be a number, not "x"/)
    }))

  it.live("tells a data folder that is none, by its setting", () =>
    Effect.map(
      run(["migrate"], { TRUSS_DATA_DIR: "/etc/passwd" }),
      (ended) => assertOneLine(ended, 1, /TRUSS_DATA_DIR: PostgreSQL's data folder cannot be used/)
    ))

  it.live("tells every invalid setting in a line of its own", () =>
    Effect.gen(function*() {
      const { code, stderr, stdout } = yield* run(["serve"], { PORT: "http", TRUSS_RETENTION: "never" })
      assert.strictEqual(code, 1)
      assert.strictEqual(stdout, "")
      const lines = stderr.trimEnd().split("\n")
      assert.strictEqual(lines.length, 2)
      assert.match(lines[0]!, /PORT must be a whole number from 0 to 65535, not "http"/)
      assert.match(lines[1]!, /TRUSS_RETENTION must be whole days/)
    }))

  it.live("tells a database that does not answer, without its password", () =>
    Effect.gen(function*() {
      for (const command of [["migrate"], ["keys", "list"]]) {
        const ended = yield* run(command, { DATABASE_URL: nowhere })
        assertOneLine(ended, 1, /DATABASE_URL: the PostgreSQL at 127\.0\.0\.1:1 does not answer/)
        assert.notInclude(ended.stderr, "hunter2")
      }
    }))
})

describe("migrate and keys", () => {
  it.live("make the schema, once or again, without an encryption key", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        const dataDir = yield* temporary
        const env = { DATABASE_URL, TRUSS_DATA_DIR: dataDir, TRUSS_ENCRYPTION_KEY: "" }
        assertOneLine(yield* run(["keys", "list"], env), 1, /run truss-webhooks migrate/)
        for (const _ of [1, 2]) assert.strictEqual((yield* run(["migrate"], env)).code, 0)
        assert.strictEqual((yield* run(["keys", "list"], env)).code, 0)
        assert.deepStrictEqual(yield* Effect.promise(() => readdir(dataDir)), [])
      })
    ))

  it.live("make keys that work until they are revoked", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        const created = yield* run(["keys", "create", "--name", "ci", "--scope", "read"], { DATABASE_URL })
        assert.strictEqual(created.code, 0, created.stderr)
        assert.match(created.stdout, /^truss_sk_[\w-]{43}\n$/)
        const apikey = created.stdout.trim()

        const listed = yield* run(["keys", "list"], { DATABASE_URL })
        assert.notInclude(listed.stdout, apikey)
        const id = /^([0-9a-f-]{36})\s+read\s+.*\sci$/m.exec(listed.stdout)?.[1]
        assert(id !== undefined, listed.stdout)

        const { url } = yield* serve(["--host", "127.0.0.1"], { DATABASE_URL, TRUSS_AUTH: "required" })
        assert.strictEqual(yield* status(`${url}/api/webhooks`), 401)
        assert.strictEqual(yield* status(`${url}/v1/webhooks`, { apikey }), 200)
        assert.strictEqual((yield* run(["keys", "revoke", id], { DATABASE_URL })).code, 0)
        assert.strictEqual(yield* status(`${url}/v1/webhooks`, { apikey }), 401)
        assertOneLine(yield* run(["keys", "revoke", id], { DATABASE_URL }), 1, /there is no API key/)
      })
    ))
})

describe("serve", () => {
  it.live.each(["SIGTERM", "SIGINT"] as const)(
    "ends with exit code 0 after %s",
    (signal) =>
      withDatabase((DATABASE_URL) =>
        Effect.gen(function*() {
          const service = yield* serve([], { DATABASE_URL })
          assert.strictEqual(yield* status(`${service.url}/health/live`), 200)
          const { code, stderr } = yield* stop(service, signal)
          assert.strictEqual(stderr, "")
          assert.strictEqual(code, 0)
        })
      )
  )

  it.live("runs on an embedded PostgreSQL, which ends with it", () =>
    Effect.gen(function*() {
      const dataDir = yield* temporary
      const service = yield* serve(["--data-dir", dataDir], { TRUSS_ENCRYPTION_KEY: "" })
      assert.strictEqual(yield* status(`${service.url}/api/webhooks`), 200)
      assert.strictEqual((yield* stop(service, "SIGTERM")).code, 0)
      const left = yield* Effect.promise(() => readdir(join(dataDir, "postgres", "data")))
      assert.notInclude(left, "postmaster.pid")
      assert.include(yield* Effect.promise(() => readdir(dataDir)), "encryption.key")
    }))

  it.live("ends at once when a second signal comes", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        const service = yield* serve([], { DATABASE_URL })
        // A request that never ends holds the graceful stop.
        const { hostname, port } = new URL(service.url)
        const socket = yield* Effect.acquireRelease(
          Effect.sync(() => connect(Number(port), hostname)),
          (socket) => Effect.sync(() => socket.destroy())
        )
        socket.on("error", () => {})
        socket.write("POST /api/webhooks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
        socket.write("content-length: 100\r\n\r\n{")
        yield* until("the request on its way", () => socket.bytesWritten > 100 || undefined)
        assert.strictEqual(yield* status(`${service.url}/health/live`), 200)
        const { code } = yield* Effect.sync(() => service.child.kill("SIGTERM")).pipe(
          Effect.repeat(Schedule.spaced("150 millis")),
          Effect.andThen(Effect.never),
          Effect.raceFirst(service.ended),
          Effect.timeout("3 seconds")
        )
        assert.strictEqual(code, 143)
      })
    ))

  it.live("tells a port that is in use", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        const { port } = yield* listen(0)
        const env = { DATABASE_URL, PORT: String(port), TRUSS_DATA_DIR: yield* temporary, TRUSS_ENCRYPTION_KEY: "" }
        const ended = yield* run(["serve"], env)
        assertOneLine(ended, 1, new RegExp(`PORT: ${port} is in use on 127\\.0\\.0\\.1`))
      })
    ))

  it.live("does not wait where waiting is no use", () =>
    withDatabase((url) =>
      Effect.gen(function*() {
        const wrong = new URL(url)
        wrong.password = "hunter2"
        const refused = yield* Effect.timeout(run(["serve", "--port", "0"], { DATABASE_URL: wrong.href }), "20 seconds")
        assertOneLine(refused, 1, /DATABASE_URL: .*password authentication failed/)
        const missing = new URL(url)
        missing.pathname = "/no_such_database"
        const ended = yield* Effect.timeout(run(["serve", "--port", "0"], { DATABASE_URL: missing.href }), "20 seconds")
        assertOneLine(ended, 1, /database "no_such_database" does not exist/)
      })
    ))

  it.live("waits for a database that does not answer yet, and says so", () =>
    withDatabase((url) =>
      Effect.gen(function*() {
        const target = new URL(url)
        const [databasePort, port] = [yield* freePort, yield* freePort]
        const proxied = new URL(url)
        proxied.port = String(databasePort)
        const service = yield* start(["serve", "--port", String(port)], { DATABASE_URL: proxied.href })
        const ready = () =>
          fetch(`http://127.0.0.1:${port}/health/ready`).then((response) => response.status, () => undefined)
        assert.strictEqual(yield* until("an answer", ready), 503)
        yield* until("a line about it", () => service.output.stdout.includes("waiting for the database") || undefined)
        yield* listen(databasePort, (socket) => {
          const upstream = connect(Number(target.port), target.hostname)
          socket.on("error", () => upstream.destroy())
          upstream.on("error", () => socket.destroy())
          socket.pipe(upstream).pipe(socket)
        })
        yield* until("being ready", () => ready().then((status) => status === 200 || undefined))
        assert.strictEqual((yield* stop(service, "SIGTERM")).code, 0)
      })
    ))

  it.live("refuses to start open to others", () =>
    Effect.gen(function*() {
      for (const HOST of ["0.0.0.0", "::", "192.0.2.1", "truss.example.com"]) {
        // Said before anything else is looked at.
        const ended = yield* run(["serve"], { DATABASE_URL: nowhere, TRUSS_AUTH: "open", HOST })
        assertOneLine(ended, 1, /TRUSS_AUTH: open lets in whoever reaches .*; set TRUSS_AUTH=required/)
      }
    }))

  it.live("starts with Kratos alone, and says what does not answer", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        const KRATOS_PUBLIC_URL = "http://127.0.0.1:1/kratos/"
        const wrong = yield* run(["serve"], {
          DATABASE_URL,
          KRATOS_PUBLIC_URL: "https://user:hunter2@auth.example.com"
        })
        assertOneLine(wrong, 1, /KRATOS_PUBLIC_URL must be an http or https URL without credentials/)
        assert.notInclude(wrong.stderr, "hunter2")
        const service = yield* serve([], { DATABASE_URL, TRUSS_AUTH: "required", KRATOS_PUBLIC_URL })
        const cookie = "ory_kratos_session=value-of-the-cookie"
        assert.strictEqual(yield* status(`${service.url}/api/webhooks`), 401)
        assert.strictEqual(yield* status(`${service.url}/api/webhooks`, { cookie }), 503)
        assert.strictEqual(yield* status(`${service.url}/v1/webhooks`, { cookie }), 401)
        yield* until(
          "a line about it",
          () => /127\.0\.0\.1:1\/kratos\/sessions\/whoami/.test(service.output.stdout) || undefined
        )
        assert.strictEqual((yield* stop(service, "SIGTERM")).code, 0)
        assert.notInclude(service.output.stdout + service.output.stderr, "value-of-the-cookie")
        const open = yield* serve([], { DATABASE_URL, KRATOS_PUBLIC_URL })
        yield* until("a warning", () => /KRATOS_PUBLIC_URL does nothing while/.test(open.output.stdout) || undefined)
      })
    ))

  it.live("refuses to start where a key is required and there is none", () =>
    withDatabase((DATABASE_URL) =>
      Effect.gen(function*() {
        const ended = yield* run(["serve", "--port", "0", "--host", "0.0.0.0"], { DATABASE_URL })
        assertOneLine(ended, 1, /TRUSS_AUTH: .*keys create .*TRUSS_API_KEY/)
        const apikey = `truss_sk_${"k".repeat(32)}`
        const { url } = yield* serve([], { DATABASE_URL, TRUSS_AUTH: "required", TRUSS_API_KEY: apikey })
        assert.strictEqual(yield* status(`${url}/v1/webhooks`, { apikey }), 200)
      })
    ))
})

describe("demo", () => {
  it.live("shows an INSERT, an UPDATE and a DELETE arrive, and leaves nothing", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      // The default port is taken, and nobody asked for it.
      yield* listen(8787)
      const { code, stderr, stdout } = yield* run(["demo", "--once"], { TMPDIR: folder })
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
      assert.strictEqual(stdout.match(/delivery\s+204\s+signature verified/g)?.length, 3, stdout)
      for (const event of ["INSERT", "UPDATE", "DELETE"]) assert.match(stdout, new RegExp(`change\\s+${event}`))
      // oxlint-disable-next-line no-control-regex
      assert.notMatch(stdout, /\u001b/)
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(folder)), [])
    }))

  it.live("shows a retry, stays up, and stops with exit code 0", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      const { port } = yield* Effect.scoped(listen(0))
      const running = yield* start(["demo"], { TMPDIR: folder, PORT: String(port) })
      yield* until("the retry", () => {
        if (running.child.exitCode !== null) throw new Error(running.output.stderr)
        return running.output.stdout.includes("the same webhook-id again") || undefined
      })
      yield* until("the last line", () => running.output.stdout.includes("Ctrl-C") || undefined)
      assert.match(running.output.stdout, /delivery\s+500\s+signature verified/)
      assert.strictEqual(yield* status(`http://localhost:${port}/docs`), 200)
      const { code, stderr } = yield* stop(running, "SIGINT")
      assert.strictEqual(stderr, "")
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(folder)), [])
    }))

  it.live("tells a port that is in use", () =>
    Effect.gen(function*() {
      const { port } = yield* listen(0)
      const ended = yield* run(["demo", "--once"], { PORT: String(port) })
      assertOneLine(ended, 1, new RegExp(`PORT: ${port} is in use`))
    }))
})
