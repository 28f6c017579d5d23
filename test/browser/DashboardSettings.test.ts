import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { RunningService } from "../support/RunningService.ts"
import { noBrowser } from "./Browser.ts"
import { act, assertClean, assertNoBarrier, layerVisits, see, visit, watched } from "./Visits.ts"

describe.skipIf(noBrowser !== undefined)("the dashboard's settings", () => {
  it.layer(layerVisits, { excludeTestServices: true })("in a browser", (it) => {
    it.effect("make a key that works and is shown once, and revoke it", () =>
      Effect.gen(function*() {
        const { baseUrl } = yield* RunningService
        const { complaints, page } = yield* visit("/settings")
        const status = (key: string) =>
          Effect.promise(async () => (await fetch(`${baseUrl}/v1/webhooks`, { headers: { apikey: key } })).status)
        const dialog = page.getByRole("dialog")
        yield* act(async () => {
          await see(page, "No keys yet")
          await page.getByRole("button", { name: "New key" }).click()
          await page.getByRole("button", { name: "Make the key" }).click()
          await page.locator("[aria-invalid=true]").waitFor()
        })
        assert.strictEqual(yield* Effect.promise(() => page.getByLabel("Name").getAttribute("aria-invalid")), "true")
        yield* act(async () => {
          await page.getByLabel("Name").fill("billing")
          await page.getByLabel("Scope").selectOption("write")
        })
        yield* assertClean(page, "a new key")
        yield* act(async () => {
          await page.getByRole("button", { name: "Make the key" }).click()
          await dialog.getByText(/^truss_sk_/).waitFor()
        })
        const key = yield* Effect.promise(() => dialog.getByText(/^truss_sk_/).innerText())
        assert.strictEqual(yield* status(key), 200)
        yield* act(async () => {
          await page.getByRole("button", { name: "I have it" }).click()
          await see(page, "billing")
        })
        assert.notInclude(yield* Effect.promise(() => page.content()), key)
        yield* act(async () => {
          await page.getByRole("button", { name: "Revoke billing" }).click()
          await page.getByRole("alertdialog").getByRole("button", { name: "Revoke the key" }).click()
          await see(page, "No keys yet")
        })
        assert.strictEqual(yield* status(key), 401)
        assert.deepStrictEqual(complaints.filter((text) => !text.includes("400 (Bad Request)")), [])
      }))

    it.effect("show who changed what, page by page, and how the service stands", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const webhook = yield* watched("audited")
        for (let n = 0; n < 22; n++) yield* service.patch(webhook.id, { name: `name ${n}` })
        const { page } = yield* visit("/settings")
        const audit = page.getByRole("region", { name: "Audit" })
        yield* act(async () => {
          await page.getByRole("region", { name: "Processes" }).getByText("Delivers").waitFor()
          await page.getByRole("region", { name: "Health" }).getByText("It answers.").waitFor()
          await audit.getByText("changed a webhook").first().waitFor()
        })
        assert.strictEqual(yield* Effect.promise(() => audit.getByRole("listitem").count()), 20)
        yield* act(async () => {
          await audit.getByRole("button", { name: "Show more" }).click()
          await audit.getByText("created a webhook").waitFor()
        })
        yield* assertNoBarrier("/settings", "changed a webhook")
      }))
  })
})
