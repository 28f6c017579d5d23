import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { createWebhook, withDatabase } from "../e2e/Scene.ts"
import { connect, createTables } from "../e2e/Workload.ts"
import { TestDatabase } from "../support/Database.ts"
import { startRecorder } from "../support/Recorder.ts"
import { startService } from "../support/ServiceProcess.ts"

describe("TRUSS_EGRESS_ALLOW", () => {
  it.live("unset lets a service for this machine alone reach this machine, and no cloud's metadata", () =>
    withDatabase(Effect.gen(function*() {
      const { url } = yield* TestDatabase
      yield* createTables(yield* connect(url))
      const endpoint = (yield* startRecorder).endpoint("/hook")
      const service = yield* startService(url)
      yield* service.ready()
      const webhook = yield* createWebhook(service, endpoint.url)
      const test = service.ask("POST", `/api/webhooks/${webhook.id}/test`)
      assert.deepInclude(yield* Effect.map(test, ({ body }) => body), { status_code: 200, error: null })
      for (const host of ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "0.0.0.0"]) {
        const { status } = yield* service.ask("PATCH", `/api/webhooks/${webhook.id}`, { url: `http://${host}/` })
        assert.strictEqual(status, 422, host)
      }
      yield* service.stop

      // What was accepted before is sent no more.
      const strict = yield* startService(url, { TRUSS_EGRESS_ALLOW: "none" })
      yield* strict.ready()
      const { body } = yield* strict.ask("POST", `/api/webhooks/${webhook.id}/test`)
      assert.deepInclude(body, { status_code: null, error: "blocked_address" })
      const { body: problem, status } = yield* strict.ask("PATCH", `/api/webhooks/${webhook.id}`, { url: endpoint.url })
      assert.strictEqual(status, 422)
      assert.include((problem as { detail: string }).detail, "loopback (127.0.0.0/8, RFC 1122)")
      assert.lengthOf(endpoint.received(), 1)
    })))
})
