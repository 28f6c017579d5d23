import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schedule } from "effect"
import { randomBytes } from "node:crypto"
import { inject } from "vitest"
import { withDatabase } from "../e2e/Scene.ts"
import { connect } from "../e2e/Workload.ts"
import { TestDatabase } from "../support/Database.ts"
import { listen, Receiver } from "../support/Receiver.ts"
import { startService, waitFor } from "../support/ServiceProcess.ts"

/** Like nothing else in any output. */
const needle = () => randomBytes(24).toString("hex").slice(0, 40)

/** The beginnings of what a text looks like in base64, wherever in a longer one it stands. */
const inBase64 = (bytes: Buffer) =>
  [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString("base64")
    return text.slice(Math.ceil(before * 8 / 6), Math.floor((before + bytes.length) * 8 / 6))
  })

/** Every form that a secret may have somewhere: as it is, in base64, in hex. */
const formsOf = (secret: Buffer): ReadonlyArray<string> => [
  secret.toString("latin1"),
  secret.toString("hex"),
  secret.toString("hex").toUpperCase(),
  ...inBase64(secret).flatMap((text) => [text, text.replaceAll("+", "-").replaceAll("/", "_")])
]

/** Secrets by what they are; `find` says which of them are in a text. */
const makeSecrets = () => {
  const all = new Map<string, ReadonlyArray<string>>()
  return {
    add: (name: string, secret: string | Buffer) => {
      all.set(name, [...all.get(name) ?? [], ...formsOf(Buffer.from(secret as string, "latin1"))])
      return secret.toString("latin1" as never)
    },
    find: (text: string) =>
      [...all].filter(([, forms]) => forms.some((form) => text.includes(form))).map(([name]) => name)
  }
}

const admin = (url: string, statement: string) =>
  Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe(statement)).pipe(
    Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 })),
    Effect.orDie
  )

/** A role that may do everything, with a password to look for. */
const roleWith = (password: string) =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      const role = `leaks_${randomBytes(6).toString("hex")}`
      return Effect.as(admin(inject("postgresUrl"), `CREATE ROLE ${role} SUPERUSER LOGIN PASSWORD '${password}'`), role)
    }),
    (role) => admin(inject("postgresUrl"), `DROP ROLE ${role}`)
  )

/** Every row of every table of the schema, and its functions, as text: what a dump holds. */
const dump = Effect.fnUntraced(function*(sql: PgClient.PgClient) {
  const tables = yield* sql<{ name: string }>`
    SELECT c.oid::regclass::text AS name FROM pg_class c
    WHERE c.relnamespace = 'truss'::regnamespace AND c.relkind IN ('r', 'p')`
  const texts = yield* Effect.forEach(tables, ({ name }) =>
    Effect.map(
      sql.unsafe<{ row: string }>(`SELECT t::text AS row FROM ${name} t`),
      (rows) => rows.map(({ row }) => row).join("\n")
    ))
  const functions = yield* sql<{ text: string }>`
    SELECT pg_get_functiondef(oid) AS text FROM pg_proc WHERE pronamespace = 'truss'::regnamespace`
  return [...texts, ...functions.map(({ text }) => text)].join("\n")
})

/** A collector of OpenTelemetry, and all that it was sent. */
const collector = Effect.gen(function*() {
  const chunks: Array<Buffer> = []
  const port = yield* listen((request, response) => {
    request.on("data", (chunk) => chunks.push(chunk))
    request.on("end", () => response.end("{}"))
  })
  return {
    url: `http://127.0.0.1:${port}`,
    text: () => Buffer.concat(chunks).toString("latin1")
  }
})

describe("nothing secret", () => {
  it("would be overlooked", () => {
    const secrets = makeSecrets()
    const secret = secrets.add("it", needle())
    assert.deepStrictEqual(secrets.find(`"x":"${secret}"`), ["it"])
    for (const form of ["hex", "base64", "base64url"] as const) {
      for (const before of ["", "a", "ab", "abc"]) {
        assert.deepStrictEqual(secrets.find(Buffer.from(`${before}${secret} and more`).toString(form)), ["it"], form)
      }
    }
    assert.deepStrictEqual(secrets.find(needle()), [])
  })

  it.live(
    "is in the log, the traces, any answer, the metrics, the audit or the tables, whatever is asked and fails",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const secrets = makeSecrets()
        const password = secrets.add("the database's password", needle())
        const role = yield* roleWith(password)
        yield* withDatabase(Effect.gen(function*() {
          const databaseUrl = new URL((yield* TestDatabase).url)
          databaseUrl.username = role
          databaseUrl.password = password
          const sql = yield* connect(databaseUrl.href)
          yield* sql`CREATE TABLE orders (id int PRIMARY KEY, note text)`
          const receiver = yield* Receiver.make
          const telemetry = yield* collector
          const keyBytes = randomBytes(32)
          secrets.add("the encryption key", keyBytes)
          secrets.add("the encryption key as text", keyBytes.toString("base64"))
          const apiKey = `truss_sk_${secrets.add("TRUSS_API_KEY", needle())}`
          const service = yield* startService(databaseUrl.href, {
            TRUSS_ENCRYPTION_KEY: keyBytes.toString("base64"),
            TRUSS_API_KEY: apiKey,
            TRUSS_ALERT_URL: receiver.url(`/alerts?token=${secrets.add("the alert URL", needle())}`),
            TRUSS_AUTH: "required",
            LOG_LEVEL: "trace",
            LOG_FORMAT: "json",
            OTEL_EXPORTER_OTLP_ENDPOINT: telemetry.url
          })
          yield* service.ready()

          const answers: Array<string> = []
          const ask = Effect.fnUntraced(function*(
            method: string,
            path: string,
            body?: unknown,
            headers: Record<string, string> = {}
          ) {
            const response = yield* Effect.promise(() =>
              fetch(service.url + path, {
                method,
                headers: { "x-api-key": apiKey, "content-type": "application/json", ...headers },
                ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) })
              })
            )
            const text = yield* Effect.promise(() => response.text())
            return { status: response.status, text, all: `${JSON.stringify([...response.headers])}\n${text}` }
          })
          /** What may be in no answer. */
          const seen = (method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
            Effect.map(ask(method, path, body, headers), ({ all, status, text }) => {
              answers.push(`${method} ${path} ${status} ${all}`)
              return { status, text }
            })

          receiver.respond("/failing", () => ({ status: 500 }))
          receiver.respond("/reset", () => ({ fault: "reset" }))
          receiver.respond("/gone", () => ({ status: 410 }))
          const input = (path: string, name: string) => ({
            name,
            table_name: "orders",
            events: ["INSERT"],
            url: receiver.url(path),
            secret: secrets.add(`the secret of ${name}`, needle()),
            headers: {
              Authorization: `Bearer ${secrets.add(`a header's value of ${name}`, needle())}`,
              "X-Other": secrets.add(`another header's value of ${name}`, needle())
            }
          })
          const create = Effect.fnUntraced(function*(path: string, name: string, more: object = {}) {
            const { status, text } = yield* seen("POST", "/v1/webhooks", { ...input(path, name), ...more }, {
              "idempotency-key": name
            })
            assert.strictEqual(status, 201, text)
            return `/v1/webhooks/${JSON.parse(text).id}`
          })
          const bytes = randomBytes(32)
          secrets.add("the bytes of a whsec_ secret", bytes)
          const [ok, failing, reset, gone, refused] = [
            yield* create("/ok", "ok", { secret: `whsec_${bytes.toString("base64")}` }),
            yield* create("/failing", "failing"),
            yield* create("/reset", "reset"),
            yield* create("/gone", "gone"),
            yield* create("/", "refused", { url: "http://127.0.0.1:1/" })
          ]
          yield* sql`INSERT INTO orders SELECT g FROM generate_series(1, 12) g`
          const logOf = (path: string) =>
            Effect.map(
              seen("GET", `${path}/logs?limit=500`),
              ({ text }) => JSON.parse(text).data as Array<{ id: string; event_id: string }>
            )
          for (const path of [ok, failing, reset, gone, refused]) {
            yield* Effect.repeat(logOf(path), {
              until: (log) => log.length > 0,
              schedule: Schedule.spaced("50 millis")
            })
          }
          yield* receiver.waitFor("/ok", 12)
          yield* waitFor("the alert", Effect.sync(() => receiver.requests.some(({ url }) => url.startsWith("/alerts"))))
          const [entry] = yield* logOf(ok)

          // Secrets that change.
          const header = secrets.add("a patched header's value", needle())
          yield* seen("PATCH", ok, { headers: { authorization: "***", "X-Patched": header } })
          yield* seen("PATCH", failing, { secret: secrets.add("a patched secret", needle()) })
          for (const path of [ok, reset]) {
            const given = { secret: secrets.add("a rotated secret", needle()), overlap_seconds: 600 }
            const shown = yield* ask("POST", `${path}/secret/rotate`, given, { "idempotency-key": path })
            assert.include(shown.text, given.secret)
            const again = yield* seen("POST", `${path}/secret/rotate`, given, { "idempotency-key": path })
            assert.strictEqual(again.status, 200)
            const generated = JSON.parse((yield* ask("POST", `${path}/secret/rotate`, {})).text).secret as string
            secrets.add("a generated secret", generated.slice("whsec_".length))
            secrets.add("the bytes of a generated secret", Buffer.from(generated.slice("whsec_".length), "base64"))
          }
          const made = JSON.parse((yield* ask("POST", "/v1/keys", { name: "k", scope: "read" })).text).key as string
          // The beginning of a key is shown, so that one can be told from others.
          secrets.add("a stored API key", made.slice(-24))
          assert.strictEqual((yield* seen("POST", "/v1/webhooks", {}, { "x-api-key": made })).status, 403)

          // What is asked for in vain.
          const bad = secrets.add("what was refused", needle())
          const wrong: ReadonlyArray<readonly [string, string, unknown, Record<string, string>?]> = [
            ["POST", "/v1/webhooks", `{"secret": "${bad}"`],
            ["POST", "/v1/webhooks", { ...input("/ok", "x"), secret: [bad] }],
            ["POST", "/v1/webhooks", { ...input("/ok", "x"), secret: { [bad.slice(0, 4)]: bad } }],
            ["POST", "/v1/webhooks", { ...input("/ok", "x"), headers: { "X-Bad": `${bad}\r\n` } }],
            ["POST", "/v1/webhooks", { ...input("/ok", "x"), headers: { Host: bad, "X-Null": null } }],
            ["POST", "/v1/webhooks", { ...input("/ok", "x"), headers: bad }],
            ["POST", "/v1/webhooks", { ...input("/ok", "x"), table_name: "nowhere" }],
            ["POST", "/v1/webhooks", { ...input("/ok", "x"), url: `http://user:${bad}@127.0.0.1/` }],
            ["PATCH", ok, { secret: bad, headers: { "X-Bad": bad }, timeout_ms: 1 }],
            ["PATCH", ok, { secret: bad }, { "if-match": "\"nothing\"" }],
            ["POST", `${ok}/secret/rotate`, { secret: bad, overlap_seconds: -1 }],
            ["POST", "/v1/webhooks", input("/ok", "ok"), { "idempotency-key": "ok" }],
            ["GET", "/v1/webhooks", undefined, { "x-api-key": `truss_sk_${bad}` }],
            ["GET", "/v1/webhooks", undefined, { "x-api-key": bad, authorization: `Bearer ${bad}`, apikey: bad }],
            ["POST", "/v1/webhooks", { secret: bad }, { "content-type": "text/plain" }]
          ]
          for (const [method, path, body, headers] of wrong) {
            const { status, text } = yield* seen(method, path, body, headers)
            assert.isTrue(status >= 400 && status < 500, `${method} ${path} ${JSON.stringify(body)}: ${status} ${text}`)
          }
          const unreadable = input("/ok", "moved")
          yield* sql`UPDATE truss.webhooks SET secret = 'v1.garbled' WHERE name = 'refused'`
          yield* seen("POST", `${refused}/test`)
          yield* seen("POST", `${ok}/test`)
          yield* seen("POST", `${ok}/replay/${entry!.id}`)
          yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = 'truss-webhooks' AND datname = current_database()`
          yield* service.ready()
          yield* sql`INSERT INTO orders VALUES (100)`
          yield* receiver.waitFor("/ok", (requests) => requests.some(({ headers }) => headers["x-patched"] === header))

          for (
            const path of [
              "/v1/webhooks",
              ...[ok, failing, reset, gone, refused].flatMap((path) => [
                path,
                `${path}/logs`,
                `${path}/stats?window=1h`,
                `${path}/jobs`,
                `${path}/reconcile`
              ]),
              `${ok}/logs/${entry!.id}`,
              `/v1/events/${entry!.event_id}`,
              "/v1/keys",
              "/v1/tables",
              "/v1/cluster",
              "/v1/audit?limit=500",
              "/metrics",
              "/openapi.json",
              "/health/live",
              "/health/ready"
            ]
          ) {
            // Connections that were ended are noticed one by one.
            yield* waitFor(`GET ${path}`, Effect.map(seen("GET", path), ({ status }) => status === 200))
          }
          const tables = yield* dump(sql)
          assert.include(tables, unreadable.url.replace("/ok", "/failing"))
          yield* service.stop
          const output = service.output()
          assert.include(output, "\"level\":\"DEBUG\"")
          assert.include(telemetry.text(), "Webhooks.create")

          const places = { output, telemetry: telemetry.text(), tables, answers: answers.join("\n") }
          for (const [place, text] of Object.entries(places)) {
            assert.deepStrictEqual(secrets.find(text), [], `in the ${place}`)
          }
        }))
      })),
    180_000
  )

  it.live("is in what a process says that does not start", () =>
    withDatabase(Effect.gen(function*() {
      const { url } = yield* TestDatabase
      const secrets = makeSecrets()
      const wrong = new URL(url)
      wrong.password = secrets.add("the database's password", needle())
      const said = [
        startService(wrong.href, { LOG_LEVEL: "trace" }),
        startService(`${wrong.href}?sslmode=${wrong.password}`),
        startService(url, { TRUSS_ENCRYPTION_KEY: secrets.add("a wrong encryption key", needle()) }),
        startService(url, { TRUSS_API_KEY: secrets.add("a wrong API key", needle()) })
      ]
      for (const start of said) {
        const service = yield* start
        assert.strictEqual((yield* service.ended).code, 1)
        assert.notStrictEqual(service.output(), "")
        assert.deepStrictEqual(secrets.find(service.output()), [])
      }
    })))
})
