import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Receiver } from "../support/Receiver.ts"
import { run, RunningService } from "../support/RunningService.ts"
import { noBrowser } from "./Browser.ts"
import { act, assertClean, assertNoBarrier, layerVisits, see, visit, watched } from "./Visits.ts"

describe.skipIf(noBrowser !== undefined)("mending in the dashboard", () => {
  it.layer(layerVisits, { excludeTestServices: true })("in a browser", (it) => {
    it.effect("sends what failed again in two clicks, counted first", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        let broken = true
        receiver.respond("/mended", () => ({ status: broken ? 500 : 200 }))
        const webhook = yield* watched("mended", { max_attempts: 1 })
        yield* run("INSERT INTO mended SELECT n, n, 'x' FROM generate_series(1, 7) n")
        yield* service.log(webhook.id, 7)
        broken = false
        const { complaints, page } = yield* visit(`/webhooks/${webhook.id}`)
        yield* act(() => page.getByRole("button", { name: "Replay failed since" }).click())
        yield* act(() => see(page, "7 events match by the log"))
        yield* assertClean(page, "the dialog of a replay")
        yield* act(async () => {
          await page.getByRole("button", { name: "Replay 7 events" }).click()
          await page.getByRole("dialog").getByText("Done").waitFor()
          await page.getByRole("button", { name: "Close" }).last().click()
          await page.getByRole("region", { name: "Replays and recoveries" }).getByText("7 events").waitFor()
          await page.getByRole("button", { name: "Replay failed since" }).waitFor({ state: "detached" })
        })
        const counts = yield* service.ask("GET", `/webhooks/${webhook.id}/reconcile`)
        assert.include(counts.text, `"delivered":7`)
        assert.deepStrictEqual(complaints, [])
      }))

    it.effect("narrows a replay down, shows how far it is, and cancels it", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        const webhook = yield* watched("halted", { concurrency: 1 })
        yield* run("INSERT INTO halted SELECT n, n, 'x' FROM generate_series(1, 30) n", "DELETE FROM halted")
        yield* service.log(webhook.id, 60)
        receiver.respond("/halted", () => ({ fault: "hang" }))
        const { page } = yield* visit(`/webhooks/${webhook.id}`)
        yield* act(async () => {
          await page.getByRole("button", { name: "More" }).click()
          await page.getByRole("menuitem", { name: "Replay many" }).click()
          await see(page, "0 events match by the log")
          const dialog = page.getByRole("dialog")
          await dialog.getByLabel("Outcome").selectOption("success")
          await see(page, "60 events match by the log")
          await dialog.getByLabel("Change").selectOption("DELETE")
          await page.getByRole("button", { name: "Replay 30 events" }).click()
          await dialog.getByRole("progressbar", { name: "Replay" }).waitFor()
          await see(page, "30 events are sent")
          await dialog.getByRole("button", { name: "Cancel" }).click()
          await dialog.getByText("Cancelled").waitFor()
        })
        const jobs = yield* service.ask("GET", `/webhooks/${webhook.id}/jobs`)
        assert.include(jobs.text, `"state":"cancelled","matched":30`)
      }))

    it.effect("recovers what was never sent, exactly counted", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        const webhook = yield* watched("paused_once")
        yield* service.patch(webhook.id, { active: false })
        yield* run("INSERT INTO paused_once VALUES (1, 1, 'x'), (2, 2, 'y')")
        yield* service.patch(webhook.id, { active: true })
        const { page } = yield* visit(`/webhooks/${webhook.id}`)
        yield* act(async () => {
          await page.getByRole("button", { name: "More" }).click()
          await page.getByRole("menuitem", { name: "Recover what was never sent" }).click()
          await see(page, "were never attempted, of 2 events")
        })
        yield* assertClean(page, "the dialog of a recovery")
        yield* act(async () => {
          await page.getByRole("button", { name: "Send 2 events" }).click()
          await page.getByRole("dialog").getByText("Done").waitFor()
        })
        yield* receiver.waitFor("/paused_once", 2)
      }))

    it.effect("says of a change what became of it for each webhook, and goes on past one that holds up others", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        receiver.respond("/fates", () => ({ status: 500 }))
        const ordered = yield* watched("fates", { ordering: "row" })
        const given = { table_name: "fates", url: receiver.url("/fates_too") }
        yield* service.create({ ...given, name: "only deletes", events: ["DELETE"] })
        yield* service.create({ ...given, name: "filtered", filter: [{ column: "status", op: "eq", value: "paid" }] })
        const fine = yield* service.create({ ...given, name: "fine" })
        yield* run("INSERT INTO fates VALUES (9007199254740993, 0.10, 'new')", "UPDATE fates SET status = 'old'")
        const sent = yield* service.log(fine.id, 2)
        const first = sent.find(({ event_type }) => event_type === "INSERT")
        const second = sent.find(({ event_type }) => event_type === "UPDATE")
        yield* service.log(ordered.id, 1)
        const { complaints, page } = yield* visit("/events")
        yield* act(async () => {
          await see(page, "Look up a change")
          await page.getByLabel("Id of an event").fill(`  ${first!.event_id} `)
          await page.keyboard.press("Enter")
          const fates = page.getByRole("region", { name: "What became of it" })
          await fates.getByText("The last attempt failed: it is tried again.").waitFor()
          await fates.getByText("The webhook does not ask for this kind of change.").waitFor()
          await fates.getByText("The webhook's filter does not hold for the row.").waitFor()
          await fates.getByText("The endpoint took it.").waitFor()
          await see(page, "9007199254740993")
        })
        yield* act(async () => {
          await page.goto(`${service.baseUrl}/events/${second!.event_id}`)
          await see(page, "It waits for an earlier change that did not get through: the order is kept.")
          await page.goto(`${service.baseUrl}/events/${first!.event_id}`)
          await page.getByRole("button", { name: "Skip" }).click()
          await page.getByRole("button", { name: "Skip the event" }).click()
          await see(page, "Somebody let the webhook go on without it.")
          await page.getByRole("link", { name: "Attempt 1" }).first().click()
          await page.getByRole("dialog").getByRole("link", { name: first!.event_id }).click()
          await page.getByRole("heading", { name: "What became of it", exact: true }).waitFor()
        })
        assert.deepStrictEqual(complaints, [])
        yield* assertNoBarrier(`/events/${first!.event_id}`, "What became of it")
        yield* assertNoBarrier("/events", "Look up a change")
        yield* act(async () => {
          await page.goto(`${service.baseUrl}/events/evt_1_2_3_4`)
          await see(page, "There is no such event")
        })
      }))
  })
})
