import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { gzipSync } from "node:zlib"
import { TestServer } from "../http/TestServer.ts"
import { Receiver } from "../support/Receiver.ts"
import { run, RunningService } from "../support/RunningService.ts"
import { Browser, noBrowser } from "./Browser.ts"
import { act, assertNoBarrier, layerVisits as layer, see, violations, visit, watched } from "./Visits.ts"

describe.skipIf(noBrowser !== undefined)(`the dashboard${noBrowser === undefined ? "" : `: ${noBrowser}`}`, () => {
  it.layer(layer, { excludeTestServices: true })("in a browser", (it) => {
    it.effect("teaches the first webhook where there is none", () =>
      Effect.gen(function*() {
        const { complaints, page } = yield* visit("/")
        yield* act(async () => {
          await see(page, "No webhooks yet")
          await page.getByRole("link", { name: "Create the first webhook" }).click()
          await page.getByRole("heading", { name: "New webhook", exact: true }).waitFor()
        })
        assert.deepStrictEqual(complaints, [])
      }))

    it.effect("creates a webhook: the table, what would fire, what is refused at its field, the secret once", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        const service = yield* RunningService
        const { id } = yield* watched("made")
        yield* run("CREATE VIEW made_view AS SELECT * FROM made")
        yield* run("INSERT INTO made VALUES (1, 12345678901234567890.10, 'paid'), (2, 2, 'new'), (3, 3, 'new')")
        yield* receiver.waitFor("/made", 3)
        yield* service.remove(id)
        const { page } = yield* visit("/webhooks/new")
        yield* act(async () => {
          const table = page.getByLabel("Table", { exact: true })
          await table.fill("made")
          await see(page, "public.made_view is a view; only tables can be watched")
          await page.keyboard.press("Enter")
          await see(page, "3 of the last 3 changes would fire.")
          await page.getByRole("button", { name: "Add a condition" }).click()
          await page.getByLabel("Condition 1: column").selectOption("status")
          await page.getByLabel("Condition 1: value").fill("paid")
          await see(page, "1 of the last 3 changes would fire.")
          await page.getByText("The newest of them").click()
          await see(page, "12345678901234567890.10")
          await page.getByLabel("Address").fill("ftp://example.com")
          await page.getByLabel("At once").fill("1000")
          await page.getByRole("button", { name: "Create the webhook" }).click()
          await see(page, "must be an absolute http or https URL")
          await see(page, "must be from 1 to 256")
        })
        const invalid = yield* Effect.promise(() => page.locator("[aria-invalid=true]").count())
        // The name, the address and the concurrency: every fault at once.
        assert.strictEqual(invalid, 3)
        const secret = yield* Effect.promise(() => page.getByLabel("Signing secret").inputValue())
        assert.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/)
        yield* act(async () => {
          await page.getByLabel("Name", { exact: true }).fill("Paid orders")
          await page.getByLabel("Address").fill(receiver.url("/paid"))
          await page.getByLabel("At once").fill("4")
          await page.getByRole("button", { name: "Create the webhook" }).click()
          await page.getByRole("dialog").getByText(secret).waitFor()
          await page.getByRole("button", { name: "I have it" }).click()
          await page.getByRole("heading", { name: "Paid orders", exact: true }).waitFor()
        })
        const created = yield* service.get(new URL(page.url()).pathname.split("/")[2]!)
        assert.deepStrictEqual([created.has_secret, created.concurrency], [true, 4])
        assert.deepStrictEqual(created.filter, [{ column: "status", op: "eq", value: "paid" }])
      }))

    it.effect("shows deliveries as they are made, to the last digit, and replays one", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        let broken = true
        receiver.respond("/seen", () => broken ? { status: 503, body: "closed for today" } : { body: "thank you" })
        const webhook = yield* watched("seen", { max_attempts: 1 })
        const { complaints, page } = yield* visit(`/webhooks/${webhook.id}`)
        yield* act(async () => {
          await see(page, "No deliveries yet")
          await see(page, "Live")
        })
        yield* run("INSERT INTO seen VALUES (9007199254740993, 0.10, 'new')")
        yield* act(() => page.getByRole("row").filter({ hasText: "503" }).waitFor())
        broken = false
        yield* run("UPDATE seen SET total = 12345678901234567890.10")
        yield* act(async () => {
          await page.getByRole("link", { name: "UPDATE" }).click()
          const panel = page.getByRole("dialog")
          const changed = panel.locator("tr[data-changed]")
          await changed.waitFor()
          assert.match(await changed.innerText(), /total.*changed\s+0\.10\s+12345678901234567890\.10/s)
          assert.include(await panel.innerText(), "9007199254740993")
          await page.keyboard.press("Escape")
          await page.getByRole("link", { name: "INSERT" }).click()
          await panel.getByText("closed for today").waitFor()
          await panel.getByRole("button", { name: "Replay" }).click()
          await panel.getByRole("heading", { name: "Original and replay", exact: true }).waitFor()
          await panel.getByText("thank you").waitFor()
          await panel.getByText("closed for today").waitFor()
        })
        const [first, , replay] = receiver.at("/seen")
        assert.deepStrictEqual(replay?.bytes, first?.bytes)
        assert.deepStrictEqual(complaints, [])
      }))

    it.effect("keeps still while somebody reads, and says how many are new", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const webhook = yield* watched("busy")
        yield* run("INSERT INTO busy SELECT n, n, 'x' FROM generate_series(1, 150) n")
        yield* service.log(webhook.id, 150)
        const { page } = yield* visit(`/webhooks/${webhook.id}`)
        const list = page.getByRole("rowgroup").last()
        yield* act(async () => {
          await see(page, "Live")
          await list.evaluate((element) => element.scrollTo({ top: 1_000 }))
          await page.waitForFunction(() => document.querySelectorAll("[role=row][aria-rowindex='27']").length > 0)
        })
        const before = yield* Effect.promise(() => list.getByRole("row").allInnerTexts())
        yield* run("DELETE FROM busy WHERE id <= 12")
        yield* act(() => page.getByRole("button", { name: "12 new" }).waitFor())
        assert.deepStrictEqual(yield* Effect.promise(() => list.getByRole("row").allInnerTexts()), before)
        yield* act(async () => {
          await page.getByRole("button", { name: "12 new" }).click()
          await list.getByRole("link", { name: "DELETE" }).first().waitFor()
        })
        assert.strictEqual(yield* Effect.promise(() => list.evaluate(({ scrollTop }) => scrollTop)), 0)
      }))

    it.effect("switches at once, and back with the reason when the service refuses", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const webhook = yield* watched("switched")
        const { page } = yield* visit("/webhooks?q=switched")
        const toggle = page.getByRole("switch", { name: "switched is active" })
        yield* act(() => toggle.click())
        yield* act(() => see(page, "Paused: nothing is sent until it is enabled."))
        yield* act(() => page.waitForLoadState("networkidle"))
        assert.strictEqual((yield* service.get(webhook.id)).active, false)
        // Nobody told the page that it is gone.
        yield* service.remove(webhook.id)
        yield* act(async () => {
          await toggle.click()
          await see(page, "switched could not be enabled")
        })
      }))

    it.effect("does not overwrite what somebody else saved meanwhile", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const webhook = yield* watched("edited", { headers: { "x-tenant": "acme" } })
        const { page } = yield* visit(`/webhooks/${webhook.id}/edit`)
        yield* act(() => page.getByLabel("Name", { exact: true }).fill("mine"))
        yield* service.patch(webhook.id, { timeout_ms: 5_000 })
        yield* act(async () => {
          await page.getByRole("button", { name: "Save the changes" }).click()
          await see(page, "Somebody else changed this webhook while you did.")
        })
        assert.strictEqual((yield* service.get(webhook.id)).name, "edited")
        yield* act(async () => {
          await page.getByRole("button", { name: "Save mine" }).click()
          await page.getByRole("heading", { name: "mine", exact: true }).waitFor()
        })
        const saved = yield* service.get(webhook.id)
        assert.deepStrictEqual([saved.name, saved.timeout_ms, saved.headers["x-tenant"]], ["mine", 5_000, "***"])
      }))

    it.effect("sends a test and shows the answer", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        receiver.respond("/tested", () => ({ status: 418, body: "short and stout" }))
        const webhook = yield* watched("tested")
        const { page } = yield* visit(`/webhooks/${webhook.id}`)
        yield* act(async () => {
          await page.getByRole("button", { name: "Send test" }).click()
          const dialog = page.getByRole("dialog")
          await dialog.getByText("418").waitFor()
          await dialog.getByText("short and stout").waitFor()
        })
      }))

    it.effect("has no barrier that axe knows, in light and dark, and fits a phone", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const webhook = yield* watched("looked_at")
        yield* run("INSERT INTO looked_at VALUES (1, 1, 'x')", "UPDATE looked_at SET status = 'y'")
        const [, update] = yield* service.log(webhook.id, 2)
        const pages = [
          ["/", "Needs attention"],
          ["/webhooks", "looked_at"],
          ["/webhooks/new", "What to send"],
          [`/webhooks/${webhook.id}`, "200 OK"],
          [`/webhooks/${webhook.id}?delivery=${update!.id}`, "Attempts at this event"],
          [`/webhooks/${webhook.id}/edit`, "What to send"],
          ["/nowhere", "There is nothing here"]
        ] as const
        for (const [path, text] of pages) yield* assertNoBarrier(path, text)
        // Seven pages in four looks: 85 s on a busy machine.
      }), 240_000)

    it.effect("needs less than 250 kB, compressed, for the first view", () =>
      Effect.gen(function*() {
        const { page } = yield* visit("/favicon.svg")
        const bodies: Array<Promise<Buffer>> = []
        page.on("response", (response) => bodies.push(response.body().catch(() => Buffer.alloc(0))))
        const { baseUrl } = yield* RunningService
        yield* act(async () => {
          await page.goto(`${baseUrl}/`)
          await see(page, "Needs attention")
          await page.locator(".uplot").last().waitFor()
        })
        const all = yield* Effect.promise(() => Promise.all(bodies))
        const total = all.reduce((sum, body) => sum + gzipSync(body).length, 0)
        assert.isAbove(total, 50_000)
        assert.isBelow(total, 250_000)
      }))
  })

  it.layer(Layer.merge(TestServer.layer({ auth: "required" }), Browser.layer), { excludeTestServices: true })(
    "where a key is required",
    (it) => {
      it.effect("asks for it, on whatever page", () =>
        Effect.gen(function*() {
          const { port } = yield* TestServer
          const browser = yield* Browser
          for (const path of ["/", "/webhooks", "/webhooks/new"]) {
            const { page } = yield* browser.open(`http://localhost:${port}${path}`)
            yield* act(() => page.getByRole("heading", { name: "Sign in to Truss Webhooks", exact: true }).waitFor())
            assert.deepStrictEqual(yield* Effect.promise(() => violations(page)), [], path)
          }
        }))
    }
  )
})
