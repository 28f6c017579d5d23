import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { waitFor } from "../support/ServiceProcess.ts"
import { scene, withDatabase } from "./Scene.ts"
import { report, write } from "./Workload.ts"

describe("a client that follows a log", () => {
  it.live("is let go at once when the service stops, although attempts in flight have their time", () =>
    withDatabase(Effect.gen(function*() {
      const { endpoint, service, sql, webhook } = yield* scene()
      const response = yield* Effect.promise(() => fetch(`${service.url}/api/webhooks/${webhook.id}/logs/stream`))
      let text = ""
      let endedAt = 0
      void (async () => {
        for await (const part of response.body!.pipeThrough(new TextDecoderStream())) text += part
        endedAt = Date.now()
      })()
      yield* write(sql, { seed: 1, transactions: 3, writers: 1 })
      yield* waitFor("an entry", Effect.sync(() => text.includes("event: entry")))
      endpoint.behave("hang")
      const before = endpoint.received().length
      yield* write(sql, { seed: 2, transactions: 3, writers: 1 })
      yield* waitFor("an attempt in flight", Effect.sync(() => endpoint.received().length > before))
      const startedAt = Date.now()
      const { code } = yield* service.stop
      const ms = Date.now() - startedAt
      yield* report("SIGTERM while a log is followed", {
        "exit code": code,
        "after (ms)": ms,
        "let go after (ms)": endedAt - startedAt
      })
      assert.strictEqual(code, 0, service.output())
      assert.isBelow(ms, 12_000)
      assert.isAbove(endedAt, 0)
      assert.isBelow(endedAt - startedAt, 2_000)
    })))
})
