import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { ApiKeys } from "../../src/services/ApiKeys.ts"
import { KratosServer, kratosSession } from "../support/KratosServer.ts"
import { Receiver } from "../support/Receiver.ts"
import { run, RunningService } from "../support/RunningService.ts"
import { Browser, noBrowser } from "./Browser.ts"
import { act, assertClean, see, visit } from "./Visits.ts"

const configured = `truss_sk_${"c".repeat(43)}`

const Required = Layer.mergeAll(
  RunningService.layer({ http: { auth: "required", apiKey: Redacted.make(configured) } }),
  Receiver.layer,
  Browser.layer
)

/** Makes a webhook as the owner of a key would. */
const createWith = Effect.fnUntraced(function*(key: string, input: object) {
  const { baseUrl } = yield* RunningService
  const receiver = yield* Receiver
  const body = JSON.stringify({ events: ["INSERT"], url: receiver.url("/read"), ...input })
  const response = yield* Effect.promise(() =>
    fetch(`${baseUrl}/api/webhooks`, {
      method: "POST",
      headers: { apikey: key, "content-type": "application/json" },
      body
    })
  )
  assert.strictEqual(response.status, 201)
  return (yield* Effect.promise(() => response.json())) as { readonly id: string }
})

describe.skipIf(noBrowser !== undefined)("signing in to the dashboard", () => {
  it.layer(Required, { excludeTestServices: true })("with a key", (it) => {
    it.effect("asks for it, refuses a wrong one, lets in by a right one where one wanted to go, and out again", () =>
      Effect.gen(function*() {
        const { key } = yield* (yield* ApiKeys).create("ada", "write")
        const { complaints, page } = yield* visit("/webhooks")
        const field = page.getByLabel("API key")
        yield* act(() => page.getByRole("heading", { name: "Sign in to Truss Webhooks", exact: true }).waitFor())
        yield* assertClean(page, "the sign-in")
        assert.deepStrictEqual(complaints, [])
        yield* act(async () => {
          await field.fill(`truss_sk_${"A".repeat(43)}`)
          await page.getByRole("button", { name: "Sign in" }).click()
          await see(page, "This key is not valid")
          await field.fill(Redacted.value(key))
          await page.getByRole("button", { name: "Sign in" }).click()
          await page.getByRole("heading", { name: "Webhooks", exact: true }).waitFor()
          await see(page, "ada")
        })
        assert.strictEqual(new URL(page.url()).pathname, "/webhooks")
        assert.strictEqual(yield* Effect.promise(() => page.evaluate(() => document.cookie)), "")
        yield* act(async () => {
          await page.reload()
          await page.getByRole("link", { name: "New webhook" }).waitFor()
          await page.getByRole("button", { name: "Sign out" }).click()
          await page.getByRole("heading", { name: "Sign in to Truss Webhooks", exact: true }).waitFor()
          await page.reload()
          await page.getByRole("heading", { name: "Sign in to Truss Webhooks", exact: true }).waitFor()
        })
      }))

    it.effect("leads to the sign-in when the key is revoked meanwhile", () =>
      Effect.gen(function*() {
        const keys = yield* ApiKeys
        const { id, key } = yield* keys.create("short", "write")
        const { page } = yield* visit("/")
        yield* act(async () => {
          await page.getByLabel("API key").fill(Redacted.value(key))
          await page.getByRole("button", { name: "Sign in" }).click()
          await see(page, "No webhooks yet")
        })
        yield* keys.revoke(id)
        yield* act(async () => {
          await page.getByRole("link", { name: "Webhooks", exact: true }).click()
          await page.getByRole("heading", { name: "Sign in to Truss Webhooks", exact: true }).waitFor()
        })
      }))

    it.effect("offers nothing to a reader that would be refused", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const { key } = yield* (yield* ApiKeys).create("reader", "read")
        const { page } = yield* visit("/webhooks/new")
        yield* act(async () => {
          await page.getByLabel("API key").fill(Redacted.value(key))
          await page.getByRole("button", { name: "Sign in" }).click()
          await see(page, "You may only look")
          await see(page, "Read only")
        })
        yield* assertClean(page, "a reader's page")
        yield* act(async () => {
          await page.goto(`${service.baseUrl}/`)
          await see(page, "No webhooks yet")
        })
        const links = yield* Effect.promise(() => page.getByRole("link").allInnerTexts())
        assert.notInclude(links.join(), "webhook")
        yield* run("CREATE TABLE only_read (id int PRIMARY KEY)")
        const { id } = yield* createWith(configured, { name: "only_read", table_name: "only_read" })
        yield* run("INSERT INTO only_read VALUES (1)")
        yield* act(async () => {
          await page.goto(`${service.baseUrl}/webhooks/${id}`)
          await page.getByRole("link", { name: "INSERT" }).click()
          await see(page, "Attempts at this event")
        })
        const inPanel = yield* Effect.promise(() => page.getByRole("dialog").getByRole("button").allInnerTexts())
        assert.notInclude(inPanel.join(), "Replay")
        yield* act(() => page.keyboard.press("Escape"))
        yield* act(() => page.getByRole("dialog").waitFor({ state: "detached" }))
        const toggle = page.getByRole("switch", { name: "only_read is active" })
        assert.strictEqual(yield* Effect.promise(() => toggle.isDisabled()), true)
        for (const name of ["Send test", "More", "Replay failed since"]) {
          assert.strictEqual(yield* Effect.promise(() => page.getByRole("button", { name }).count()), 0, name)
        }
        yield* act(async () => {
          await page.goto(`${service.baseUrl}/settings`)
          await page.getByRole("region", { name: "API keys" }).getByText("reader").waitFor()
        })
        for (const name of ["New key", "Revoke"]) {
          assert.strictEqual(yield* Effect.promise(() => page.getByRole("button", { name }).count()), 0, name)
        }
      }))
  })

  it.layer(KratosServer.layer)("with Ory Kratos", (it) => {
    it.effect("goes to its login and comes back to the page, is not sent round and round, and is told where to sign out", () =>
      Effect.gen(function*() {
        const kratos = yield* KratosServer
        yield* Effect.gen(function*() {
          const { baseUrl } = yield* RunningService
          const { page } = yield* visit("/webhooks?q=a%26b")
          yield* act(() => page.waitForURL(/self-service\/login/))
          const login = new URL(page.url())
          assert.strictEqual(`${login.origin}${login.pathname}`, `${kratos.url}/self-service/login/browser`)
          assert.strictEqual(login.searchParams.get("return_to"), `${baseUrl}/webhooks?q=a%26b`)
          yield* act(async () => {
            await page.goto(login.searchParams.get("return_to")!)
            await see(page, "You came back without a session.")
          })
          const link = page.getByRole("link", { name: "Continue to sign in" })
          assert.strictEqual(yield* Effect.promise(() => link.getAttribute("href")), login.href)
          yield* assertClean(page, "back without a session")
          kratos.answers.set("ada", [200, kratosSession()])
          yield* act(async () => {
            await page.context().addCookies([{ name: "ory_kratos_session", value: "ada", url: baseUrl }])
            await page.goto(`${baseUrl}/webhooks?q=a%26b`)
            await see(page, "ada@example.com")
            await page.getByRole("searchbox", { name: "Search by name, address or table" }).waitFor()
            await page.getByRole("button", { name: "Sign out" }).click()
            await see(page, "That session is Ory Kratos's: sign out there.")
          })
          kratos.answers.delete("ada")
        }).pipe(
          Effect.provide(
            Layer.merge(
              RunningService.layer({ http: { auth: "required", kratosUrl: kratos.url } }),
              Browser.layer
            )
          ),
          Effect.scoped
        )
      }))
  })
})
