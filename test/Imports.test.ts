import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"

const src = fileURLToPath(new URL("../src", import.meta.url))

interface Import {
  readonly from: string
  readonly to: string
}

/** A file's folder and name under `src`, with forward slashes. */
const under = (path: string) => relative(src, path).replaceAll("\\", "/")

const files = readdirSync(src, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
  .map((entry) => join(entry.parentPath, entry.name))

const importPattern = /(?:^|\n)\s*(?:import|export)\s(?:[^"';]*?\sfrom\s)?\s*"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/g

const imports: ReadonlyArray<Import> = files.flatMap((file) =>
  [...readFileSync(file, "utf8").matchAll(importPattern)].map((match) => {
    const to = match[1] ?? match[2]!
    return { from: under(file), to: to.startsWith(".") ? under(join(dirname(file), to)) : to }
  })
)

/** What each folder may import of `src`, beside itself. */
const allowed: Readonly<Record<string, ReadonlyArray<string>>> = {
  domain: [],
  services: ["domain"],
  listener: ["domain", "services"],
  http: ["domain", "services", "listener"]
}

const entries = ["main.ts", "cli.ts", "index.ts", "client.ts", "verify.ts"]
const isOurs = (to: string) => /\.tsx?$/.test(to) && !to.startsWith("node:")
const show = ({ from, to }: Import) => `${from} imports ${to}`

describe("Imports", () => {
  it("are found", () => {
    assert.isAbove(files.length, 40)
    assert.isAbove(imports.length, 200)
    assert.includeDeepMembers([...imports], [{ from: "services/Capture.ts", to: "services/WatchedTable.ts" }])
    for (const file of files) {
      const lines = readFileSync(file, "utf8").split("\n").filter((line) => /^(?:import|\} from) ?.*"/.test(line))
      const found = imports.filter(({ from }) => from === under(file))
      assert.isAtLeast(found.length, lines.length, under(file))
    }
  })

  it("go from http to listener to services to domain, and never back", () => {
    const wrong = imports.filter(({ from, to }) => {
      const rule = allowed[from.split("/")[0]!]
      if (rule === undefined || !from.includes("/") || !isOurs(to)) return false
      if (to.startsWith("../migrations/")) return !from.startsWith("services/")
      const folder = to.split("/")[0]!
      return folder !== from.split("/")[0] && !rule.includes(folder)
    })
    assert.deepStrictEqual(wrong.map(show), [])
  })

  it("of the API's definition are of the domain alone, so that a browser can have it", () => {
    const wrong = imports.filter(({ from, to }) =>
      from.startsWith("http/api/") &&
      (isOurs(to) ? !to.startsWith("http/api/") && !to.startsWith("domain/") : !/^effect(?:\/|$)/.test(to))
    )
    assert.deepStrictEqual(wrong.map(show), [])
  })

  it("of the domain are pure: Effect and nothing of the platform", () => {
    const wrong = imports.filter(({ from, to }) => from.startsWith("domain/") && !isOurs(to) && to !== "effect")
    assert.deepStrictEqual(wrong.map(show), [])
    for (const file of files.filter((file) => under(file).startsWith("domain/"))) {
      const text = readFileSync(file, "utf8")
      for (
        const word of ["Context.Service", "Layer.", "Clock.", "Date.now(", "Math.random(", "process.", "new Date()"]
      ) {
        assert.notInclude(text, word, under(file))
      }
    }
  })

  it("of the dashboard are types alone, so that browsers do not load Effect", () => {
    const dashboard = fileURLToPath(new URL("../dashboard/src", import.meta.url))
    const sources = readdirSync(dashboard, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), "utf8"))
    const ours = sources.flatMap((text) => text.match(/^import .*"(?:effect|effect\/.*|(?:\.\.\/)+src\/.*)"$/gm) ?? [])
    assert.isAtLeast(ours.length, 3)
    assert.deepStrictEqual(ours.filter((line) => !line.startsWith("import type ")), [])
  })

  it("are none in what receivers take", () => {
    assert.deepStrictEqual(imports.filter(({ from }) => from === "verify.ts").map(show), [])
  })

  it("are Effect and what is fit for browsers in the typed client", () => {
    const reached = new Set<string>()
    const reach = (file: string) => {
      if (reached.has(file)) return
      reached.add(file)
      if (isOurs(file)) { for (const { from, to } of imports) if (from === file) reach(to) }
    }
    reach("client.ts")
    const wrong = [...reached].filter((file) =>
      isOurs(file)
        ? !/^(?:client\.ts|http\/Client\.ts|http\/api\/.*|domain\/.*)$/.test(file)
        : !/^effect(?:\/|$)/.test(file)
    )
    assert.isAbove(reached.size, 10)
    assert.deepStrictEqual(wrong, [])
  })

  it("never name an entry point", () => {
    const wrong = imports.filter(({ from, to }) => entries.includes(to) && !(from === "main.ts" && to === "cli.ts"))
    assert.deepStrictEqual(wrong.map(show), [])
  })

  it("of Service.ts are for the command line and entry points", () => {
    const wrong = imports.filter(({ from, to }) =>
      to === "Service.ts" && from.includes("/") && !from.startsWith("cli/")
    )
    assert.deepStrictEqual(wrong.map(show), [])
  })
})
