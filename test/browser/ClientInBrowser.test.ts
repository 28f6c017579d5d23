import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { fileURLToPath } from "node:url"
import { build, type Rolldown } from "vite"
import { run, RunningService } from "../support/RunningService.ts"
import { Browser, noBrowser } from "./Browser.ts"

const page = fileURLToPath(new URL("ClientPage.ts", import.meta.url))

/** The page's program as one file, for browsers. */
const bundle = Effect.promise(async () => {
  const built = await build({
    configFile: false,
    logLevel: "error",
    build: { write: false, target: "es2023", rolldownOptions: { input: page } }
  }) as Rolldown.RolldownOutput
  assert.lengthOf(built.output, 1)
  return built.output[0].code
})

describe.skipIf(noBrowser !== undefined)(`truss-webhooks/client in Chromium ${noBrowser ?? ""}`, () => {
  it.layer(Layer.merge(RunningService.layer(), Browser.layer), { excludeTestServices: true })((it) => {
    it.effect("is bundled without anything of Node, and asks a running service", () =>
      Effect.gen(function*() {
        const { baseUrl } = yield* RunningService
        const { open } = yield* Browser
        yield* run("CREATE TABLE orders (id int PRIMARY KEY)")
        const code = yield* bundle
        assert.notMatch(code, /browser-external|from\s*["']node:|require\(["']node:/)
        const { complaints, page } = yield* open(`${baseUrl}/health/live`)
        yield* Effect.promise(() => page.addScriptTag({ content: code, type: "module" }))
        yield* Effect.promise(() => page.waitForFunction(() => "answers" in globalThis))
        const answers = yield* Effect.promise(() =>
          page.evaluate(() => (globalThis as unknown as { answers: Promise<Answers> }).answers)
        )
        assert.deepStrictEqual([answers.listed, answers.missing], [[answers.made], "NotFound"])
        // Chromium says so of every answer of 404.
        assert.deepStrictEqual(complaints.filter((text) => !text.includes("404")), [])
      }).pipe(Effect.scoped))
  })
})

interface Answers {
  readonly made: string
  readonly listed: ReadonlyArray<string>
  readonly missing: string
}
