import { assert, describe, it } from "@effect/vitest"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { fileURLToPath } from "node:url"
import { pages, readPage } from "./support/Snippets.ts"

const root = new URL("..", import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), "utf8")

/** The file that a code block is of, as the line before it says: "… `examples/x.ts` …:". */
const blockPattern = /`(examples\/[^`]+)`[^`]*:\n\n```\w+\n([\s\S]*?)\n```/g

const shown = ["docs/guide/verifying.md", "docs/guide/embedding.md"].flatMap((page) =>
  [...read(page).matchAll(blockPattern)].map((match) => ({ page, path: match[1]!, text: match[2]! }))
)

const files = readdirSync(fileURLToPath(new URL("examples", root)), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.(?:ts|py|go)$/.test(entry.name))
  .map((entry) => `${entry.parentPath}/${entry.name}`.replaceAll("\\", "/").replace(/^.*\/examples\//, "examples/"))

describe("The guide", () => {
  it("shows every example, as it is", () => {
    assert.deepStrictEqual(shown.map(({ path }) => path).toSorted(), files.toSorted())
    for (const { page, path, text } of shown) assert.strictEqual(text, read(path).trimEnd(), `${path} in ${page}`)
  })

  it("has no other code for a receiver in its README than the example's", () => {
    const [, snippet] = /```ts\n([\s\S]*?)\n```/.exec(read("README.md"))!
    const example = read("examples/receivers/node/receiver.ts")
    assert.include(snippet, "verifyStandard")
    for (const line of snippet!.split("\n").filter((line) => line !== "" && !line.startsWith("//"))) {
      assert.include(example, line.replace(", VerificationError", ""))
    }
  })
})

/** A page without what is shown as it is. */
const prose = (page: string) => readPage(page).replaceAll(/^ *```[\s\S]*?^ *```$/gm, "").replaceAll(/`[^`\n]*`/g, "")

/** The anchors that GitHub gives to a page's headings. */
const anchorsOf = (page: string): ReadonlyArray<string> => {
  const seen = new Map<string, number>()
  return [...readPage(page).replaceAll(/^ *```[\s\S]*?^ *```$/gm, "").matchAll(/^#{1,6} (.+)$/gm)].map(
    ([, heading]) => {
      const slug = heading!.toLowerCase().replaceAll(/[^\p{L}\p{N}\p{M} _-]/gu, "").replaceAll(" ", "-")
      const count = seen.get(slug) ?? 0
      seen.set(slug, count + 1)
      return count === 0 ? slug : `${slug}-${count}`
    }
  )
}

describe("The documents", () => {
  const linking = [...pages, "AGENTS.md", "SECURITY.md", "CHANGELOG.md", "bench/README.md"]
  const links = linking.flatMap((page) =>
    [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => ({ page, target: target! }))
  ).filter(({ target }) => !/^[a-z]+:/.test(target))

  it("link to what is there", () => {
    assert.isAbove(links.length, 100)
    const broken = links.filter(({ page, target }) => {
      const [path = "", anchor] = target.split("#")
      const file = path === "" ? page : normalize(join(dirname(page), path))
      if (!existsSync(new URL(file, root))) return true
      return anchor !== undefined && !anchorsOf(file).includes(anchor)
    })
    assert.deepStrictEqual(broken, [])
  })

  it("are all in their index, or in that of the internals", () => {
    const listed = ["docs/README.md", "docs/internals/README.md"].flatMap((index) =>
      links.filter(({ page }) => page === index).map(({ target }) =>
        normalize(join(dirname(index), target.split("#")[0]!))
      )
    )
    assert.deepStrictEqual(pages.filter((page) => page.startsWith("docs/") && !listed.includes(page)), [])
  })

  it("keep what is for whoever works on the code short", () => {
    assert.isAtMost(readPage("AGENTS.md").trimEnd().split("\n").length, 60)
  })
})
