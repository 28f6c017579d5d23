import { Context, Effect, Layer } from "effect"
import { execFile } from "node:child_process"
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { root } from "./Program.ts"

/** What `npm pack` made. */
export interface Packed {
  readonly version: string
  /** Bytes of the tarball, and of what is in it. */
  readonly size: number
  readonly unpackedSize: number
  readonly files: ReadonlyArray<{ readonly path: string; readonly mode: number }>
}

// What `npm run` tells its scripts is not for an npm in another folder.
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_(?!config_)|^npm_config_(?:local_)?prefix$/i.test(name))
)

const npm = async (cwd: string, ...args: ReadonlyArray<string>) => {
  const { stdout } = await promisify(execFile)("npm", [...args], { cwd, env, maxBuffer: 64 * 1024 * 1024 })
  return stdout
}

const make = async (folder: string) => {
  // The embedded PostgreSQL runs as nobody where the tests run as root.
  await chmod(folder, 0o755)
  const report = await npm(root, "pack", "--json", "--loglevel=error", "--pack-destination", folder)
  // What the build says stands before the report.
  const [packed] = JSON.parse(report.slice(report.search(/^\[$/m))) as [Packed & { readonly filename: string }]
  const tarball = join(folder, packed.filename)
  const project = join(folder, "project")
  await mkdir(project)
  await writeFile(join(project, "package.json"), JSON.stringify({ private: true, type: "module" }))
  // The same versions as here are in npm's cache.
  await npm(project, "install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error", tarball)
  const installed = join(project, "node_modules/truss-webhooks")
  await cp(join(installed, "examples"), join(project, "examples"), { recursive: true })
  return { packed, project, installed, tarball: await readFile(tarball) }
}

/** The package as `npm pack` makes it, installed into a project of its own, with its examples as the project's. */
export class PackedPackage extends Context.Service<PackedPackage, {
  readonly packed: Packed
  readonly tarball: Uint8Array
  /** The folder of the project. */
  readonly project: string
  /** The folder of the package in it. */
  readonly installed: string
}>()("truss/test/PackedPackage") {
  static readonly layer = Layer.effect(
    PackedPackage,
    Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "truss-package-"))),
      (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }))
    ).pipe(Effect.flatMap((folder) => Effect.promise(() => make(folder))))
  )
}
