// Builds the dashboard where that is possible and needed. Plain JavaScript: it also runs on a Node that knows no types.
import { existsSync, readdirSync, statSync } from "node:fs"
import { join } from "node:path"

const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname

/** The time of the latest change below a folder, or of a file. */
const changedAt = (path) =>
  statSync(path).isDirectory()
    ? Math.max(...readdirSync(path).map((name) => changedAt(join(path, name))))
    : statSync(path).mtimeMs

// Tests and shells may say otherwise, and the result would be React's development build.
process.env.NODE_ENV = "production"

const say = (line) => process.stderr.write(`${line}\n`)

const sources = ["src", "public", "index.html", "vite.config.ts", "../package-lock.json"].map((name) =>
  join(here, name)
)
const built = join(here, "dist", "index.html")

const isFresh = () => existsSync(built) && sources.every((path) => changedAt(path) <= statSync(built).mtimeMs)

// The packed package brings the result and not the source.
if (existsSync(join(here, "src")) && !isFresh()) {
  const vite = await import("vite").catch(() => undefined)
  if (vite === undefined) {
    say("The dashboard is not built: its tools are among the development dependencies (npm ci)")
  } else {
    await vite.build({ configFile: join(here, "vite.config.ts"), logLevel: "error" }).catch((error) => {
      // The service works without it, and says at / what to do.
      say(`The dashboard could not be built: ${error.message}`)
      if (process.argv.includes("--strict")) process.exitCode = 1
    })
  }
}
