// Makes `dist`: what the packed package runs, since Node takes no TypeScript under node_modules. It mirrors this folder,
// so that paths between files hold. Without --strict, as after `npm ci`, only JavaScript, which takes a second; with it,
// as for `npm pack`, types are checked and declared. Plain JavaScript: it also runs on a Node that knows no types.
import { spawnSync } from "node:child_process"
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const dist = join(root, "dist")
const main = join(dist, "src/main.js")
const strict = process.argv.includes("--strict")

/** The time of the latest change below a folder, or of a file. */
const changedAt = (path) =>
  statSync(path).isDirectory()
    ? Math.max(...readdirSync(path).map((name) => changedAt(join(path, name))))
    : statSync(path).mtimeMs

const sources = ["src", "migrations", "package.json", "package-lock.json", "tsconfig.json", "tsconfig.build.json"]

const isFresh = () => existsSync(main) && sources.every((name) => changedAt(join(root, name)) <= statSync(main).mtimeMs)

const findCompiler = () => {
  try {
    return join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc")
  } catch {
    return undefined
  }
}

const say = (line) => process.stderr.write(`${line}\n`)

const compile = () => {
  const compiler = findCompiler()
  if (compiler === undefined) {
    say("dist is not built: the compiler is among the development dependencies (npm ci); npm start needs neither")
    return !strict
  }
  rmSync(dist, { recursive: true, force: true })
  const quick = strict ? [] : ["--noCheck", "--declaration", "false", "--declarationMap", "false"]
  const { status } = spawnSync(process.execPath, [compiler, "-p", join(root, "tsconfig.build.json"), ...quick], {
    stdio: ["ignore", 2, 2]
  })
  if (status !== 0) {
    say("dist could not be built")
    return !strict
  }
  // The version is read from here; the rest of the manifest would be wrong in this place.
  const { name, sideEffects, type, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
  writeFileSync(join(dist, "package.json"), `${JSON.stringify({ name, version, type, sideEffects }, null, 2)}\n`)
  // What tells that dist is fresh is the last to be written.
  utimesSync(main, new Date(), new Date())
  return true
}

// The packed package brings the result; what is asked for strictly is made anew.
if (existsSync(join(root, "tsconfig.build.json")) && (strict || !isFresh()) && !compile()) process.exit(1)

const dashboard = join(root, "dashboard/dist")
if (existsSync(main) && existsSync(dashboard)) {
  rmSync(join(dist, "dashboard"), { recursive: true, force: true })
  cpSync(dashboard, join(dist, "dashboard/dist"), { recursive: true })
}
