import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import type { Page } from "playwright-core"
import { TestDatabase } from "../support/Database.ts"
import { ownPostgres } from "../support/OwnPostgres.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService, until } from "../support/RunningService.ts"
import { freePort } from "../support/ServiceProcess.ts"
import { Browser, noBrowser } from "./Browser.ts"
import { act, assertClean, assertNoBarrier, layerVisits, see, visit, watched } from "./Visits.ts"

const fault = (page: Page) => page.getByRole("region", { name: "Where a fault is" })

const onOwnDatabase = (url: string) =>
  Layer.mergeAll(
    RunningService.layerOn().pipe(
      Layer.provideMerge(Application.layer),
      Layer.provideMerge(Layer.succeed(TestDatabase, { url }))
    ),
    Receiver.layer,
    Browser.layer
  )

describe.skipIf(noBrowser !== undefined)("the dashboard when something is wrong", () => {
  it.layer(layerVisits, { excludeTestServices: true })("in a browser", (it) => {
    it.effect("says at once whether it is us, them or the network, and leads to the webhook", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        const port = yield* freePort
        receiver.respond("/theirs", () => ({ status: 500 }))
        yield* watched("fine")
        yield* watched("theirs")
        const lonely = yield* watched("lonely", { url: `http://127.0.0.1:${port}/` })
        const { complaints, page } = yield* visit("/")
        yield* act(async () => {
          await fault(page).getByText("Nothing was sent yet.").first().waitFor()
          await see(page, "All is well")
        })
        for (const table of ["fine", "theirs", "lonely"]) yield* run(`INSERT INTO ${table} VALUES (1, 1, 'x')`)
        yield* service.log(lonely.id, 1)
        yield* until("it failed", service.get(lonely.id), ({ fail_count }) => fail_count > 0)
        yield* act(async () => {
          await fault(page).getByText("It works: the database and the listener answer.").waitFor()
          await fault(page).getByText("1 webhook gets an error for an answer.").waitFor()
          await fault(page).getByText("1 webhook gets no answer at all.").waitFor()
          await see(page, /failures? in a row\. The endpoint answered 500\./)
          await see(page, /failures? in a row\. Nothing listens at the address\./)
        })
        yield* assertNoBarrier("/", "gets no answer at all")
        yield* act(async () => {
          await page.getByRole("link", { name: "lonely" }).click()
          await see(page, "Nothing listens at the address.")
          await page.getByRole("row").filter({ hasText: "Refused" }).first().waitFor()
        })
        assert.deepStrictEqual(complaints, [])
      }))

    it.effect("says when the service does not answer, keeps what it has, and goes on by itself", () =>
      Effect.gen(function*() {
        const webhook = yield* watched("kept")
        yield* run("INSERT INTO kept VALUES (1, 1, 'x')")
        const { page } = yield* visit(`/webhooks/${webhook.id}`)
        yield* act(async () => {
          await page.getByRole("row").filter({ hasText: "200 OK" }).waitFor()
          // The other pages are loaded soon after the first.
          await page.waitForFunction(() =>
            performance.getEntriesByType("resource").some(({ name }) => name.includes("SettingsPage"))
          )
          await page.waitForLoadState("networkidle")
          await page.context().setOffline(true)
          await see(page, "The service does not answer.")
          await page.getByRole("row").filter({ hasText: "200 OK" }).waitFor()
          await page.getByRole("switch", { name: "kept is active" }).click()
          await see(page, "kept could not be paused")
        })
        assert.strictEqual(
          yield* Effect.promise(() => page.getByRole("switch").getAttribute("aria-checked")),
          "true",
          "it is undone"
        )
        yield* assertClean(page, "while the service is away")
        yield* act(async () => {
          await page.getByRole("link", { name: "Settings" }).click()
          await page.getByRole("region", { name: "Audit" }).getByRole("button", { name: "Try again" }).waitFor()
          await page.context().setOffline(false)
          await page.getByRole("region", { name: "Audit" }).getByText("created a webhook").first().waitFor()
          await page.getByText("The service does not answer.").waitFor({ state: "detached" })
        })
      }))

    it.effect("shows that it loads, and tries again when asked", () =>
      Effect.gen(function*() {
        yield* watched("awaited")
        const { page } = yield* visit("/favicon.svg")
        const { baseUrl } = yield* RunningService
        yield* act(async () => {
          let answer = () => {}
          const asked = new Promise<void>((done) => {
            void page.route("**/api/webhooks?*", async (route) => {
              done()
              await new Promise<void>((go) => {
                answer = go
              })
              await route.continue()
            })
          })
          await page.goto(`${baseUrl}/webhooks`)
          await page.getByRole("status").filter({ hasText: "Loading webhooks" }).waitFor()
          await asked
          await answer()
          await page.getByRole("link", { name: "awaited" }).waitFor()
        })
      }))
  })

  it.live("says when the database is away, and is whole again when it is back", () =>
    Effect.gen(function*() {
      const postgres = yield* ownPostgres
      yield* postgres.start
      yield* Effect.gen(function*() {
        yield* watched("stored")
        const { page } = yield* visit("/")
        yield* act(() => fault(page).getByText("It works: the database and the listener answer.").waitFor())
        yield* postgres.stop
        yield* act(async () => {
          await page.getByRole("status").getByText("The database is away.").waitFor()
          await fault(page).getByText("The database is away: deliveries wait.").waitFor()
          await page.getByRole("link", { name: "Events" }).click()
          await page.getByLabel("Id of an event").fill("evt_1_2_3_4")
          await page.keyboard.press("Enter")
          await page.getByRole("button", { name: "Try again" }).waitFor()
        })
        yield* assertClean(page, "while the database is away")
        yield* postgres.start
        yield* act(async () => {
          await page.getByText("The database is away.").waitFor({ state: "detached" })
          await see(page, "There is no such event")
        })
      }).pipe(Effect.provide(onOwnDatabase(postgres.url)))
    }).pipe(Effect.scoped))
})
