import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8")

type Section = "dependencies" | "devDependencies" | "optionalDependencies"

const manifest = JSON.parse(read("package.json")) as Record<Section, Record<string, string>>
const runtime = JSON.parse(read("scripts/runtime/package.json")) as Pick<typeof manifest, "optionalDependencies">
Object.assign(manifest.optionalDependencies, runtime.optionalDependencies)

const sectionOf = (kind: string | undefined): Section =>
  kind === "development" ? "devDependencies" : kind === "optional" ? "optionalDependencies" : "dependencies"

/** The rows of the table: the packages of the first cell, `*` for any end, and the reason. */
const rows = read("docs/internals/dependencies.md").split("\n").flatMap((line) => {
  const [, packages, reason] = /^\| *(`.*?) *\| *(.*?) *\|$/.exec(line) ?? []
  if (packages === undefined) return []
  const section = sectionOf(/\((\w+)\)$/.exec(packages)?.[1])
  return [{ section, reason, names: [...packages.matchAll(/`([^`]+)`/g)].map((match) => match[1]!) }]
})

const stands = (name: string, pattern: string) =>
  pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern

describe("docs/internals/dependencies.md", () => {
  for (const section of ["dependencies", "devDependencies", "optionalDependencies"] as const) {
    const own = rows.filter((row) => row.section === section)

    it(`has a reason for each of the ${section}, and no other`, () => {
      for (const name of Object.keys(manifest[section])) {
        const found = own.filter(({ names }) => names.some((pattern) => stands(name, pattern)))
        assert.lengthOf(found, 1, name)
        assert.isNotEmpty(found[0]!.reason)
      }
      for (const pattern of own.flatMap(({ names }) => names)) {
        assert.isTrue(Object.keys(manifest[section]).some((name) => stands(name, pattern)), pattern)
      }
    })

    it(`has exact versions of the ${section}`, () => {
      for (const [name, version] of Object.entries(manifest[section])) {
        assert.match(version, /^\d+\.\d+\.\d+(?:-[\w.]+)?$/, name)
      }
    })
  }
})
