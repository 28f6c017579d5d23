import { assert, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Latch, Redacted, References, Schema, Scope } from "effect"
import type { Change } from "../../src/domain/Change.ts"
import { inProcessUrl } from "../../src/domain/InProcess.ts"
import { ManualDelivery } from "../../src/services/ManualDelivery.ts"
import { Registrar, type SubscriptionInput } from "../../src/services/Registrar.ts"
import { type Attempted, Subscribers } from "../../src/services/Subscribers.ts"
import { subscribe } from "../../src/services/Subscription.ts"
import type * as Verify from "../../src/verify.ts"
import { run, RunningService, until } from "../support/RunningService.ts"

const table = (name: string) => run(`CREATE TABLE ${name} (id int PRIMARY KEY, note text, total numeric)`)

const input = (table_name: string, more?: Partial<SubscriptionInput>): SubscriptionInput => ({
  name: table_name,
  table_name,
  events: ["INSERT", "UPDATE", "DELETE"],
  ...more
})

/** Lets what is to be tried again later be tried now. */
const hasten = (id: string) =>
  run(
    `UPDATE truss.due SET at = clock_timestamp() WHERE webhook_id = '${id}' AND at < 'infinity'`,
    `NOTIFY truss, 'webhook ${id}'`
  )

/** Keeps what it is given. */
const recorder = () => {
  const seen: Array<Attempted & { readonly change: Change }> = []
  const handle = (change: Change, attempted: Attempted) => Effect.sync(() => void seen.push({ change, ...attempted }))
  const ids = () => seen.map(({ change }) => Number((change.row ?? change.old_row)?.["id"]))
  return {
    seen,
    handle,
    ids,
    has: (count: number) => until(`${count} changes`, Effect.sync(ids), (all) => all.length >= count)
  }
}

const unlogged = Effect.provideService(References.MinimumLogLevel, "Fatal")

/** Whether the two are the same type. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false

it("is given changes of the type that receivers verify", () => {
  const same: Same<Change<{ id: number }>, Verify.Change<{ id: number }>> = true
  assert.isTrue(same)
})

it.layer(RunningService.layer(), { excludeTestServices: true })("a function in place of an endpoint", (it) => {
  it.effect("is given every change with its id and exact bytes, test events and replays, and all is in the log", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const manual = yield* ManualDelivery
      yield* table("basic")
      const { handle, has, seen } = recorder()
      const webhook = yield* subscribe(input("basic"), handle)
      assert.deepInclude(webhook, {
        name: "basic",
        url: "in-process:basic",
        subscriber: "connected",
        has_secret: false
      })
      yield* run(
        "INSERT INTO basic VALUES (1, 'é', 12345678901234567890.10)",
        "UPDATE basic SET note = NULL",
        "DELETE FROM basic"
      )
      yield* has(3)
      const entries = yield* service.log(webhook.id, 3)
      assert.deepStrictEqual(seen.map(({ change }) => change.event), ["INSERT", "UPDATE", "DELETE"])
      assert.include(seen[0]!.body, "12345678901234567890.10")
      assert.deepStrictEqual(
        seen.map(({ deliveryId, id }) => [deliveryId, id]),
        entries.map((entry) => [entry.id, entry.event_id])
      )
      for (const entry of entries) {
        assert.deepInclude(entry, { attempt: 1, status_code: 200, error: null, outcome: "success" })
      }
      assert.deepInclude(yield* manual.test(webhook.id), { status_code: 200, error: null })
      const replayed = JSON.parse(yield* manual.replay(webhook.id, entries[0]!.id))
      assert.deepInclude(replayed, { outcome: "success", replay_of: entries[0]!.id })
      assert.deepStrictEqual(seen.slice(3).map(({ change }) => change.event), ["TEST", "INSERT"])
      assert.strictEqual(seen[4]!.id, seen[0]!.id)
      assert.strictEqual(seen[4]!.body, seen[0]!.body)

      const again = yield* service.ask("POST", `/webhooks/${webhook.id}/test`)
      assert.strictEqual(again.status, 200, again.text)
      assert.deepInclude(yield* service.get(webhook.id), { subscriber: "connected", backlog: 0, fail_count: 0 })
    }))

  it.effect("is tried again after it failed, and the log says why", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* table("failing")
      let attempts = 0
      const webhook = yield* subscribe(input("failing"), () =>
        Effect.suspend(() => ++attempts < 3 ? Effect.fail(new Error("not\0now".repeat(300))) : Effect.void))
      yield* run("INSERT INTO failing VALUES (1)")
      yield* service.log(webhook.id, 1)
      assert.strictEqual((yield* service.get(webhook.id)).fail_count, 1)
      yield* hasten(webhook.id)
      yield* service.log(webhook.id, 2)
      yield* hasten(webhook.id)
      const entries = yield* service.log(webhook.id, 3)
      assert.deepStrictEqual(
        entries.map(({ attempt, error, outcome, status_code }) => [attempt, outcome, error, status_code]),
        [
          [1, "retrying", "subscriber_failed", null],
          [2, "retrying", "subscriber_failed", null],
          [3, "success", null, 200]
        ]
      )
      assert.match(entries[0]!.response_body!, /^not\ufffdnownot/)
      assert.isAtMost(Buffer.byteLength(entries[0]!.response_body!.replaceAll("\ufffd", "?")), 1024)
      assert.strictEqual((yield* service.get(webhook.id)).fail_count, 0)
    }).pipe(unlogged))

  it.effect("is given up after its last attempt, and only probes go to it after ten failures", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* table("hopeless")
      let broken = true
      const { handle, has, ids } = recorder()
      const webhook = yield* subscribe(
        input("hopeless", { max_attempts: 1, ordering: "strict" }),
        (change, attempted) => broken ? Effect.die("no") : handle(change, attempted)
      )
      yield* run("INSERT INTO hopeless SELECT generate_series(1, 20)")
      yield* until("the circuit to open", service.get(webhook.id), ({ circuit }) => circuit !== "closed")
      broken = false
      yield* has(10)
      const entries = yield* service.log(
        webhook.id,
        (all) => all.filter(({ outcome }) => outcome === "success").length === 10
      )
      assert.lengthOf(entries.filter(({ outcome }) => outcome === "failed"), 10)
      assert.deepStrictEqual(ids(), Array.from({ length: 10 }, (_, i) => i + 11))
    }).pipe(unlogged))

  it.effect("is interrupted when its time is over", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* table("slow")
      const interrupted = yield* Deferred.make<void>()
      const webhook = yield* subscribe(input("slow", { timeout_ms: 100 }), () =>
        Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)))
      yield* run("INSERT INTO slow VALUES (1)")
      const [entry] = yield* service.log(webhook.id, 1)
      assert.deepInclude(entry, { error: "timeout", status_code: null, outcome: "retrying" })
      yield* Deferred.await(interrupted)
    }))

  it.effect("keeps the order of each row over failures", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* table("ordered")
      const seen: Array<string> = []
      let failed = false
      const webhook = yield* subscribe(input("ordered", { ordering: "row" }), (change) =>
        Effect.suspend(() => {
          const { id, note } = change.row as { id: number; note: string }
          if (id === 1 && note === "b" && !failed) {
            failed = true
            return Effect.fail("not yet")
          }
          seen.push(`${id}${note}`)
          return Effect.void
        }))
      yield* run(
        "INSERT INTO ordered VALUES (1, 'a'), (2, 'a')",
        "UPDATE ordered SET note = 'b'",
        "UPDATE ordered SET note = 'c'"
      )
      yield* service.log(webhook.id, (all) => all.filter(({ outcome }) => outcome === "success").length === 4)
      assert.deepStrictEqual(seen.filter((one) => one.startsWith("1")), ["1a"])
      yield* hasten(webhook.id)
      yield* service.log(webhook.id, (all) => all.filter(({ outcome }) => outcome === "success").length === 6)
      assert.deepStrictEqual(seen.filter((one) => one.startsWith("1")), ["1a", "1b", "1c"])
      assert.deepStrictEqual(seen.filter((one) => one.startsWith("2")), ["2a", "2b", "2c"])
    }).pipe(unlogged))

  it.effect("is given what its schema makes of a change, with the services that it needs; what does not fit fails", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      class Notes extends Context.Service<Notes, Array<string>>()("test/Notes") {}
      const Payload = Schema.Struct({
        event: Schema.Literals(["INSERT", "UPDATE"]),
        row: Schema.Struct({ id: Schema.Int, note: Schema.RedactedFromValue(Schema.String) })
      })
      yield* table("typed")
      const notes: Array<string> = []
      const webhook = yield* subscribe(
        { ...input("typed"), payload: Payload },
        ({ event, row }) =>
          Effect.map(Notes, (notes) => void notes.push(`${event} ${row.id} ${Redacted.value(row.note)}`))
      ).pipe(
        Effect.provideService(Notes, notes)
      )
      yield* run("INSERT INTO typed VALUES (1, 'tea')", "DELETE FROM typed")
      const entries = yield* service.log(webhook.id, 2)
      assert.deepStrictEqual(notes, ["INSERT 1 tea"])
      const misfit = entries.find(({ event_type }) => event_type === "DELETE")!
      assert.strictEqual(misfit.error, "subscriber_failed")
      assert.match(misfit.response_body!, /"INSERT" \| "UPDATE"|event/)
    }).pipe(unlogged))

  it.effect("that this process does not have loses nothing: events wait, no attempt is used up, and it is said why", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      const registrar = yield* Registrar
      yield* table("absent")
      const webhook = yield* registrar.attach(input("absent"))
      yield* run("INSERT INTO absent VALUES (1), (2), (3)")
      const missing = yield* until(
        "it to be missed",
        service.get(webhook.id),
        ({ subscriber }) => subscriber === "missing"
      )
      assert.deepInclude(missing, { active: true, circuit: "closed", fail_count: 0, backlog: 3 })
      for (const path of ["test", `replay/${"0".repeat(16)}`]) {
        const { status, text } = yield* service.ask("POST", `/webhooks/${webhook.id}/${path}`)
        assert.deepStrictEqual([status, JSON.parse(text).type], [409, "urn:truss:problem:no-subscriber"], path)
      }
      const refused = yield* Effect.flip(Effect.flatMap(ManualDelivery, (manual) => manual.test(webhook.id)))
      assert.include(refused.message, "in-process:absent")

      const { handle, has, seen } = recorder()
      const scope = yield* Scope.make()
      yield* subscribe(input("absent"), handle).pipe(Scope.provide(scope))
      yield* has(3)
      const entries = yield* service.log(webhook.id, 3)
      assert.deepStrictEqual(entries.map(({ attempt }) => attempt), [1, 1, 1])
      assert.strictEqual((yield* service.get(webhook.id)).subscriber, "connected")

      yield* Scope.close(scope, Exit.void)
      yield* until("it to be missed", service.get(webhook.id), ({ subscriber }) => subscriber === "missing")
      yield* run("INSERT INTO absent VALUES (4)")
      const { webhooks } = JSON.parse((yield* service.ask("GET", `/events/${seen[0]!.id}`)).text)
      assert.deepInclude(webhooks[0], { state: "delivered", reason: null })
      const later = recorder()
      yield* subscribe(input("absent"), later.handle)
      yield* later.has(1)
      assert.deepStrictEqual(later.ids(), [4])
      assert.lengthOf(yield* service.log(webhook.id, 4), 4)
    }))

  it.effect("has its events shown as waiting for it while it is missing", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* table("shown")
      const other = recorder()
      yield* subscribe(input("shown", { name: "other" }), other.handle)
      const webhook = yield* Effect.flatMap(Registrar, (registrar) => registrar.attach(input("shown")))
      yield* until("it to be missed", service.get(webhook.id), ({ subscriber }) => subscriber === "missing")
      yield* run("INSERT INTO shown VALUES (1)")
      yield* other.has(1)
      const { webhooks } = JSON.parse((yield* service.ask("GET", `/events/${other.seen[0]!.id}`)).text)
      const fate = webhooks.find((one: { webhook_id: string }) => one.webhook_id === webhook.id)
      assert.deepInclude(fate, { state: "pending", reason: "no_subscriber", attempts: [], next_attempt_at: null })
    }))

  it.effect("lets what is in flight end when it goes, and what it breaks off comes again without a lost attempt", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* table("leaving")
      const gate = yield* Latch.make(false)
      const { handle, ids } = recorder()
      const scope = yield* Scope.make()
      let started = 0
      const webhook = yield* subscribe(input("leaving"), (change, attempted) =>
        Effect.suspend(() => {
          started++
          const { id } = change.row as { id: number }
          return id === 2 ? Effect.interrupt : Effect.andThen(gate.await, handle(change, attempted))
        })).pipe(Scope.provide(scope))
      yield* run("INSERT INTO leaving VALUES (1), (2)")
      yield* until("both to be started", Effect.sync(() => started), (count) => count === 2)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* until(
        "it to be gone",
        Effect.map(Subscribers, (subscribers) => subscribers.get(inProcessUrl("leaving"))),
        (subscriber) => subscriber === undefined
      )
      yield* gate.open
      yield* Fiber.join(closing)
      const entries = yield* service.log(webhook.id, 2)
      assert.deepStrictEqual(
        entries.map(({ error, outcome }) => [outcome, error]).toSorted(),
        [["retrying", "aborted"], ["success", null]]
      )
      assert.deepStrictEqual(ids(), [1])
      const later = recorder()
      yield* subscribe(input("leaving"), later.handle)
      yield* hasten(webhook.id)
      yield* later.has(1)
      assert.deepStrictEqual(later.ids(), [2])
      const [last] = (yield* service.log(webhook.id, 3)).slice(-1)
      assert.deepInclude(last, { attempt: 1, outcome: "success" })
    }))

  it.effect("can be had once by a process, and set by no request", () =>
    Effect.gen(function*() {
      const service = yield* RunningService
      yield* table("once")
      const { handle, has } = recorder()
      const webhook = yield* subscribe(input("once"), handle)
      const twice = yield* Effect.flip(subscribe(input("once"), handle))
      assert.strictEqual(twice._tag, "AlreadySubscribed")
      const wrong = yield* Effect.flip(
        subscribe(Object.assign(input("once"), { name: "wrong", url: "https://x.example" }), handle)
      )
      assert.deepStrictEqual([wrong._tag, /url/.test(wrong.message)], ["InvalidWebhook", true])
      const nowhere = yield* Effect.flip(subscribe(input("nowhere"), handle))
      assert.strictEqual(nowhere._tag, "TableNotWatchable")
      const body = { name: "x", table_name: "once", events: ["INSERT"], url: webhook.url }
      assert.strictEqual((yield* service.ask("POST", "/webhooks", body)).status, 400)
      assert.strictEqual(
        (yield* service.ask("PATCH", `/webhooks/${webhook.id}`, { url: "in-process:other" })).status,
        400
      )
      // What else an operator changes stays, and a new name does not make another of it.
      yield* service.patch(webhook.id, { name: "renamed", concurrency: 2 })
      const again = yield* Effect.flatMap(Registrar, (registrar) => registrar.attach(input("once")))
      assert.deepInclude(again, { id: webhook.id, name: "once", concurrency: 2 })
      yield* run("INSERT INTO once VALUES (1)")
      yield* has(1)
    }))

  it.effect("takes the place of an endpoint and gives it back, when the code says so", () =>
    Effect.gen(function*() {
      const registrar = yield* Registrar
      const service = yield* RunningService
      yield* table("moved")
      const endpoint = { ...input("moved"), url: "http://127.0.0.1:1/" }
      const webhook = yield* registrar.register({ ...endpoint, secret: "a long random string" })
      assert.isNull(webhook.subscriber)
      yield* Effect.scoped(Effect.gen(function*() {
        const { handle, has } = recorder()
        const moved = yield* subscribe(input("moved"), handle)
        assert.strictEqual(moved.id, webhook.id)
        yield* run("INSERT INTO moved VALUES (1)")
        yield* has(1)
      }))
      const back = yield* registrar.register(endpoint)
      assert.deepInclude(back, { id: webhook.id, url: endpoint.url, subscriber: null })
      yield* run("INSERT INTO moved VALUES (2)")
      const entries = yield* service.log(webhook.id, 2)
      assert.strictEqual(entries.at(-1)!.error, "connection_refused")
    }))
})

it.layer(RunningService.layer({ traceDeliveries: true }), { excludeTestServices: true })(
  "where deliveries are traced",
  (it) => {
    it.effect("a function runs in the trace of its attempt", () =>
      Effect.gen(function*() {
        yield* table("traced")
        const parents: Array<string> = []
        const webhook = yield* subscribe(
          input("traced"),
          () => Effect.map(Effect.currentParentSpan, ({ _tag }) => void parents.push(_tag))
        )
        const manual = yield* ManualDelivery
        assert.deepInclude(yield* manual.test(webhook.id), { status_code: 200, error: null })
        assert.deepStrictEqual(parents, ["ExternalSpan"])
      }))
  }
)
