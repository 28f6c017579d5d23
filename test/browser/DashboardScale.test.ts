import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Locator, Page } from "playwright-core"
import { run, RunningService } from "../support/RunningService.ts"
import { noBrowser, type Visit } from "./Browser.ts"
import { act, layerVisits, see, visit } from "./Visits.ts"

/** Another 999 webhooks of the same table: most are fine, some are paused, some fail. */
const manyWebhooks = (id: string) => [
  `WITH made AS (
    INSERT INTO truss.webhooks SELECT (json_populate_record(w, json_build_object('id', gen_random_uuid(),
      'name', 'Shop ' || n, 'active', n % 10 <> 0, 'disabled_reason', CASE n % 10 WHEN 0 THEN 'paused' END,
      'created_at', clock_timestamp()))).*
    FROM truss.webhooks w, generate_series(1, 999) n WHERE w.id = '${id}' RETURNING id, name)
  INSERT INTO truss.cursors SELECT (json_populate_record(c, json_build_object('webhook_id', made.id,
    'fail_count', CASE right(made.name, 1) WHEN '3' THEN 4 ELSE 0 END, 'last_delivery_at', now(),
    'last_status_code', CASE right(made.name, 1) WHEN '3' THEN 500 ELSE 200 END))).*
  FROM truss.cursors c, made WHERE c.webhook_id = '${id}'`,
  `INSERT INTO truss.attempts (nonce, event_seq, event_at, created_at, webhook_id, table_id, latency_ms, event_type,
    outcome, slot, event_slot, attempt, status_code)
  SELECT n, -n, now(), now() - n * interval '5 seconds', w.id, w.table_id, 1 + n, 'INSERT', 'success',
    (SELECT max(slot) FROM truss.slots), 1, 1, 200
  FROM truss.webhooks w, generate_series(1, 100) n WHERE w.id <> '${id}'`
]

/** An attempt at each event of the table, one in ten of them failed. */
const manyAttempts = (id: string) =>
  `INSERT INTO truss.attempts (nonce, event_seq, event_at, created_at, webhook_id, table_id, latency_ms, event_type,
    outcome, slot, event_slot, attempt, status_code, response_body)
  SELECT e.seq, e.seq, e.created_at, now() - (100000 - n) * interval '30 milliseconds', '${id}', e.table_id,
    1 + n % 50, e.event_type, (CASE n % 10 WHEN 0 THEN 'failed' ELSE 'success' END)::truss.outcome, e.slot, e.slot, 1,
    CASE n % 10 WHEN 0 THEN 500 ELSE 200 END, 'thank you'
  FROM (SELECT *, row_number() OVER (ORDER BY seq) AS n FROM truss.events) e ORDER BY n`

/** Keeps what the browser says of tasks that hold it up, from the first on. */
const watch = () => {
  const longest = globalThis as unknown as { tasks: Array<number> }
  longest.tasks = []
  new PerformanceObserver((list) => longest.tasks.push(...list.getEntries().map(({ duration }) => duration)))
    .observe({ type: "longtask", buffered: true })
}

/** How long it was until now since the page was asked for, and the longest task since then or since last asked. */
const measure = (page: Page) =>
  Effect.promise(() =>
    page.evaluate(() => {
      const { tasks } = globalThis as unknown as { tasks: Array<number> }
      const [paint] = performance.getEntriesByName("first-contentful-paint")
      return {
        firstPaintMs: Math.round(paint?.startTime ?? 0),
        nowMs: Math.round(performance.now()),
        longestTaskMs: Math.round(Math.max(0, ...tasks.splice(0)))
      }
    })
  )

/** A picture that is opened as a page has no icon of its own. */
const assertQuiet = ({ complaints }: Visit) =>
  assert.deepStrictEqual(complaints.filter((text) => !text.endsWith("/favicon.ico")), [])

const report = (what: string, figures: object) => void process.stderr.write(`${what}: ${JSON.stringify(figures)}\n`)

/** Turns the wheel over an element, frame by frame, until something is seen. */
const scroll = async (page: Page, over: Locator, until: Locator) => {
  await over.hover()
  while (!await until.isVisible()) {
    await page.mouse.wheel(0, 900)
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(done)))
  }
}

describe.skipIf(noBrowser !== undefined)("the dashboard of 1,000 webhooks, one with 100,000 deliveries", () => {
  it.layer(layerVisits, { excludeTestServices: true })("in a browser", (it) => {
    it.effect("shows them all, with no more rows in the page than there is room for", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        yield* run("CREATE TABLE many (id bigint PRIMARY KEY, customer text, total numeric, note text)")
        const { id } = yield* service.create({ name: "Busy", table_name: "many", url: "http://127.0.0.1:9/" })
        yield* service.patch(id, { active: false })
        yield* run(
          "INSERT INTO many SELECT n, 'Ada ' || n, n * 1.25, repeat('x', 300) FROM generate_series(1, 100000) n",
          manyAttempts(id),
          ...manyWebhooks(id),
          "UPDATE truss.cursors SET seen = pg_current_snapshot(), after_seq = 0",
          "ANALYZE"
        )
        const open = Effect.fnUntraced(function*(what: string, path: string, text: string) {
          const visited = yield* visit("/favicon.svg")
          yield* act(async () => {
            await visited.page.addInitScript(watch)
            await visited.page.goto(`${service.baseUrl}${path}`)
            await see(visited.page, text)
          })
          report(`${what}, first content`, yield* measure(visited.page))
          return visited
        })
        const rowsOf = (page: Page) => Effect.promise(() => page.locator("[data-row]").count())

        yield* Effect.scoped(Effect.gen(function*() {
          const visited = yield* open("overview", "/", "Needs attention")
          const { page } = visited
          yield* act(async () => {
            await see(page, "100 webhooks get an error for an answer.")
            await page.getByRole("img", { name: /Attempts by outcome/ }).locator("canvas").waitFor()
          })
          report("overview, everything", yield* measure(page))
          assert.strictEqual(yield* rowsOf(page), 10)
          yield* act(async () => {
            await page.getByRole("link", { name: "All 200 that need attention" }).click()
            await page.getByLabel("State").waitFor()
            await page.locator("[data-row]").first().waitFor()
          })
          assertQuiet(visited)
        }))
        yield* Effect.scoped(Effect.gen(function*() {
          const visited = yield* open("webhooks", "/webhooks", "Shop 1")
          const { page } = visited
          const last = page.getByRole("link", { name: "Shop 999", exact: true })
          yield* act(() => scroll(page, page.getByRole("main"), last))
          report("webhooks, scrolled to the last", yield* measure(page))
          assert.isBelow(yield* rowsOf(page), 60)
          assertQuiet(visited)
        }))
        yield* Effect.scoped(Effect.gen(function*() {
          const visited = yield* open("deliveries", `/webhooks/${id}`, "200 OK")
          const { page } = visited
          const table = page.getByRole("table", { name: "Deliveries" })
          yield* act(() => scroll(page, table, table.locator("[aria-rowindex='5002']")))
          report("deliveries, scrolled past 5,000", yield* measure(page))
          assert.isBelow(yield* rowsOf(page), 60)
          assertQuiet(visited)
        }))
      }))
  })
})
