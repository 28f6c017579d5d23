import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

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
