import { Context, Effect, Layer, type Scope } from "effect"
import { existsSync } from "node:fs"
import { chromium, type Page } from "playwright-core"

const executablePath = "/usr/bin/chromium"

/** Why tests with a browser are skipped, if they are. */
export const noBrowser = existsSync(executablePath)
  ? undefined
  : `there is no ${executablePath} (apt-get install chromium)`

export interface Look {
  readonly width?: number
  readonly theme?: "light" | "dark"
}

/** A page, and what went wrong on it: errors, warnings and what the policy blocked. */
export interface Visit {
  readonly page: Page
  readonly complaints: ReadonlyArray<string>
}

/** A headless Chromium for a file of tests. */
export class Browser extends Context.Service<Browser, {
  readonly open: (url: string, look?: Look) => Effect.Effect<Visit, never, Scope.Scope>
}>()("truss/test/Browser") {
  static readonly layer = Layer.effect(
    Browser,
    Effect.gen(function*() {
      const browser = yield* Effect.acquireRelease(
        Effect.promise(() =>
          chromium.launch({
            executablePath,
            args: [
              "--headless",
              "--no-sandbox",
              "--disable-gpu",
              "--disable-quic",
              "--no-first-run",
              "--disable-background-networking",
              "--disable-component-update",
              "--disable-sync"
            ]
          })
        ),
        (browser) => Effect.promise(() => browser.close())
      )
      const open = Effect.fnUntraced(function*(url: string, { theme = "light", width = 1280 }: Look = {}) {
        const context = yield* Effect.acquireRelease(
          Effect.promise(() => browser.newContext({ viewport: { width, height: 900 }, colorScheme: theme })),
          (context) => Effect.promise(() => context.close())
        )
        context.setDefaultTimeout(15_000)
        const complaints: Array<string> = []
        const page = yield* Effect.promise(() => context.newPage())
        page.on("console", (message) => {
          const { url } = message.location()
          if (/error|warning/.test(message.type())) {
            complaints.push(`${message.text()} ${url}`)
          }
        })
        page.on("pageerror", (error) => complaints.push(error.message))
        yield* Effect.promise(() => page.goto(url))
        return { page, complaints }
      })
      return { open }
    })
  )
}
