import { Effect } from "effect"
import { createHash } from "node:crypto"
import { readdir, readFile } from "node:fs/promises"
import { extname, join, relative } from "node:path"
import { fileURLToPath } from "node:url"

/** How a file's bytes are written: as they are, or compressed. */
export type Encoding = "br" | "gzip" | "identity"

/** A file of the built dashboard. */
export interface DashboardFile {
  readonly contentType: string
  /** A strong tag for each encoding's bytes. */
  readonly tag: (encoding: Encoding) => string
  /** Its name has a hash of its content, so that it never changes. */
  readonly immutable: boolean
  /** Always has `identity`. */
  readonly bytes: ReadonlyMap<Encoding, Uint8Array>
}

/** Files by their path in URLs, such as `/index.html`. Nothing but these can be asked for. */
export type DashboardFiles = ReadonlyMap<string, DashboardFile>

/** Where `npm run dashboard:build` puts the dashboard; in the packed package it is there. */
const built = fileURLToPath(new URL("../../dashboard/dist", import.meta.url))

const contentTypes: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2"
}

const compressed: ReadonlyArray<readonly [Encoding, string]> = [["br", ".br"], ["gzip", ".gz"]]

const load = async (folder: string): Promise<DashboardFiles> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const paths = new Set(entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)))
  const files = [...paths].filter((path) => contentTypes[extname(path)] !== undefined)
  return new Map(
    await Promise.all(files.map(async (path) => {
      const bytes = new Map<Encoding, Uint8Array>([["identity", await readFile(path)]])
      for (const [encoding, suffix] of compressed) {
        if (paths.has(path + suffix)) bytes.set(encoding, await readFile(path + suffix))
      }
      const hash = createHash("sha256").update(bytes.get("identity")!).digest("base64url").slice(0, 22)
      const name = `/${relative(folder, path).replaceAll("\\", "/")}`
      const file: DashboardFile = {
        contentType: contentTypes[extname(path)]!,
        tag: (encoding) => `"${hash}.${encoding}"`,
        immutable: name.startsWith("/assets/"),
        bytes
      }
      return [name, file] as const
    }))
  )
}

/** Reads the built dashboard, some hundred kilobytes, into memory; empty when it was not built. */
export const dashboardFiles = (folder: string = built): Effect.Effect<DashboardFiles> =>
  Effect.promise(() => load(folder).catch((): DashboardFiles => new Map()))
