import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Yaml } from "effect/encoding"
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { TestDatabase } from "../support/Database.ts"
import { docShell } from "../support/DocShell.ts"
import { testKey } from "../support/Encryption.ts"
import { hasuraCatalog, hasuraExport, writeHasuraFolder } from "../support/Hasura.ts"
import { ownPostgres } from "../support/OwnPostgres.ts"
import { hasPgBouncer, pgBouncer } from "../support/PgBouncer.ts"
import { root, run as program, temporary } from "../support/Program.ts"
import { listen, type Received, Receiver } from "../support/Receiver.ts"
import { Application, connect, run, RunningService } from "../support/RunningService.ts"
import { type Snippet, snippets } from "../support/Snippets.ts"
import { supabaseFunctions, supabaseTriggers } from "../support/Supabase.ts"

/** Every snippet that is not run here, and why. */
const notRun: Readonly<Record<string, string>> = {
  "README.md: npm pack                                            # in this folder: truss-webhooks-0.1.0.tgz":
    "test/package packs and installs it, on each runtime",
  "docs/operations/deploying.md: npm install --prefix /opt/truss-webhooks --omit=optional truss-webhooks-0.1.0.tgz":
    "test/package installs it; /opt is not a test's",
  "docs/operations/deploying.md: cat > .env <<EOF": "needs a container engine",
  "docs/operations/deploying.md: docker build --tag truss-webhooks .": "needs a container engine",
  "docs/operations/deploying.md: install -m 600 /dev/null /etc/truss-webhooks.env     # then fill it:":
    "needs systemd, and writes to /etc",
  "docs/guide/verifying.md: SECRET=\"a long random string\" node examples/receivers/express/receiver.ts":
    "test/examples/Receivers starts each of them",
  "README.md: npm ci && npm run demo": ".ci/run does, on a clean checkout; test/program/Cli runs the demo",
  "README.md: npm ci && npm test": ".ci/run does, on a clean checkout",
  "docs/guide/getting-started.md: npm ci": ".ci/run does, on a clean checkout",
  "docs/operations/backups.md: pg_dump -Fc \"$DATABASE_URL\" > app.dump":
    "test/program/Databases runs it, where the system has a PostgreSQL",
  "docs/operations/backups.md: pg_dump -Fc --exclude-table-data='truss.events*' --exclude-table-data='truss.attempts*' \"$DATABASE_URL\" > app.dump":
    "test/program/Databases runs it, where the system has a PostgreSQL",
  "docs/operations/backups.md: pg_restore -d \"$DATABASE_URL\" app.dump":
    "test/program/Databases runs it, where the system has a PostgreSQL",
  "docs/guide/command-line.md: source <(truss-webhooks --completions bash)     # in ~/.bashrc":
    "needs three shells; test/program/WebhooksCli prints the completions"
}

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

const examples = readdirSync(join(root, "examples"), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8").trimEnd())

const ways = ["shell", "sql", "json", "yaml", "ini", "fragment", "example", "picture"] as const

/** How a snippet is tried; undefined where nobody knows. */
const wayOf = ({ language, text }: Snippet): (typeof ways)[number] | undefined => {
  switch (language) {
    case "":
      return "picture"
    case "sh":
      return "shell"
    case "sql":
    case "json":
    case "yaml":
    case "ini":
      return language
    case "js":
    case "ts":
      return examples.includes(text) ? "example" : "fragment"
    case "python":
    case "go":
      return examples.includes(text) ? "example" : undefined
    default:
      return undefined
  }
}

const tried = snippets.filter(({ name }) => notRun[name] === undefined)
const inWays = (...wanted: ReadonlyArray<(typeof ways)[number]>) =>
  tried.filter((snippet) => wanted.some((way) => way === wayOf(snippet)))
const where = ({ line, page }: Snippet) => `${page}:${line}`

const works = (command: string, ...args: ReadonlyArray<string>) =>
  spawnSync(command, args, { stdio: "ignore" }).status === 0
const missing = ["bash", "curl", "jq", "openssl"].filter((tool) => !works(tool, "--version") && !works(tool, "version"))

/** What a page takes for granted, beside the table `orders` and a webhook on it. */
const scenes: Readonly<Record<string, ReadonlyArray<string>>> = {
  "docs/guide/from-supabase.md": [
    ...supabaseFunctions,
    ...supabaseTriggers("https://example.com/hooks").filter((statement) => !/CREATE TABLE orders/.test(statement))
  ],
  "docs/guide/from-hasura.md": hasuraCatalog,
  "docs/operations/databases.md": ["CREATE ROLE app_owner NOLOGIN"],
  "docs/operations/doctor.md": ["CREATE ROLE truss LOGIN"],
  "docs/operations/security.md": ["CREATE ROLE app_owner NOLOGIN"]
}

/** On these pages the webhook and its event are those whose endpoint fails. */
const aboutFailure: ReadonlyArray<string> = ["docs/guide/ordering.md"]

/** On these pages no service runs beside the snippets. */
const withoutService: ReadonlyArray<string> = ["docs/operations/uninstall.md"]

/** A server of the page's own: snippets make roles, which all databases of a server share. */
const ownDatabase = Layer.effect(
  TestDatabase,
  Effect.gen(function*() {
    const server = yield* ownPostgres
    yield* server.start
    const url = new URL(server.url)
    yield* Effect.scoped(Effect.gen(function*() {
      const sql = yield* connect()
      yield* sql.unsafe("CREATE DATABASE app")
    })).pipe(Effect.provideService(TestDatabase, { url: url.href }), Effect.orDie)
    url.pathname = "/app"
    return { url: url.href }
  })
)

const databaseOf = (page: string) =>
  inWays("sql").some((snippet) => snippet.page === page) ? ownDatabase : TestDatabase.layerUrl

const orders = [
  "CREATE TABLE orders (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, status text, amount numeric, total numeric, shipped_at timestamptz, note text)",
  "CREATE SCHEMA shop",
  "CREATE TABLE shop.orders (id int PRIMARY KEY)",
  "CREATE TABLE shop.lines (id int PRIMARY KEY)"
]

/** Addresses and keys of the pages, as they are in the test. */
const fitted = (text: string, real: Readonly<Record<"service" | "receiver" | "database" | "key", string>>) =>
  text
    .replaceAll(/postgres:\/\/[^\s"']+/g, real.database)
    .replaceAll(/https?:\/\/truss\.example(?:\.com)?(?::8787)?/g, real.service)
    .replaceAll(/(?:http:\/\/)?localhost:8787/g, real.service)
    .replaceAll(/http:\/\/localhost:3000/g, real.receiver)
    .replaceAll(/https?:\/\/(?:[a-z]+\.)?example\.com/g, real.receiver)
    .replaceAll(/truss_sk_(?:\.\.\.|…)/g, real.key)
    .replaceAll(/whsec_(?:\.\.\.|…)/g, secret)
    // A command that says so ends with another exit code than 0.
    .replaceAll(/^(.*\S) +#.*exit code (\d)$/gm, "code=0; $1 || code=$?; [ $code = $2 ]")

/** The shell and SQL of a page, in order, on a service that has delivered something and failed to deliver something. */
const readPage = Effect.fnUntraced(function*(page: string) {
  const { url } = yield* TestDatabase
  const receiver = yield* Receiver
  const folder = yield* temporary
  yield* run(...orders, ...scenes[page] ?? [])
  writeFileSync(join(folder, "metadata.json"), JSON.stringify(hasuraExport))
  writeFileSync(
    join(folder, "hasura.env"),
    `HOOKS_URL=${receiver.url("")}\nHOOKS_TOKEN=token\nSTATUS_URL=${receiver.url("/status")}\n`
  )
  writeHasuraFolder(join(folder, "hasura"))
  mkdirSync(join(folder, "src"))

  const sql = yield* Application
  const change = yield* listen((_, response) => {
    const made = Effect.andThen(
      sql`INSERT INTO orders (status, amount, total) VALUES ('new', 5, 7)`,
      sql`INSERT INTO shop.orders SELECT coalesce(max(id), 0) + 1 FROM shop.orders`
    )
    Effect.runPromise(made).then(() => response.writeHead(204).end(), () => response.writeHead(500).end())
  })
  // So that what fails waits for as long as the page is read.
  receiver.respond("/failing", () => ({ status: 503, headers: { "retry-after": "3600" } }))
  const database: Record<string, string> = {
    ROOT: root,
    NODE: process.execPath,
    CHANGE: `http://127.0.0.1:${change}`,
    DATABASE_URL: url,
    TRUSS_DATA_DIR: join(folder, "data"),
    TRUSS_ENCRYPTION_KEY: testKey,
    SECRET: secret
  }
  const scene = withoutService.includes(page)
    ? Effect.as(program(["migrate"], database), { service: "", key: "", env: database })
    : Effect.gen(function*() {
      const { ask, baseUrl, create, log } = yield* RunningService
      const answer = (text: string) => JSON.parse(text)
      const { id } = yield* create({ table_name: "orders", url: receiver.url("/hook"), secret })
      const failing = yield* create({
        table_name: "orders",
        url: receiver.url("/failing"),
        ordering: "row",
        name: "failing"
      })
      yield* run("INSERT INTO orders (status, amount, total) VALUES ('new', 5, 7)")
      const [entry] = yield* log(id, 1)
      const [failed] = yield* log(failing.id, 1)
      const { key } = answer((yield* ask("POST", "/keys", { name: "docs", scope: "write" })).text)
      const { headers } = yield* ask("GET", `/webhooks/${id}`)
      const { job_id } = answer((yield* ask("POST", `/webhooks/${id}/replay`, { event_type: "INSERT" })).text)
      return {
        service: baseUrl,
        key: String(key),
        env: {
          ...database,
          TRUSS_URL: baseUrl,
          ...(aboutFailure.includes(page)
            ? { ID: failing.id, EVENT_ID: failed!.event_id, LOG_ID: failed!.id }
            : { ID: id, EVENT_ID: entry!.event_id, LOG_ID: entry!.id }),
          JOB_ID: String(job_id),
          ETAG: headers.get("etag") ?? "",
          KEY: String(key)
        }
      }
    })
  const { env, key, service } = yield* scene
  const shell = yield* docShell(env, folder)
  const real = { service, key, receiver: receiver.url(""), database: url }
  for (const snippet of inWays("shell", "sql").filter((one) => one.page === page)) {
    if (snippet.language === "sh") {
      yield* shell(fitted(snippet.text, real)).pipe(
        Effect.catchDefect((defect) =>
          Effect.die(new Error(`${where(snippet)}: ${defect instanceof Error ? defect.message : String(defect)}`))
        )
      )
    } else {
      const session = yield* connect()
      for (const statement of snippet.text.split(/;[ \t]*(?:--.*)?(?:\n|$)/).filter((text) => text.trim() !== "")) {
        yield* session.unsafe(statement).pipe(
          Effect.mapError((error) => new Error(`${where(snippet)}: ${statement}: ${String(error.reason.cause)}`))
        )
      }
    }
  }
  // Whatever was set is a setting that the program takes.
  if (service !== "") yield* shell("truss-webhooks webhooks list --json")
})

/** What fragments of JavaScript find around them: a delivery that came. */
const around = ({ bytes, headers }: Received) =>
  [
    `const rawBody = Buffer.from("${bytes.toString("base64")}", "base64")`,
    "const chunks = [rawBody]",
    `const request = { headers: ${JSON.stringify(headers)} }`,
    `const secret = ${JSON.stringify(secret)}`,
    "const databaseUrl = process.env.DATABASE_URL"
  ].join("\n")

describe("Every snippet of the documents", () => {
  it("is tried, or listed with the reason why not", () => {
    assert.isAbove(snippets.length, 60)
    const names = snippets.map(({ name }) => name)
    assert.deepStrictEqual(Object.keys(notRun).filter((name) => !names.includes(name)), [])
    assert.deepStrictEqual(tried.filter((snippet) => wayOf(snippet) === undefined).map(where), [])
  })

  for (const page of new Set(inWays("shell", "sql").map((snippet) => snippet.page))) {
    describe.skipIf(missing.length > 0)(`of ${page}`, () => {
      it.live(
        `works in a shell${missing.length > 0 ? ` (skipped: ${missing.join(", ")} not installed)` : ""}`,
        () => {
          const scene = Layer.mergeAll(Receiver.layer, Application.layer).pipe(Layer.provideMerge(databaseOf(page)))
          return withoutService.includes(page)
            ? readPage(page).pipe(Effect.provide(Layer.fresh(scene))) as Effect.Effect<void>
            : readPage(page).pipe(Effect.provide(Layer.fresh(RunningService.layerOn().pipe(Layer.provideMerge(scene)))))
        }
      )
    })
  }

  it.live("in JavaScript and TypeScript runs with a delivery that came, and has the right types", () =>
    Effect.gen(function*() {
      const { url } = yield* TestDatabase
      const receiver = yield* Receiver
      const { create } = yield* RunningService
      yield* run(...orders)
      yield* create({ table_name: "orders", url: receiver.url("/hook"), secret })
      yield* run("INSERT INTO orders (status) VALUES ('new')")
      const [delivery] = yield* receiver.waitFor("/hook", 1)
      const folder = yield* Effect.acquireRelease(
        // Within the project, so that its packages are found.
        Effect.sync(() => mkdtempSync(join(root, "test", ".snippets-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
      )
      const env = { PATH: process.env["PATH"], SECRET: secret, DATABASE_URL: url, TRUSS_ENCRYPTION_KEY: testKey }
      for (const [index, snippet] of inWays("fragment").entries()) {
        const file = join(folder, `${index}.${snippet.language === "ts" ? "ts" : "mjs"}`)
        writeFileSync(file, `${around(delivery!)}\n${snippet.text}\nexport {}\n`)
        const { status, stderr } = spawnSync(process.execPath, [file], { env, encoding: "utf8" })
        assert.strictEqual(status, 0, `${where(snippet)}: ${stderr}`)
      }
      writeFileSync(
        join(folder, "tsconfig.json"),
        // A fragment does not use all that it declares.
        "{ \"extends\": \"../../tsconfig.json\", \"include\": [\"*.ts\"], \"compilerOptions\": { \"noUnusedLocals\": false } }"
      )
      const types = spawnSync(join(root, "node_modules", ".bin", "tsc"), ["-p", folder], { encoding: "utf8" })
      assert.strictEqual(types.status, 0, types.stdout)
    }).pipe(Effect.provide(Layer.fresh(Layer.merge(RunningService.layer(), Receiver.layer)))))

  it.live.skipIf(!hasPgBouncer)("for PgBouncer lets doctor through it (needs pgbouncer)", () =>
    Effect.gen(function*() {
      const { url } = yield* TestDatabase
      const found = inWays("ini")
      assert.isAbove(found.length, 0)
      for (const snippet of found) {
        const DATABASE_URL = yield* pgBouncer(url, snippet.text.split("\n").filter((line) => !line.startsWith("[")))
        const env = { DATABASE_URL, DATABASE_PREPARE: "false", TRUSS_LISTEN: "off" }
        const { code, stdout } = yield* program(["doctor"], env)
        assert.strictEqual(code, 0, `${where(snippet)}: ${stdout}`)
      }
    }).pipe(Effect.provide(Layer.fresh(TestDatabase.layerUrl))))

  it("in JSON is JSON", () => {
    for (const snippet of inWays("json")) {
      try {
        JSON.parse(snippet.text)
      } catch (error) {
        assert.fail(`${where(snippet)}: ${String(error)}`)
      }
    }
  })

  it("in YAML is YAML", () => {
    for (const snippet of inWays("yaml")) assert.isObject(Yaml.parse(snippet.text), where(snippet))
  })
})
