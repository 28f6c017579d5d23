import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { publint } from "publint"
import { TestDatabase } from "../support/Database.ts"
import { testKey } from "../support/Encryption.ts"
import { startExample } from "../support/ExampleProcess.ts"
import { PackedPackage } from "../support/PackedPackage.ts"
import { root } from "../support/Program.ts"
import { Application, run, until } from "../support/RunningService.ts"
import { type Runtime, runtimes } from "../support/Runtimes.ts"
import { freePort } from "../support/ServiceProcess.ts"

const secret = "a long random string"
const megabyte = 1024 * 1024

const sources = ["src", "migrations"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
)

const belongs = [
  /^(?:package\.json|README\.md|CHANGELOG\.md|LICENSE)$/,
  /^(?:src|migrations)\/[\w/.]+\.ts$/,
  /^dist\/(?:src|migrations)\/[\w/.]+\.(?:js|d\.ts)(?:\.map)?$/,
  /^dist\/package\.json$/,
  /^dist\/dashboard\/dist\/(?:assets\/)?[\w.-]+\.(?:html|js|css|svg)(?:\.gz|\.br)?$/,
  /^docs\/(?:README|(?:guide|operations)\/[\w-]+)\.(?:md|json|yaml)$/,
  /^examples\/(?:embedding|receivers\/\w+)\/(?:\w+\.(?:ts|py|go)|go\.mod|README\.md)$/
]

/** A program in the project, by a runtime. */
const start = Effect.fnUntraced(function*(
  runtime: Runtime,
  command: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
) {
  const { project } = yield* PackedPackage
  const program = yield* startExample(command, { PATH: runtime.path, TRUSS_ENCRYPTION_KEY: testKey, ...env }, project)
  const says = (pattern: RegExp) =>
    until(
      `${command.join(" ")} to say ${pattern}`,
      Effect.suspend(() =>
        program.hasEnded() && !pattern.test(program.output())
          ? Effect.die(new Error(program.output()))
          : Effect.sync(() => pattern.exec(program.output()))
      ),
      (found) => found !== null,
      60_000
    ).pipe(Effect.map((found) => found!))
  return { ...program, says }
})

const ask = (url: string, init?: RequestInit) =>
  Effect.promise(() =>
    fetch(url, init).then(
      async (response) => ({ status: response.status, text: await response.text() }),
      () => ({ status: 0, text: "" })
    )
  )

const database = Application.layer.pipe(Layer.provideMerge(TestDatabase.layerUrl))

/** An example delivers to another, which verifies, both by the installed package. */
const embeds = (runtime: Runtime, example: string) =>
  Effect.gen(function*() {
    yield* run("CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)")
    const port = yield* freePort
    const endpoint = `http://127.0.0.1:${port}/`
    const receiver = yield* start(runtime, runtime.run("examples/receivers/node/receiver.ts"), {
      SECRET: secret,
      PORT: String(port)
    })
    yield* until("the receiver to refuse what is not signed", ask(endpoint, { method: "POST" }), ({ status }) =>
      status === 401)
    const { url } = yield* TestDatabase
    const program = yield* start(runtime, runtime.run(`examples/embedding/${example}.ts`), {
      DATABASE_URL: url,
      EGRESS_ALLOW: "127.0.0.1",
      ENDPOINT: endpoint,
      SECRET: secret
    })
    yield* program.says(/ready \S+/)
    // One that is made before the outcomes are followed may not be told.
    yield* until(
      "a delivery to be told as verified",
      Effect.andThen(run("INSERT INTO orders (note) VALUES ('tea')"), Effect.sync(program.output)),
      (text) =>
        /INSERT attempt 1 success 204/.test(text)
    )
    yield* receiver.says(/ INSERT orders \{ id: 1, note: ["']tea["'] \}|INSERT orders \{\s+id: 1,\s+note: "tea",?\s+\}/)
    const { code, signal } = yield* program.stop
    assert.isTrue(code === 0 || code === 130 || code === 143, `${code} ${signal} ${program.output()}`)
  }).pipe(Effect.scoped, Effect.provide(Layer.fresh(database)))

it.layer(PackedPackage.layer, { excludeTestServices: true, timeout: 300_000 })("the packed package", (it) => {
  it.effect("has what belongs in it and nothing else", () =>
    Effect.gen(function*() {
      const { installed, packed } = yield* PackedPackage
      const paths = packed.files.map(({ path }) => path)
      assert.deepStrictEqual(paths.filter((path) => !belongs.some((pattern) => pattern.test(path))), [])
      assert.isAbove(sources.length, 100)
      const built = sources.flatMap((source) => {
        const base = `dist/${source.slice(0, -".ts".length)}`
        return [source, `${base}.js`, `${base}.js.map`, `${base}.d.ts`, `${base}.d.ts.map`]
      })
      assert.includeMembers(paths, built)
      assert.includeMembers(paths, ["dist/dashboard/dist/index.html", "dist/dashboard/dist/index.html.br"])
      // What was built of a source that is gone would be here.
      const compiled = paths.filter((path) => /^dist\/(?:src|migrations)\//.test(path))
      assert.deepStrictEqual(compiled.toSorted(), built.filter((path) => path.startsWith("dist/")).toSorted())
      for (const path of compiled.filter((path) => path.endsWith(".map"))) {
        const { sources } = JSON.parse(readFileSync(join(installed, path), "utf8")) as {
          sources: ReadonlyArray<string>
        }
        for (const source of sources) assert.isTrue(existsSync(join(installed, dirname(path), source)), path)
      }
      assert.isBelow(packed.size, 2.5 * megabyte)
      assert.isBelow(packed.unpackedSize, 8 * megabyte)
    }))

  it.effect("has nothing that publint would say", () =>
    Effect.gen(function*() {
      const { tarball } = yield* PackedPackage
      const { messages } = yield* Effect.promise(() =>
        publint({ strict: true, pack: { tarball: Uint8Array.from(tarball).buffer } })
      )
      assert.deepStrictEqual(messages, [])
    }))

  it.effect("has the right types for modules and bundlers", () =>
    Effect.gen(function*() {
      const { tarball } = yield* PackedPackage
      const result = yield* Effect.promise(() => checkPackage(createPackageFromTarballData(tarball)))
      if (result.types === false) return assert.fail("it has no types")
      assert.sameMembers(Object.keys(result.entrypoints), [".", "./client", "./verify", "./package.json"])
      // It is of modules alone; `require` gets those, and TypeScript from before `exports` finds nothing.
      const expected = (kind: string) => kind === "NoResolution" || kind === "CJSResolvesToESM"
      const ofModules = result.problems.filter((problem) =>
        !("resolutionKind" in problem) || !["node10", "node16-cjs"].includes(problem.resolutionKind)
      )
      assert.deepStrictEqual(ofModules, [])
      assert.deepStrictEqual(result.problems.filter(({ kind }) => !expected(kind)), [])
    }))

  it.effect("declares its examples' types, without skipLibCheck", () =>
    Effect.gen(function*() {
      const { project } = yield* PackedPackage
      const { compilerOptions } = JSON.parse(readFileSync(join(root, "tsconfig.json"), "utf8"))
      const { customConditions: _, ...options } = compilerOptions
      const typeRoots = [join(root, "node_modules/@types")]
      writeFileSync(
        join(project, "tsconfig.json"),
        JSON.stringify({
          compilerOptions: { ...options, skipLibCheck: false, typeRoots },
          include: ["examples"],
          // Their frameworks are not installed with the package; the checkout's own types cover them.
          exclude: ["examples/receivers/express", "examples/receivers/hono"]
        })
      )
      const compiler = yield* startExample(
        [process.execPath, join(root, "node_modules/typescript/bin/tsc"), "-p", "."],
        {},
        project
      )
      const { code } = yield* compiler.ended
      assert.strictEqual(code, 0, compiler.output())
    }))

  it.effect("leaves its users the Node that they have", () =>
    Effect.gen(function*() {
      const { project } = yield* PackedPackage
      assert.deepStrictEqual(
        readdirSync(join(project, "node_modules/.bin")).filter((name) => !name.startsWith("truss-webhooks")),
        []
      )
    }))

  for (const runtime of runtimes()) {
    const { missing, name } = runtime
    describe.skipIf(missing !== undefined)(
      `on ${name}${missing === undefined ? "" : ` (skipped: ${missing})`}`,
      () => {
        it.effect("is run by that runtime", () =>
          Effect.gen(function*() {
            const versions = yield* start(
              runtime,
              runtime.run(
                "-e",
                "console.log('Bun' in globalThis ? 'Bun' : `Node ${parseInt(process.versions.node)}`)"
              )
            )
            yield* versions.ended
            assert.strictEqual(versions.output().trim(), name)
          }))

        it.effect("runs npx truss-webhooks demo --once", () =>
          Effect.gen(function*() {
            const demo = yield* start(runtime, runtime.npx("truss-webhooks", "demo", "--once", "--port", "0"))
            const { code } = yield* demo.ended
            assert.strictEqual(code, 0, demo.output())
            assert.match(demo.output(), /INSERT, UPDATE and DELETE were delivered, and their signatures verified/)
          }))

        it.effect("serves the API and the dashboard, and ends well", () =>
          Effect.gen(function*() {
            const { packed } = yield* PackedPackage
            const { url } = yield* TestDatabase
            const main = "node_modules/truss-webhooks/dist/src/main.js"
            const service = yield* start(runtime, runtime.run(main, "serve", "--port", "0"), { DATABASE_URL: url })
            const [, address] = yield* service.says(/ is ready on (http:\/\/[^"\s]+)/)
            const page = yield* ask(`${address}/`)
            assert.deepInclude(page, { status: 200 })
            const [, script] = /<script type="module"[^>]* src="([^"]+)"/.exec(page.text)!
            assert.strictEqual((yield* ask(`${address}${script}`)).status, 200)
            const document = JSON.parse((yield* ask(`${address}/openapi.json`)).text)
            assert.strictEqual(document.info.version, packed.version)
            assert.deepStrictEqual(yield* service.stop, { code: 0, signal: null }, service.output())
          }).pipe(Effect.scoped, Effect.provide(Layer.fresh(TestDatabase.layerUrl))))

        it.effect("is embedded by promises, and a receiver verifies what it sends", () => embeds(runtime, "promises"))

        it.effect("is embedded as an Effect layer, and a receiver verifies what it sends", () =>
          embeds(runtime, "delivery"))
      }
    )
  }
})
