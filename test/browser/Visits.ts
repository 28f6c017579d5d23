import { assert } from "@effect/vitest"
import axe, { type AxeResults, type RunOptions } from "axe-core"
import { Effect, Layer } from "effect"
import type { Page } from "playwright-core"
import { Receiver } from "../support/Receiver.ts"
import { run, RunningService, until } from "../support/RunningService.ts"
import { Browser, type Look } from "./Browser.ts"

/** A service that is open, receivers and a browser. */
export const layerVisits = Layer.mergeAll(RunningService.layer(), Receiver.layer, Browser.layer)

/** What a person does, one after the other. */
export const act = (steps: () => Promise<void>) => Effect.promise(steps)

export const see = (page: Page, text: string | RegExp) => page.getByText(text).first().waitFor()

/** Opens a page of the dashboard. */
export const visit = Effect.fnUntraced(function*(path: string, look?: Look) {
  const { baseUrl } = yield* RunningService
  const browser = yield* Browser
  // Until then the page rightly says that it is not.
  yield* until(
    "the service is ready",
    Effect.promise(() => fetch(`${baseUrl}/health/ready`)),
    ({ status }) => status === 200
  )
  return yield* browser.open(`${baseUrl}${path}`, look)
})

/** A table of its own, and a webhook of it. */
export const watched = Effect.fnUntraced(function*(table: string, more?: Readonly<Record<string, unknown>>) {
  const service = yield* RunningService
  const receiver = yield* Receiver
  yield* run(`CREATE TABLE IF NOT EXISTS ${table} (id bigint PRIMARY KEY, total numeric, status text)`)
  return yield* service.create({ table_name: table, url: receiver.url(`/${table}`), ...more })
})

interface AxeResult {
  readonly id: string
  readonly targets: ReadonlyArray<unknown>
}

/** What axe finds against WCAG 2.2 AA on the page as it is. */
export const violations = async (page: Page): Promise<ReadonlyArray<AxeResult>> => {
  await page.evaluate(axe.source)
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as {
      readonly axe: { readonly run: (node: Node, options: RunOptions) => Promise<AxeResults> }
    }
    const { violations } = await axe.run(document, {
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    })
    return violations.map(({ id, nodes }) => ({ id, targets: nodes.slice(0, 3).map(({ target }) => target) }))
  })
}

const looks = [{ theme: "light" }, { theme: "dark" }, { theme: "light", width: 360 }, {
  theme: "dark",
  width: 360
}] as const

/** That axe finds nothing on the page as it is, and that it is no wider than the screen. */
export const assertClean = Effect.fnUntraced(function*(page: Page, about: string) {
  assert.deepStrictEqual(yield* Effect.promise(() => violations(page)), [], about)
  const over = yield* Effect.promise(() =>
    page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  )
  assert.isAtMost(over, 0, `${about} is wider than the screen`)
})

/** Looks at a page in light and dark and on a phone, once its text is there and `prepare` is done. */
export const assertNoBarrier = Effect.fnUntraced(function*(
  path: string,
  text: string,
  prepare: (page: Page) => Promise<void> = () => Promise.resolve()
) {
  for (const look of looks) {
    yield* Effect.scoped(Effect.gen(function*() {
      const { complaints, page } = yield* visit(path, look)
      yield* act(() => see(page, text))
      yield* act(() => page.waitForLoadState("load"))
      yield* act(() => prepare(page))
      const about = `${path} ${JSON.stringify(look)}`
      yield* assertClean(page, about)
      assert.deepStrictEqual(complaints.filter((text) => !text.endsWith("/nowhere")), [], about)
    }))
  }
})
