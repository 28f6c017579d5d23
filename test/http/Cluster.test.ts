import { assert, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import type { Runner } from "../../src/domain/Runner.ts"
import { TestDatabase } from "../support/Database.ts"
import { Application, run, RunningService, until } from "../support/RunningService.ts"

type Service = RunningService["Service"]

const runnersOf = (service: Service) =>
  Effect.map(service.ask("GET", "/cluster"), (answer) => {
    assert.strictEqual(answer.status, 200, answer.text)
    return (JSON.parse(answer.text) as { readonly runners: ReadonlyArray<Runner> }).runners
  })

const rolesAre = (service: Service, ...roles: ReadonlyArray<string>) =>
  until(`the roles are ${roles}`, runnersOf(service), (list) => String(list.map(({ role }) => role)) === String(roles))

/** Another process's worth of the service on the same database, and how to end it. */
const another = Effect.gen(function*() {
  const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
  const context = yield* Layer.build(Layer.fresh(RunningService.layerOn())).pipe(Scope.provide(scope))
  return { service: Context.get(context, RunningService), stop: Scope.close(scope, Exit.void) }
})

it.layer(TestDatabase.layerUrl, { excludeTestServices: true })("the cluster", (it) => {
  it.effect("is who delivers and who stands by, and changes with them", () =>
    Effect.gen(function*() {
      const first = yield* another
      const [alone] = yield* rolesAre(first.service, "active")
      assert.hasAllKeys(alone, ["id", "address", "role", "started_at", "webhooks", "lag_seconds"])
      assert.deepInclude(alone, { webhooks: 0, lag_seconds: 0, address: new URL(first.service.baseUrl).host })
      assert.isAtMost(Math.abs(Date.now() - Date.parse(alone!.started_at)), 60_000)
      assert.deepInclude(JSON.parse((yield* first.service.ask("GET", "/cluster")).text), { handovers: [] })

      const second = yield* another
      const both = yield* rolesAre(second.service, "active", "standby")
      assert.deepStrictEqual(both.map(({ address }) => address), [
        new URL(first.service.baseUrl).host,
        new URL(second.service.baseUrl).host
      ])
      assert.strictEqual(both[0]!.id, alone!.id)
      assert.deepStrictEqual(yield* runnersOf(first.service), both)

      yield* first.stop
      const [left, ...others] = yield* rolesAre(second.service, "active")
      assert.deepStrictEqual([left!.id, others.length], [both[1]!.id, 0])
    }).pipe(Effect.scoped, Effect.provide(Application.layer)))

  it.effect("has the active webhooks and the age of the oldest event that waits for one of them", () =>
    Effect.gen(function*() {
      const { service } = yield* another
      yield* rolesAre(service, "active")
      yield* run("CREATE TABLE orders (id int PRIMARY KEY)", "CREATE TABLE quiet (id int PRIMARY KEY)")
      const { id } = yield* service.create({ table_name: "orders", url: "http://127.0.0.1:1/" })
      yield* service.create({ table_name: "quiet", url: "http://127.0.0.1:1/" })
      yield* service.create({ table_name: "orders", url: "http://127.0.0.1:1/", active: false })
      const [idle] = yield* runnersOf(service)
      assert.deepInclude(idle, { webhooks: 2, lag_seconds: 0 })
      yield* run("INSERT INTO orders VALUES (1)")
      yield* service.log(id, 1)
      yield* run("UPDATE truss.events SET created_at = created_at - interval '1 hour'")
      const [late] = yield* runnersOf(service)
      assert.isAtLeast(late!.lag_seconds, 3600)
      assert.isBelow(late!.lag_seconds, 3660)
      yield* service.patch(id, { active: false })
      const [paused] = yield* runnersOf(service)
      assert.deepInclude(paused, { webhooks: 1, lag_seconds: 0 })
    }).pipe(Effect.scoped, Effect.provide(Application.layer)))

  it.effect("leaves out who was silent for 10 s, and whoever delivered before another one did", () =>
    Effect.gen(function*() {
      const { service } = yield* another
      yield* rolesAre(service, "active")
      const add = (address: string, active: string, beat: string) =>
        run(`INSERT INTO truss.runners VALUES (gen_random_uuid(), '${address}', now() - interval '1 day',
          now() - interval '${active}', now() - interval '${beat}')`)
      yield* add("frozen:1", "1 hour", "3 seconds")
      yield* add("killed:1", "1 hour", "11 seconds")
      const [only, ...others] = yield* runnersOf(service)
      assert.deepStrictEqual([only!.address, others], [new URL(service.baseUrl).host, []])
      const sql = yield* Application
      yield* until(
        "the silent one's row is gone",
        sql<{ address: string }>`SELECT address FROM truss.runners WHERE address = 'killed:1'`,
        (rows) => rows.length === 0
      )
    }).pipe(Effect.scoped, Effect.provide(Application.layer)))
})
