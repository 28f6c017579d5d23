import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { chmod, chown, lchown, lstat, mkdir, mkdtemp, readdir, readFile, realpath, rename } from "node:fs/promises"
import { rm, stat, symlink, writeFile } from "node:fs/promises"
import { dirname, join, resolve, sep } from "node:path"
import { type Binaries, findBinaries } from "./EmbeddedPostgresBinaries.ts"
import { EmbeddedPostgresError } from "./EmbeddedPostgresError.ts"
import { type Identity, run } from "./EmbeddedPostgresProcess.ts"

// PostgreSQL refuses to run as root; this is `nobody` on the systems that we know.
const nobody: Identity = { uid: 65534, gid: 65534 }

/** Where root keeps the database of a project that `nobody` cannot enter (in /root, say). */
const systemFolder = "/var/lib/truss-webhooks"

const dataFolderError = (message: string) => new EmbeddedPostgresError({ reason: "DataFolder", message })

const io = <A>(evaluate: () => Promise<A>) =>
  Effect.tryPromise({
    try: evaluate,
    catch: (cause) =>
      dataFolderError(`PostgreSQL's data folder cannot be used: ${cause instanceof Error ? cause.message : cause}`)
  })

const canEnter = Effect.fnUntraced(function*(identity: Identity | undefined, folder: string) {
  return identity === undefined || (yield* run(identity, "/bin/sh", ["-c", "cd -- \"$1\"", "sh", folder])).ok
})

const initialize = Effect.fnUntraced(function*(home: string, identity: Identity | undefined, binaries: Binaries) {
  const data = join(home, "data")
  const password = join(home, "password")
  yield* io(async () => {
    await mkdir(data, { mode: 0o700 })
    await writeFile(password, randomBytes(24).toString("base64url"), { mode: 0o600 })
    if (identity === undefined) return
    await chmod(home, 0o711)
    await chown(data, identity.uid, identity.gid)
    await chown(password, identity.uid, identity.gid)
  })
  const flags = ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", `--pwfile=${password}`, "--no-instructions"]
  if (Number.parseInt(binaries.version) >= 17) flags.push("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
  const { ok, output } = yield* run(identity, binaries.initdb, ["-D", data, "-U", "postgres", ...flags])
  if (ok) return
  if (output.includes("could not look up effective user ID")) {
    return yield* new EmbeddedPostgresError({
      reason: "NoUserEntry",
      message: `PostgreSQL cannot run as user id ${identity?.uid ?? process.getuid?.()}, which has no entry in ` +
        `/etc/passwd: add one, run as a user that has one, or set DATABASE_URL to a server`
    })
  }
  return yield* new EmbeddedPostgresError({ reason: "StartFailed", message: `PostgreSQL's initdb failed: ${output}` })
})

// A first start that was killed leaves its draft.
const removeOldDrafts = Effect.fnUntraced(function*(dataDir: string) {
  for (const name of yield* io(() => readdir(dataDir))) {
    const pid = Number(/^postgres\.(\d+)\.\w+$/.exec(name)?.[1] ?? Number.NaN)
    if (Number.isNaN(pid) || pid === process.pid) continue
    const alive = yield* Effect.orElseSucceed(Effect.try(() => process.kill(pid, 0)), () => false)
    // Its initdb may still be running, and will then be gone by another start.
    if (!alive) yield* Effect.ignore(Effect.tryPromise(() => rm(join(dataDir, name), { recursive: true, force: true })))
  }
})

const makeDraft = Effect.fnUntraced(function*(dataDir: string, identity: Identity | undefined) {
  yield* removeOldDrafts(dataDir)
  if (yield* canEnter(identity, dataDir)) {
    const draft = yield* io(() => mkdtemp(join(dataDir, `postgres.${process.pid}.`)))
    return { draft, publish: (link: string) => rename(draft, link) }
  }
  const draft = yield* io(async () => {
    await mkdir(systemFolder, { recursive: true })
    await chmod(systemFolder, 0o755)
    return await mkdtemp(join(systemFolder, `${dataDir.split(sep).filter(Boolean).join("-").slice(-80)}.`))
  })
  return { draft, publish: (link: string) => symlink(draft, link) }
})

// All of it is made under another name and appears at once: a killed start leaves nothing half done, and of two first
// starts at the same time one finds the other's folder.
const create = Effect.fnUntraced(function*(
  dataDir: string,
  link: string,
  identity: Identity | undefined,
  packageName: string | undefined
) {
  const { draft, publish } = yield* makeDraft(dataDir, identity)
  yield* Effect.gen(function*() {
    if (identity !== undefined) yield* io(() => chmod(draft, 0o711))
    if (!(yield* canEnter(identity, draft))) {
      return yield* dataFolderError(
        `PostgreSQL does not run as root, and uid ${identity?.uid} cannot enter ${draft}: ` +
          `start it as an ordinary user, or set DATABASE_URL to a server`
      )
    }
    const binaries = yield* findBinaries({ home: draft, identity, package: packageName })
    yield* initialize(draft, identity, binaries)
    yield* Effect.catch(Effect.tryPromise(() => publish(link)), () => io(() => rm(draft, { recursive: true })))
  }).pipe(Effect.onError(() => Effect.promise(() => rm(draft, { recursive: true, force: true }))))
})

const chownAll = async (folder: string, { gid, uid }: Identity) => {
  for (const name of await readdir(folder, { recursive: true })) await lchown(join(folder, name), uid, gid)
  await lchown(folder, uid, gid)
}

// Root runs the server as the data's owner: a project of another user stays usable for that user.
const identityOf = Effect.fnUntraced(function*(data: string) {
  const self = process.getuid?.()
  const { gid, uid } = yield* io(() => stat(data))
  if (self === undefined || uid === self && self !== 0) return undefined
  if (self !== 0) {
    return yield* dataFolderError(
      `${data} belongs to uid ${uid}, not to you (uid ${self}); was it made by root? Give it to your user ` +
        `(chown -R ${self} ${dirname(data)}), or use another data folder`
    )
  }
  if (uid !== 0) return { uid, gid }
  yield* io(() => chownAll(data, nobody))
  return nobody
})

/**
 * Opens `<dataDir>/postgres`, and makes it on the first start. In it are `data` (PostgreSQL's own folder, mode 700),
 * `password` (mode 600) and `server.log`.
 *
 * As root PostgreSQL runs as uid 65534, or as the owner of data that exists. Where that user cannot enter `dataDir`,
 * the folder is made under `/var/lib/truss-webhooks` and `<dataDir>/postgres` is a link to it.
 */
export const openFolder = Effect.fnUntraced(function*(options: {
  readonly dataDir: string
  readonly package?: string | undefined
}) {
  const dataDir = resolve(options.dataDir)
  const link = join(dataDir, "postgres")
  yield* io(() => mkdir(dataDir, { recursive: true }))
  const exists = yield* Effect.orElseSucceed(Effect.as(Effect.tryPromise(() => lstat(link)), true), () => false)
  if (!exists) yield* create(dataDir, link, process.getuid?.() === 0 ? nobody : undefined, options.package)
  const home = yield* Effect.mapError(
    io(() => realpath(link)),
    ({ message }) =>
      dataFolderError(
        `${message}. If that is a link whose target is gone for good, remove it to start with an empty database`
      )
  )
  const data = join(home, "data")
  const identity = yield* identityOf(data)
  if (!(yield* canEnter(identity, data))) {
    return yield* dataFolderError(
      `PostgreSQL runs as uid ${identity?.uid}, which cannot enter ${data}: let others pass through the folders ` +
        `above it (chmod o+x), use another data folder, or set DATABASE_URL to a server`
    )
  }
  const binaries = yield* findBinaries({ home, identity, package: options.package })
  const written = (yield* io(() => readFile(join(data, "PG_VERSION"), "utf8"))).trim()
  if (written !== String(Number.parseInt(binaries.version))) {
    return yield* new EmbeddedPostgresError({
      reason: "VersionMismatch",
      message: `${data} was written by PostgreSQL ${written}, and this is ${binaries.version}: ` +
        `move it with pg_dump of that version, or use another data folder`
    })
  }
  const password = yield* io(() => readFile(join(home, "password"), "utf8"))
  return { data, identity, binaries, password: password.trim(), log: join(home, "server.log") }
})
