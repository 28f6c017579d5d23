import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import * as Module from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { generateSecret, makeSign } from "../../src/services/Signing.ts"
import { listen } from "../support/Receiver.ts"

const chromium = "/usr/bin/chromium"
const reason = process.versions["bun"] !== undefined
  ? " (skipped: Bun cannot strip the types for the page; Node runs this)"
  : existsSync(chromium)
  ? ""
  : ` (skipped: there is no ${chromium})`

const secret = generateSecret()
const body = "{\"event\":\"INSERT\",\"schema\":\"public\",\"table\":\"orders\",\"row\":{\"note\":\"Ärger 🔑\"}}"

/** What the page does: each line is a try, and what came of it. */
const program = (delivery: unknown) => `
  import { verifySignature, verifyStandard } from "/verify.js"
  const { body, headers, secret } = ${JSON.stringify(delivery)}
  const results = []
  for (const verify of [verifySignature, verifyStandard]) {
    const attempt = (options) => verify({ body, headers: new Headers(headers), secret, ...options }).then(
      (change) => results.push(change.row.note),
      (error) => results.push(error.reason ?? String(error))
    )
    await attempt({})
    await attempt({ body: await new Blob([body]).arrayBuffer() })
    await attempt({ body: body + " " })
    await attempt({ secret: "another" })
    await attempt({ body: JSON.parse(body) })
  }
  await fetch("/results", { method: "POST", body: JSON.stringify(results) })`

/** Opens a page in a browser of its own, which is killed with the scope. */
const browse = Effect.fnUntraced(function*(url: string) {
  const profile = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "truss-chromium-"))),
    (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }))
  )
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
      return spawn(chromium, [...flags, `--user-data-dir=${profile}`, url], { stdio: "ignore", detached: true })
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.pid === undefined || child.exitCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        // The group that `detached` made: the browser is many processes.
        process.kill(-child.pid, "SIGKILL")
      })
  )
})

describe.skipIf(reason !== "")(`truss-webhooks/verify in Chromium${reason}`, () => {
  it.live("accepts what was signed, and refuses another body, another secret and a parsed body", () =>
    Effect.gen(function*() {
      const headers = ["webhook-id", "evt_1", "webhook-timestamp", String(Math.floor(Date.now() / 1000))]
      makeSign({ secret, previousSecret: null })(headers, "evt_1", Date.now(), body)
      const pairs = headers.flatMap((name, i) => i % 2 === 0 ? [[name, headers[i + 1]]] : [])
      const source = readFileSync(new URL("../../src/verify.ts", import.meta.url), "utf8")
      const files: Readonly<Record<string, readonly [type: string, text: string]>> = {
        "/": [
          "text/html",
          `<!doctype html><script type="module">${program({ body, headers: pairs, secret })}</script>`
        ],
        "/verify.js": ["text/javascript", Module.stripTypeScriptTypes(source)]
      }
      const results = yield* Deferred.make<unknown>()
      const port = yield* listen((request, response) => {
        const [type, text] = files[request.url ?? ""] ?? ["text/plain", ""]
        response.writeHead(200, { "content-type": `${type}; charset=utf-8` }).end(text)
        if (request.url === "/results") {
          const chunks: Array<Buffer> = []
          request.on("data", (chunk: Buffer) => chunks.push(chunk))
          request.on(
            "end",
            () => Deferred.doneUnsafe(results, Effect.succeed(JSON.parse(String(Buffer.concat(chunks)))))
          )
        }
      })
      yield* browse(`http://127.0.0.1:${port}/`)
      const once = ["Ärger 🔑", "Ärger 🔑", "no_match", "no_match", "body_not_raw"]
      assert.deepStrictEqual(yield* Effect.timeout(Deferred.await(results), "60 seconds"), [...once, ...once])
    }))
})
