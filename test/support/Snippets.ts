import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

/** A fenced block of a page. */
export interface Snippet {
  /** As `docs/guide/api.md`. */
  readonly page: string
  readonly line: number
  /** What stands behind the fence; empty for pictures and output. */
  readonly language: string
  readonly text: string
  /** The page and the first line: what a list of exceptions names. */
  readonly name: string
}

const root = fileURLToPath(new URL("../../", import.meta.url))

/** Every page that users read. */
export const pages: ReadonlyArray<string> = [
  "README.md",
  ...readdirSync(`${root}docs`, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".md"))
    .map((entry) => `${entry.parentPath}/${entry.name}`.replaceAll("\\", "/").replace(/^.*?\/(?=docs\/)/, ""))
    .toSorted()
]

export const readPage = (page: string): string => readFileSync(`${root}${page}`, "utf8")

const snippetsOf = (page: string): ReadonlyArray<Snippet> => {
  const found: Array<Snippet> = []
  let open: { readonly indent: string; readonly language: string; readonly line: number } | undefined
  let lines: Array<string> = []
  for (const [index, text] of readPage(page).split("\n").entries()) {
    const [, indent = "", language = ""] = /^( *)```(\S*)$/.exec(text) ?? []
    if (!/^ *```\S*$/.test(text)) {
      if (open !== undefined) lines.push(text.startsWith(open.indent) ? text.slice(open.indent.length) : text)
    } else if (open === undefined) {
      open = { indent, language, line: index + 1 }
      lines = []
    } else {
      const { language, line } = open
      found.push({ page, line, language, text: lines.join("\n"), name: `${page}: ${lines[0] ?? ""}` })
      open = undefined
    }
  }
  if (open !== undefined) throw new Error(`${page}:${open.line} has a block without an end`)
  return found
}

export const snippets: ReadonlyArray<Snippet> = pages.flatMap(snippetsOf)
