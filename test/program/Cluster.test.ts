import type { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { decodeAttemptId } from "../../src/domain/AttemptRef.ts"
import { createWebhook, withDatabase } from "../e2e/Scene.ts"
import { connect, createTables, delivered, judge, loggedDeliveries, newSeed, report, write } from "../e2e/Workload.ts"
import { startProxy } from "../faults/Proxy.ts"
import { TestDatabase } from "../support/Database.ts"
import { ownPostgres } from "../support/OwnPostgres.ts"
import { deliveryIdOf, type Endpoint, startRecorder } from "../support/Recorder.ts"
import { freePort, type ServiceProcess, startService, waitFor } from "../support/ServiceProcess.ts"

/** What a webhook has unless it is given. */
const concurrency = 16

const token = "a token that the runners share....".replaceAll(" ", "-")

interface ListedRunner {
  readonly id: string
  readonly address: string
  readonly role: string
  readonly webhooks: number
}

const startRunner = Effect.fnUntraced(function*(url: string, env: Readonly<Record<string, string>> = {}) {
  const port = yield* freePort
  return yield* startService(url, { TRUSS_CLUSTER: `127.0.0.1:${port}`, TRUSS_CLUSTER_TOKEN: token, ...env })
})

const listOf = (service: ServiceProcess) =>
  Effect.map(
    service.ask("GET", "/api/cluster"),
    ({ body }) => (body as { runners?: ReadonlyArray<ListedRunner> } | undefined)?.runners ?? []
  )

/** The runner that is this process; undefined while it is none. */
const runnerOf = (service: ServiceProcess) =>
  Effect.map(listOf(service), (runners) => runners.find(({ address }) => service.url.endsWith(address)))

/** Whose webhooks and parts of webhooks are whose, as the last one to take each over. */
const owners = (sql: PgClient.PgClient) =>
  Effect.map(
    sql<{ id: string; runner: string | null }>`
      SELECT webhook_id::text AS id, runner::text AS runner FROM truss.cursors
      UNION ALL SELECT webhook_id || '.' || part, runner::text FROM truss.cursor_parts`,
    (rows) => new Map(rows.map(({ id, runner }) => [id, runner]))
  ).pipe(Effect.orDie)

/** Waits until so many runners are listed as active and share all webhooks; one with parts may be at several. */
const settled = (services: ReadonlyArray<ServiceProcess>, webhooks: number) =>
  Effect.forEach(services, (service) =>
    waitFor(
      `${services.length} runners with ${webhooks} webhooks`,
      Effect.map(listOf(service), (runners) =>
        runners.length === services.length && runners.every(({ role, webhooks }) =>
          role === "active" && webhooks > 0
        ) &&
        runners.reduce((sum, { webhooks }) => sum + webhooks, 0) >= webhooks),
      {
        describe: () =>
          services.map((one) => one.output()).join("\n=====\n")
      }
    ), { discard: true })

/** Waits until nothing is the runner's any more; how long that took. */
const takenOver = Effect.fnUntraced(function*(sql: PgClient.PgClient, runner: string) {
  const since = Date.now()
  yield* waitFor(
    "others to take over its webhooks",
    Effect.map(owners(sql), (all) => ![...all.values()].includes(runner)),
    { within: 15_000 }
  )
  return Date.now() - since
})

/** The first requests for the changes of a row come in the order of the changes. */
const assertRowOrder = (endpoint: Endpoint) => {
  const latest = new Map<unknown, number>()
  const seen = new Set<number>()
  for (const request of endpoint.received()) {
    const { eventSeq } = decodeAttemptId(deliveryIdOf(request))!
    const row = (request.body.row ?? request.body.old_row)?.["id"]
    if (seen.has(eventSeq)) continue
    seen.add(eventSeq)
    assert.isAbove(eventSeq, latest.get(row) ?? 0, `row ${row} at ${endpoint.url}`)
    latest.set(row, eventSeq)
  }
}

const clusterOn = Effect.fnUntraced(function*(
  url: string,
  runners: number,
  webhooks: number,
  input: (at: number) => object
) {
  const sql = yield* connect(url)
  yield* createTables(sql)
  const recorder = yield* startRecorder
  const services: Array<ServiceProcess> = []
  for (let i = 0; i < runners; i++) services.push(yield* startRunner(url))
  for (const service of services) yield* service.ready()
  const hooks: Array<{ readonly id: string; readonly endpoint: Endpoint }> = []
  for (let i = 0; i < webhooks; i++) {
    const endpoint = recorder.endpoint(`/${i}`)
    const { id } = yield* createWebhook(services[i % runners]!, endpoint.url, { name: `w${i}`, ...input(i) })
    hooks.push({ id, endpoint })
  }
  if (webhooks > 0) yield* settled(services, webhooks)
  const describe = () => services.map((service) => service.output()).join("\n=====\n")
  return { url, sql, recorder, services, hooks, describe }
})

const cluster = (runners: number, webhooks: number, input: (at: number) => object) =>
  Effect.flatMap(TestDatabase, ({ url }) => clusterOn(url, runners, webhooks, input))

const orderings = ["row", "none", "strict"] as const

describe("several runners on one database", () => {
  it.live(
    "lose nothing and keep the order while they are killed, stopped, frozen and started again under load",
    () =>
      withDatabase(Effect.gen(function*() {
        const { describe, hooks, services, sql, url } = yield* cluster(3, 18, (at) => ({
          ordering: orderings[at % 3],
          partitions: at % 3 < 2 && at % 2 === 0 ? 4 : 1
        }))
        const seed = newSeed()
        const load = { commits: 0, tried: new Set<string>() }
        const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 1_200, pauseMs: 100, load }))
        const times: Record<string, unknown> = {}
        const faults = [["SIGKILL", 10_000], ["SIGTERM", 10_000], ["SIGSTOP", 10_000]] as const
        for (const [signal, within] of faults) {
          const before = load.commits
          yield* waitFor("load", Effect.sync(() => load.commits >= before + 60))
          const service = services.shift()!
          const { id } = (yield* runnerOf(service))!
          yield* service.signal(signal)
          const took = yield* takenOver(sql, id)
          times[`taken over after ${signal} (ms)`] = took
          assert.isBelow(took, within)
          if (signal === "SIGSTOP") {
            yield* service.signal("SIGCONT")
            services.push(service)
          } else services.push(yield* startRunner(url))
          const { handovers } = (yield* services[0]!.ask("GET", "/api/cluster")).body as {
            readonly handovers: ReadonlyArray<{ readonly from: string; readonly to: string }>
          }
          assert.isAtLeast(handovers.filter(({ from, to }) => from === id && to !== id).length, 1)
          for (const one of services) yield* one.ready()
          yield* settled(services, hooks.length)
        }
        yield* Fiber.join(writers)
        for (const { endpoint, id } of hooks) yield* delivered(sql, endpoint, id, { within: 60_000, describe })
        for (const [at, { endpoint, id }] of hooks.entries()) {
          const ordering = orderings[at % 3]!
          yield* judge(`${ordering} ${at}`, sql, endpoint, id, {})
          if (ordering !== "none") assertRowOrder(endpoint)
        }
        yield* report("three runners", { ...times, seed })
      })),
    240_000
  )

  it.live(
    "a frozen runner sends and writes nothing beyond what was in flight when it wakes up",
    () =>
      withDatabase(Effect.gen(function*() {
        const { hooks, services, sql } = yield* cluster(2, 8, () => ({}))
        const seed = newSeed()
        const load = { commits: 0, tried: new Set<string>() }
        const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 700, pauseMs: 60, load }))
        yield* waitFor("100 commits", Effect.sync(() => load.commits >= 100))
        const { id: runner } = (yield* runnerOf(services[0]!))!
        const own = yield* owners(sql)
        const mine = hooks.filter(({ id }) => own.get(id) === runner)
        const held: Array<string> = []
        for (const { endpoint } of mine) {
          endpoint.behave((request) => {
            held.push(deliveryIdOf(request))
            return { slowMs: 4_000 }
          })
        }
        yield* waitFor(
          "every lane to wait for its answer",
          Effect.sync(() => held.length === mine.length * concurrency)
        )
        yield* services[0]!.signal("SIGSTOP")
        for (const { endpoint } of mine) endpoint.behave("ok")
        const took = yield* takenOver(sql, runner)
        const wokenAt = Date.now()
        yield* services[0]!.signal("SIGCONT")
        yield* waitFor(
          "a new life",
          Effect.map(runnerOf(services[0]!), (now) => now !== undefined && now.id !== runner),
          { describe: services[0]!.output }
        )
        yield* Fiber.join(writers)
        let sent = 0
        let written = 0
        for (const { endpoint, id } of hooks) {
          yield* delivered(sql, endpoint, id, { describe: services[0]!.output })
          const log = yield* loggedDeliveries(sql, id)
          sent += endpoint.received().filter((request) =>
            request.at > wokenAt && !log.has(deliveryIdOf(request))
          ).length
          written += held.filter((delivery) => log.has(delivery)).length
          yield* judge("a frozen runner", sql, endpoint, id, { seed })
        }
        yield* report("a frozen runner", {
          "taken over after (ms)": took,
          "in flight when it was frozen": held.length,
          "sent by the thawed one": sent,
          "written by the thawed one": written
        })
        assert.isBelow(took, 10_000)
        assert.strictEqual(sent, 0)
        assert.strictEqual(written, 0)
      })),
    120_000
  )

  for (
    const [what, title] of [
      ["database", "cut off from the database stops sending before others begin"],
      ["runners", "whom the others cannot reach leaves its webhooks to them, and gets some back"]
    ] as const
  ) {
    it.live(`a runner ${title}`, () =>
      withDatabase(Effect.gen(function*() {
        const { hooks, recorder, services, sql, url } = yield* cluster(1, 0, () => ({}))
        const address = new URL(url)
        const port = yield* freePort
        const proxy = yield* startProxy(
          what === "database" ? { host: address.hostname, port: Number(address.port) } : { host: "127.0.0.1", port }
        )
        address.hostname = "127.0.0.1"
        address.port = String(proxy.port)
        const other = what === "database"
          ? yield* startRunner(address.href)
          : yield* startRunner(url, {
            TRUSS_CLUSTER: `127.0.0.1:${proxy.port}`,
            TRUSS_CLUSTER_LISTEN: `127.0.0.1:${port}`
          })
        yield* other.ready()
        for (let i = 0; i < 8; i++) {
          const endpoint = recorder.endpoint(`/${i}`)
          hooks.push({ endpoint, id: (yield* createWebhook(services[0]!, endpoint.url, { name: `w${i}` })).id })
        }
        yield* settled([services[0]!, other], hooks.length)
        const seed = newSeed()
        const load = { commits: 0, tried: new Set<string>() }
        const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 600, pauseMs: 100, load }))
        yield* waitFor("load", Effect.sync(() => load.commits >= 60))
        const { id: runner } = (yield* runnerOf(other))!
        yield* proxy.freeze
        const took = yield* takenOver(sql, runner)
        const takenAt = Date.now()
        yield* waitFor("more load", Effect.sync(() => load.commits >= 300))
        yield* proxy.thaw
        yield* settled([services[0]!, other], hooks.length)
        yield* Fiber.join(writers)
        let sent = 0
        for (const { endpoint, id } of hooks) {
          yield* delivered(sql, endpoint, id, { describe: () => services[0]!.output() + other.output() })
          const log = yield* loggedDeliveries(sql, id)
          for (const request of endpoint.received()) if (request.at > takenAt && !log.has(deliveryIdOf(request))) sent++
          yield* judge(`cut off from the ${what}`, sql, endpoint, id, {})
        }
        yield* report(`cut off from the ${what}`, { "taken over after (ms)": took, "sent and not logged": sent, seed })
        assert.isBelow(took, 10_000)
        assert.strictEqual(sent, 0)
      })), 120_000)
  }

  it.live(
    "every runner takes changes, which hold at the others within a second",
    () =>
      withDatabase(Effect.gen(function*() {
        const { describe, hooks, recorder, services, sql, url } = yield* cluster(2, 6, () => ({}))
        // A process without the setting stands by, as long as there is a runner.
        const single = yield* startService(url)
        yield* single.ready("standby")
        const runners = yield* listOf(services[0]!)
        assert.deepStrictEqual(runners.map(({ role }) => role), ["active", "active", "standby"])
        for (const [at, { id }] of hooks.entries()) {
          const moved = recorder.endpoint(`/moved/${at}`)
          const { status } = yield* services[at % 2]!.ask("PATCH", `/api/webhooks/${id}`, { url: moved.url })
          assert.strictEqual(status, 200)
          const since = Date.now()
          let row = 0
          yield* waitFor(
            "a delivery to the new address",
            Effect.gen(function*() {
              yield* sql`INSERT INTO orders (id, mark) VALUES (${at * 1_000 + row}, ${`moved ${at} ${row++}`})`
              return moved.received().length > 0
            }),
            { within: 1_000, describe }
          )
          yield* report("a change holds elsewhere", { "after (ms)": Date.now() - since })
        }
        yield* services[0]!.stop
        yield* services[1]!.stop
        yield* single.ready("notify")
      })),
    90_000
  )

  it.live(
    "go on with what they had when PostgreSQL was restarted or killed",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const postgres = yield* ownPostgres
        yield* postgres.start
        const { describe, hooks, services, sql } = yield* clusterOn(postgres.url, 2, 6, () => ({ ordering: "row" }))
        const seed = newSeed()
        const load = { commits: 0, tried: new Set<string>() }
        const writers = yield* Effect.forkScoped(write(sql, { seed, transactions: 700, pauseMs: 60, load }))
        const before = yield* owners(sql)
        for (const [how, at] of [["stop", 150], ["crash", 400]] as const) {
          yield* waitFor(`${at} commits`, Effect.sync(() => load.commits >= at))
          yield* postgres[how]
          for (const service of services) yield* service.health(503)
          yield* postgres.start
          for (const service of services) yield* service.ready()
        }
        yield* Fiber.join(writers)
        for (const { endpoint, id } of hooks) {
          yield* delivered(sql, endpoint, id, { describe })
          yield* judge("PostgreSQL restarted under two runners", sql, endpoint, id, { seed })
          assertRowOrder(endpoint)
        }
        assert.deepStrictEqual(yield* owners(sql), before)
      })),
    120_000
  )

  it.live(
    "a runner that does not know the schema does not start, and one that runs goes on beside a newer schema",
    () =>
      withDatabase(Effect.gen(function*() {
        const { describe, hooks, services, sql, url } = yield* cluster(1, 2, (at) => ({ partitions: 1 + 3 * at }))
        // What a newer version does: its migrations only add.
        yield* sql`ALTER TABLE truss.webhooks ADD COLUMN of_a_newer_version text NOT NULL DEFAULT 'x'`
        yield* sql`INSERT INTO truss.migrations (migration_id, name) VALUES (9999, 'newer')`
        const late = yield* startRunner(url)
        const { code } = yield* late.ended
        assert.notStrictEqual(code, 0)
        assert.include(late.output(), "use a newer version")
        const { status } = yield* services[0]!.ask("PATCH", `/api/webhooks/${hooks[0]!.id}`, { partitions: 2 })
        assert.strictEqual(status, 200)
        const seed = newSeed()
        yield* write(sql, { seed, transactions: 100 })
        for (const { endpoint, id } of hooks) {
          yield* delivered(sql, endpoint, id, { describe })
          yield* judge("beside a newer schema", sql, endpoint, id, { seed })
        }
      })),
    60_000
  )

  it.live("a runner that others could reach does not start without the token", () =>
    withDatabase(Effect.gen(function*() {
      const { url } = yield* TestDatabase
      const service = yield* startService(url, { TRUSS_CLUSTER: "10.1.2.3:7788" })
      const { code } = yield* service.ended
      assert.notStrictEqual(code, 0)
      assert.include(service.output(), "set TRUSS_CLUSTER_TOKEN")
    })))
})
