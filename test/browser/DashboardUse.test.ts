import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Locator, Page } from "playwright-core"
import { Receiver } from "../support/Receiver.ts"
import { run, RunningService } from "../support/RunningService.ts"
import { freePort } from "../support/ServiceProcess.ts"
import { noBrowser } from "./Browser.ts"
import { act, assertClean, layerVisits, see, visit, watched } from "./Visits.ts"

const focused = (page: Page) => Effect.promise(() => page.evaluate(() => document.activeElement?.textContent ?? ""))

/** Which of the three soft colours an element stands on. */
const toneOf = (element: Locator) =>
  Effect.promise(() =>
    element.evaluate((shown) => {
      const colour = getComputedStyle(shown).backgroundColor
      return ["good", "warn", "bad"].find((tone) => {
        const probe = document.createElement("i")
        probe.style.backgroundColor = `var(--${tone}-soft)`
        document.body.append(probe)
        const is = getComputedStyle(probe).backgroundColor === colour
        probe.remove()
        return is
      })
    })
  )

describe.skipIf(noBrowser !== undefined)("the dashboard in use", () => {
  it.layer(layerVisits, { excludeTestServices: true })("in a browser", (it) => {
    it.effect("goes by keyboard: / j k Enter Escape ?", () =>
      Effect.gen(function*() {
        for (const table of ["key_a", "key_b"]) yield* watched(table)
        yield* run("INSERT INTO key_a VALUES (1, 1, 'x'), (2, 2, 'y')")
        const { complaints, page } = yield* visit("/")
        yield* act(async () => {
          await page.getByRole("heading", { name: "Needs attention", exact: true }).waitFor()
          await page.keyboard.press("/")
          await page.getByRole("searchbox", { name: "Search by name, address or table" }).waitFor()
          await page.waitForFunction(() => document.activeElement?.tagName === "INPUT")
          await page.keyboard.type("key_")
          await page.waitForURL(/q=key_/)
          await page.keyboard.press("Escape")
          await page.keyboard.press("j")
        })
        assert.include(yield* focused(page), "key_a")
        yield* act(() => page.keyboard.press("j"))
        assert.include(yield* focused(page), "key_b")
        yield* act(() => page.keyboard.press("k"))
        assert.include(yield* focused(page), "key_a")
        yield* act(async () => {
          await page.keyboard.press("Enter")
          await page.getByRole("heading", { name: "key_a", exact: true }).waitFor()
          await page.getByRole("link", { name: "INSERT" }).first().waitFor()
          await page.keyboard.press("j")
          await page.keyboard.press("Enter")
          await page.getByRole("dialog").getByText("Attempts at this event").waitFor()
          await page.keyboard.press("Escape")
          await page.getByRole("dialog").waitFor({ state: "detached" })
          await page.keyboard.press("/")
          await page.waitForFunction(() => document.activeElement?.getAttribute("aria-label") === "Id of an event")
          await page.keyboard.press("Escape")
          await page.keyboard.press("?")
          await page.getByRole("dialog").getByText("Next, previous row").waitFor()
        })
        yield* assertClean(page, "the list of keys")
        yield* act(async () => {
          await page.keyboard.press("Escape")
          await page.getByRole("dialog").waitFor({ state: "detached" })
        })
        assert.deepStrictEqual(complaints, [])
      }))

    it.effect("shows what the service refuses at the field that it is about", () =>
      Effect.gen(function*() {
        yield* run("CREATE TABLE keyless (note text)")
        const { page } = yield* visit("/webhooks/new")
        const described = (field: Locator) =>
          Effect.promise(() =>
            field.evaluate((element) =>
              (element.getAttribute("aria-describedby") ?? "").split(" ")
                .map((id) => document.getElementById(id)?.textContent ?? "").join(" ")
            )
          )
        const save = page.getByRole("button", { name: "Create the webhook" })
        yield* act(async () => {
          await page.getByLabel("Table", { exact: true }).fill("keyless")
          await page.getByRole("option", { name: /keyless/ }).waitFor()
          await page.keyboard.press("Enter")
          await page.getByLabel("Name", { exact: true }).fill("Refused")
          await page.getByLabel("Address").fill("https://example.com/hooks")
          await page.getByRole("button", { name: "Add a header" }).click()
          await page.getByLabel("Header 1: name").fill("host")
          await page.getByLabel("Header 1: value").fill("elsewhere")
          await save.click()
          await see(page, "It was not saved: see what is marked.")
        })
        const headerName = page.getByLabel("Header 1: name")
        assert.strictEqual(yield* Effect.promise(() => headerName.getAttribute("aria-invalid")), "true")
        assert.strictEqual(yield* Effect.promise(() => page.locator("[aria-invalid=true]").count()), 2)
        yield* assertClean(page, "a refused header")
        yield* act(async () => {
          await page.getByRole("button", { name: "Header 1: remove" }).click()
          await page.getByLabel("Address").fill("http://169.254.169.254/latest")
          await save.click()
          await page.waitForFunction(() => document.activeElement?.getAttribute("aria-invalid") === "true")
        })
        assert.include(yield* described(page.getByLabel("Address")), "169.254.169.254")
        yield* act(async () => {
          await page.getByLabel("Address").fill("https://example.com/hooks")
          await page.getByText("By row", { exact: true }).click()
          await save.click()
          await page.getByRole("alert").filter({ hasText: /primary key/ }).first().waitFor()
        })
      }))

    it.effect("keeps the filters of the deliveries in the address", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        receiver.respond("/filtered", ({ body }) => ({ status: body.event === "INSERT" ? 200 : 500 }))
        const webhook = yield* watched("filtered", { max_attempts: 1 })
        yield* run(
          "INSERT INTO filtered VALUES (1, 1, 'x')",
          "UPDATE filtered SET status = 'y'",
          "DELETE FROM filtered"
        )
        const [insert] = yield* service.log(webhook.id, 3)
        const { complaints, page } = yield* visit(`/webhooks/${webhook.id}`)
        const rows = page.getByRole("table", { name: "Deliveries" }).locator("[data-row]")
        const counted = (n: number) =>
          page.waitForFunction((n) => document.querySelectorAll("[role=table] [data-row]").length === n, n)
        yield* act(async () => {
          await counted(3)
          await page.getByLabel("Outcome").selectOption("failed")
          await page.waitForURL(/outcome=failed/)
          await counted(2)
          await page.getByLabel("Change", { exact: true }).selectOption("DELETE")
          await counted(1)
          await page.reload()
          await counted(1)
        })
        assert.include(yield* Effect.promise(() => rows.first().innerText()), "DELETE")
        yield* act(async () => {
          await page.getByRole("button", { name: "Clear" }).click()
          await counted(3)
          await page.getByLabel("Status code").fill("500")
          await page.waitForURL(/status_code=500/)
          await counted(2)
        })
        assert.strictEqual(
          yield* Effect.promise(() => page.evaluate(() => document.activeElement?.getAttribute("aria-label"))),
          "Status code",
          "who types goes on typing"
        )
        yield* act(async () => {
          await page.getByLabel("Status code").fill("")
          await page.getByLabel("Id of an event").fill(insert!.event_id)
          await page.waitForURL(/event_id=/)
          await counted(1)
          await page.getByLabel("Id of an event").fill("")
          await page.getByLabel("When", { exact: true }).selectOption("Last hour")
          await page.waitForURL(/from=/)
          await counted(3)
          await page.getByLabel("To", { exact: true }).fill("2001-01-01T00:00")
          await see(page, "No delivery matches")
        })
        yield* assertClean(page, "filters that match nothing")
        yield* act(async () => {
          await page.getByRole("button", { name: "Clear" }).click()
          await counted(3)
        })
        assert.deepStrictEqual(complaints, [])
      }))

    it.effect("marks each answer by colour and by words, in light and dark", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        const port = yield* freePort
        const answers = [
          [204, "204 OK", "good"],
          [302, "302 Redirect", "warn"],
          [404, "404", "warn"],
          [500, "500", "bad"]
        ] as const
        const webhook = yield* watched("coloured", { max_attempts: 1, ordering: "strict", timeout_ms: 100 })
        let status = 0
        receiver.respond("/coloured", () => status === 0 ? { fault: "hang" } : { status })
        for (const [n, [code]] of answers.entries()) {
          status = code
          yield* run(`INSERT INTO coloured VALUES (${n}, 1, 'x')`)
          yield* service.log(webhook.id, n + 1)
        }
        status = 0
        yield* run("INSERT INTO coloured VALUES (10, 1, 'x')")
        yield* service.log(webhook.id, 5)
        yield* service.patch(webhook.id, { url: `http://127.0.0.1:${port}/` })
        yield* run("INSERT INTO coloured VALUES (11, 1, 'x')")
        yield* service.log(webhook.id, 6)
        for (const theme of ["light", "dark"] as const) {
          const { page } = yield* visit(`/webhooks/${webhook.id}`, { theme })
          for (const [, words, tone] of [...answers, [0, "Time-out", "bad"], [0, "Refused", "bad"]] as const) {
            const badge = page.getByRole("row").getByText(words, { exact: true })
            yield* act(() => badge.waitFor())
            assert.strictEqual(yield* toneOf(badge), tone, `${words} in ${theme}`)
          }
        }
      }))

    it.effect("is light or dark as one chooses, or as the system is, from the first paint on", () =>
      Effect.gen(function*() {
        const { complaints, page } = yield* visit("/")
        const is = (theme: string) =>
          act(async () => {
            await page.waitForFunction((theme) => document.documentElement.dataset["theme"] === theme, theme)
          })
        const choose = (name: string) =>
          act(async () => {
            await page.getByRole("button", { name: "Theme" }).click()
            await page.getByRole("menuitemradio", { name }).click()
          })
        yield* is("light")
        yield* choose("Dark")
        yield* is("dark")
        yield* act(async () => {
          await page.reload({ waitUntil: "commit" })
          // The theme is there before anything that could be painted in the wrong one.
          await page.waitForFunction(() => document.getElementById("root") !== null)
          assert.strictEqual(await page.evaluate(() => document.documentElement.dataset["theme"]), "dark")
        })
        yield* choose("As the system")
        yield* is("light")
        yield* act(() => page.emulateMedia({ colorScheme: "dark" }))
        yield* is("dark")
        assert.deepStrictEqual(complaints, [])
      }))

    it.effect("moves nothing for who wants no motion", () =>
      Effect.gen(function*() {
        const { page } = yield* visit("/")
        const link = page.getByRole("link", { name: /New webhook|first webhook/ }).first()
        const property = () =>
          Effect.promise(() => link.evaluate((element) => getComputedStyle(element).transitionProperty))
        yield* act(() => link.waitFor())
        assert.notStrictEqual(yield* property(), "none")
        yield* act(() => page.emulateMedia({ reducedMotion: "reduce" }))
        assert.strictEqual(yield* property(), "none")
      }))

    it.effect("says on every screen that it is open, and times in UTC on hover", () =>
      Effect.gen(function*() {
        const webhook = yield* watched("timed")
        yield* run("INSERT INTO timed VALUES (1, 1, 'x')")
        for (const width of [360, 1280]) {
          const { page } = yield* visit(`/webhooks/${webhook.id}`, { width })
          yield* act(() => page.getByTitle(/No sign-in: whoever uses this machine/).waitFor())
          const time = page.getByRole("row").locator("time").first()
          yield* act(() => time.waitFor())
          const [title, at] = yield* Effect.promise(() =>
            time.evaluate((shown: HTMLTimeElement) => [shown.title, shown.dateTime] as const)
          )
          assert.include(title, `${new Date(at).toISOString()} (UTC)`)
        }
      }))
  })
})
