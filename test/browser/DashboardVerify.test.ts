import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { snippets } from "../../dashboard/src/webhook/Snippets.ts"
import { Receiver } from "../support/Receiver.ts"
import { run } from "../support/RunningService.ts"
import { noBrowser } from "./Browser.ts"
import { act, assertClean, layerVisits, visit, watched } from "./Visits.ts"

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

const codeOf = (language: string) => snippets.find(([id]) => id === language)![2]

/** Programs that say `true` or `false` of the secret, the body's file and the signature that they are given. */
const programs = {
  node: {
    file: "verify.mjs",
    main: `import { readFileSync } from "node:fs"
const [secret, file, signature] = process.argv.slice(2)
console.log(verify(secret, readFileSync(file), signature))`,
    command: ["node", "verify.mjs"]
  },
  python: {
    file: "verify.py",
    main: `import sys
print(str(verify(sys.argv[1], open(sys.argv[2], "rb").read(), sys.argv[3])).lower())`,
    command: ["python3", "verify.py"]
  },
  go: {
    file: "verify.go",
    main: `func main() {
	body, _ := os.ReadFile(os.Args[2])
	fmt.Println(Verify(os.Args[1], body, os.Args[3]))
}`,
    command: ["go", "run", "verify.go"]
  }
} as const

const isThere = (program: string) => {
  try {
    execFileSync("which", [program])
    return true
  } catch {
    return false
  }
}

describe.skipIf(noBrowser !== undefined)("the code that verifies signatures", () => {
  it.layer(layerVisits, { excludeTestServices: true })("in a browser", (it) => {
    it.effect("is shown on a signed webhook's page for each language, and tells genuine from forged", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        const webhook = yield* watched("signed", { secret })
        yield* run("INSERT INTO signed VALUES (1, 1, 'ü')")
        yield* receiver.waitFor("/signed", 1)
        const [request] = receiver.at("/signed")
        const signature = String(request!.headers["x-truss-signature"])
        const { page } = yield* visit(`/webhooks/${webhook.id}`)
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "truss-verify-"))),
          (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
        )
        writeFileSync(join(folder, "body"), request!.bytes)
        yield* act(() => page.getByText("Verify the signature").click())
        for (const [id, name] of snippets) {
          yield* act(() => page.getByRole("button", { name, exact: true }).click())
          const shown = yield* Effect.promise(() => page.getByRole("region", { name: "Code" }).textContent())
          assert.strictEqual(shown, codeOf(id))
          const { command: [program, ...rest], file, main } = programs[id]
          if (!isThere(program)) continue
          const code = id === "go"
            ? codeOf(id).replace("package webhook", "package main").replace("import (", `import (\n\t"fmt"\n\t"os"`)
            : codeOf(id)
          writeFileSync(join(folder, file), `${code}\n${main}\n`)
          const says = (...given: ReadonlyArray<string>) =>
            execFileSync(program, [...rest, ...given], { cwd: folder, encoding: "utf8" }).trim()
          assert.strictEqual(says(secret, "body", signature), "true", name)
          assert.strictEqual(says(`${secret}x`, "body", signature), "false", name)
          assert.strictEqual(says(secret, "body", ""), "false", name)
        }
        yield* assertClean(page, "the code")
      }))
  })
})
