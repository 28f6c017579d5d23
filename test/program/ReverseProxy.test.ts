import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { spawn, spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import type { IncomingMessage } from "node:http"
import { request } from "node:https"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { TestDatabase } from "../support/Database.ts"
import { root, serve, temporary, until, withDatabase } from "../support/Program.ts"
import { Receiver } from "../support/Receiver.ts"
import { connect } from "../support/RunningService.ts"
import { freePort } from "../support/ServiceProcess.ts"

const nginx = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/bin/nginx"].find(existsSync)
const reason = nginx === undefined ? " (skipped: there is no nginx: apt install nginx-light)" : ""

const name = "hooks.example.com"
const apiKey = "truss_sk_0123456789abcdef0123456789abcdef"

/** nginx with `deploy/nginx.conf`, but for its port, its certificate and the service's address; killed with the scope. */
const startNginx = Effect.fnUntraced(function*(service: string) {
  const folder = yield* temporary
  const port = yield* freePort
  const [certificate, key] = [join(folder, "cert.pem"), join(folder, "cert.key")]
  const options = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=${name}`
  const files = ["-addext", `subjectAltName=DNS:${name}`, "-out", certificate, "-keyout", key]
  const made = spawnSync("openssl", [...options.split(" "), ...files])
  assert.strictEqual(made.status, 0, String(made.stderr))
  const server = readFileSync(join(root, "deploy/nginx.conf"), "utf8")
    .replace("127.0.0.1:8787", new URL(service).host)
    .replace("listen 443", `listen 127.0.0.1:${port}`)
    .replace("/etc/ssl/hooks.example.com.pem", certificate)
    .replace("/etc/ssl/hooks.example.com.key", key)
  for (const expected of [new URL(service).host, `listen 127.0.0.1:${port}`, certificate, key]) {
    assert.include(server, expected)
  }
  const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${folder};`)
  const config = join(folder, "nginx.conf")
  yield* Effect.promise(() =>
    writeFile(
      config,
      `daemon off; master_process off; pid ${folder}/pid; error_log stderr; events {}
      http { access_log off; ${folders.join(" ")}\n${server} }`
    )
  )
  let output = ""
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(nginx!, ["-c", config, "-p", folder, "-e", "stderr"], { stdio: ["ignore", "ignore", "pipe"] })
      child.stderr.on("data", (chunk) => output += chunk)
      return child
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null) return resume(Effect.void)
        child.once("close", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
  const ca = readFileSync(certificate)

  /** One request over TLS, as the site's own pages would send it. */
  const open = (method: string, path: string, body?: object, headers: Record<string, string> = {}) =>
    Effect.callback<IncomingMessage, Error>((resume) => {
      const outgoing = request({
        host: "127.0.0.1",
        port,
        servername: name,
        ca,
        method,
        path,
        headers: { host: `${name}:${port}`, "content-type": "application/json", ...headers }
      }, (answer) => resume(Effect.succeed(answer)))
      outgoing.once("error", (error) => resume(Effect.fail(error)))
      outgoing.end(body && JSON.stringify(body))
    })
  const ask = Effect.fnUntraced(function*(...args: Parameters<typeof open>) {
    const answer = yield* open(...args)
    const body: string = yield* Effect.promise(() => text(answer))
    return { status: answer.statusCode, headers: answer.headers, text: body }
  })
  yield* until("nginx to answer", () =>
    Effect.runPromise(
      ask("GET", "/health/live").pipe(
        Effect.map(({ status }) => status === 200 ? true : undefined),
        Effect.orElseSucceed(() => undefined)
      )
    ))
  return { open, ask, origin: `https://${name}:${port}`, output: () => output }
})

describe.skipIf(reason !== "")(`deploy/nginx.conf${reason}`, () => {
  it.live(
    "passes the API, sign-in and live logs, and keeps the metrics in",
    () =>
      withDatabase((url) =>
        Effect.gen(function*() {
          const service = yield* serve([], { DATABASE_URL: url, TRUSS_AUTH: "required", TRUSS_API_KEY: apiKey })
          const { ask, open, origin } = yield* startNginx(service.url)
          const receiver = yield* Receiver
          const key = { apikey: apiKey }

          assert.deepInclude(yield* ask("GET", "/metrics"), { status: 404 })
          assert.deepInclude(yield* ask("GET", "/api/webhooks"), { status: 401 })
          const session = yield* ask("POST", "/api/session", { api_key: apiKey }, { origin })
          assert.strictEqual(session.status, 204, session.text)
          // By X-Forwarded-Proto and Host.
          const [cookie] = session.headers["set-cookie"] ?? []
          assert.match(cookie ?? "", /; Secure/)
          const signedIn = { cookie: cookie!.split(";")[0]! }
          assert.deepInclude(yield* ask("GET", "/api/webhooks", undefined, signedIn), { status: 200 })

          const sql = yield* connect()
          yield* sql`CREATE TABLE orders (id int PRIMARY KEY)`
          const input = { name: "orders", table_name: "orders", events: ["INSERT"], url: receiver.url("/hook") }
          const created = yield* ask("POST", "/v1/webhooks", input, key)
          assert.strictEqual(created.status, 201, created.text)
          const { id } = JSON.parse(created.text)

          const stream = yield* open("GET", `/v1/webhooks/${id}/logs/stream`, undefined, key)
          assert.strictEqual(stream.statusCode, 200)
          let said = ""
          stream.setEncoding("utf8").on("data", (chunk: string) => said += chunk)
          yield* until("the stream's first line", () => said.includes(": the log as it is written") || undefined)
          const tested = yield* ask("POST", `/v1/webhooks/${id}/test`, {}, key)
          const { log_id } = JSON.parse(tested.text)
          yield* until("the entry, while the stream is open", () => said.includes(`id: ${log_id}`) || undefined)
          assert.isFalse(stream.complete)
          stream.destroy()
        }).pipe(Effect.scoped, Effect.provide(Layer.mergeAll(Receiver.layer, Layer.succeed(TestDatabase, { url }))))
      ),
    60_000
  )
})
