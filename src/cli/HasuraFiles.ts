import { Effect } from "effect"
import { Yaml } from "effect/encoding"
import { lstatSync, readFileSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { CommandFailed } from "./Failure.ts"

const includePattern = /^!include (.+)$/

/** What a file says, with the files that it includes in their places. */
const load = (path: string): unknown => {
  const text = readFileSync(path, "utf8")
  const included = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(included)
    if (typeof value === "object" && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, included(member)]))
    }
    const [, other] = typeof value === "string" ? includePattern.exec(value) ?? [] : []
    return other === undefined ? value : load(join(dirname(path), other))
  }
  try {
    return path.endsWith(".json") ? JSON.parse(text) : included(Yaml.parse(text))
  } catch (error) {
    if (error instanceof Error && "code" in error) throw error
    throw new Error(`${path} is not ${path.endsWith(".json") ? "JSON" : "YAML"}: ${String(error)}`)
  }
}

const isFile = (path: string) => lstatSync(path, { throwIfNoEntry: false })?.isFile() === true

/** A folder as `hasura metadata export` writes it, or a project that has one. */
const loadFolder = (folder: string): unknown => {
  for (const within of [folder, join(folder, "metadata")]) {
    const databases = join(within, "databases", "databases.yaml")
    if (isFile(databases)) return { sources: load(databases) }
    const tables = join(within, "tables.yaml")
    if (isFile(tables)) return { tables: load(tables) }
  }
  throw new Error(`${folder} has neither databases/databases.yaml nor tables.yaml`)
}

/** Hasura's metadata as it was exported: a JSON or YAML file, or a folder. */
export const readHasuraFiles = (path: string): Effect.Effect<unknown, CommandFailed> =>
  Effect.try({
    try: () => statSync(path).isDirectory() ? loadFolder(path) : load(path),
    catch: (error) =>
      new CommandFailed({
        lines: [`--metadata: ${(error instanceof Error ? error.message : String(error)).replaceAll(/\s*\n\s*/g, " ")}`]
      })
  })
