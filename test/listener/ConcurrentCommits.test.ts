import type { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { Partitions } from "../../src/services/Partitions.ts"
import { type Received, Receiver } from "../support/Receiver.ts"
import { Application, connect, RunningService } from "../support/RunningService.ts"

const writers = 24
const rows = 12
const transactions = 40

/** A small generator, so that a run can be repeated from its seed (mulberry32). */
const generator = (seed: number) => () => {
  seed = seed + 0x6d2b79f5 | 0
  let t = Math.imul(seed ^ seed >>> 15, 1 | seed)
  t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t
  return ((t ^ t >>> 14) >>> 0) / 2 ** 32
}

const change = ({ body }: Received) => `${String(body.row!["id"])}:${String(body.row!["version"])}`

/** The versions of each row in the order in which they arrived. */
const byRow = (requests: ReadonlyArray<Received>) =>
  Map.groupBy(
    requests.map(({ body }) => ({ id: Number(body.row!["id"]), version: Number(body.row!["version"]) })),
    ({ id }) => id
  )

it.layer(Layer.merge(RunningService.layer(), Receiver.layer), { excludeTestServices: true })(
  "concurrent commits",
  (it) => {
    it.effect("are each delivered once, whatever order they commit in, and one at a time in the order of each row", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        const sql = yield* Application
        const partitions = yield* Partitions
        const seed = Math.floor(Math.random() * 2 ** 31)
        const told = `seed ${seed}`
        yield* sql`CREATE TABLE counters (id int PRIMARY KEY, version int NOT NULL)`
        yield* sql`INSERT INTO counters SELECT i, 0 FROM generate_series(1, ${rows}::int) i`
        yield* service.create({ table_name: "counters", url: receiver.url("/wide"), concurrency: 64 })
        yield* service.create({ table_name: "counters", url: receiver.url("/narrow"), concurrency: 1 })

        const committed: Array<string> = []
        const writer = Effect.fnUntraced(function*(number: number) {
          const random = generator(seed + number)
          const session = yield* connect()
          for (let i = 0; i < transactions; i++) {
            const id = 1 + Math.floor(random() * rows)
            const aborts = random() < 0.1
            const before = random() * 0.012
            const after = random() * 0.012
            const transaction = session.withTransaction(Effect.gen(function*() {
              // Draws its transaction id early and its position in the events late, or the other way round.
              if (random() < 0.5) yield* session`SELECT pg_current_xact_id()::text, pg_sleep(${before})`
              const [row] = yield* session<{ version: number }>`
              UPDATE counters SET version = version + 1 WHERE id = ${id} RETURNING version`
              yield* session`SELECT pg_sleep(${after})`
              if (aborts) return yield* Effect.fail("aborts" as const)
              return `${id}:${row!.version}`
            }))
            const done = yield* Effect.catch(
              transaction,
              (error) => error === "aborts" ? Effect.succeed(undefined) : Effect.fail(error)
            )
            if (done !== undefined) {
              committed.push(done)
            }
          }
        })
        const writing = yield* Effect.forEach(Array.from({ length: writers }, (_, i) => i), writer, {
          concurrency: "unbounded"
        }).pipe(Effect.forkChild)
        yield* Effect.raceFirst(receiver.waitFor("/wide", 100), Effect.andThen(Fiber.join(writing), Effect.never))
        yield* partitions.open
        yield* Fiber.join(writing)
        assert.isAbove(committed.length, writers * transactions * 0.8, told)

        const last = `${1}:${
          1 + Math.max(...committed.filter((of) => of.startsWith("1:")).map((of) => Number(of.slice(2))))
        }`
        yield* sql`UPDATE counters SET version = version + 1 WHERE id = 1`
        committed.push(last)
        for (const path of ["/wide", "/narrow"]) {
          const requests = yield* receiver.waitFor(
            path,
            (all) => all.length >= committed.length && all.some((request) => change(request) === last)
          )
          assert.deepStrictEqual(requests.map(change).toSorted(), committed.toSorted(), `${path}, ${told}`)
          assert.strictEqual(
            new Set(requests.map(({ headers }) => headers["webhook-id"])).size,
            committed.length,
            told
          )
        }
        for (const [id, versions] of byRow(receiver.at("/narrow"))) {
          const order = versions.map(({ version }) => version)
          assert.deepStrictEqual(order, order.toSorted((a, b) => a - b), `row ${id}, ${told}`)
        }
      }).pipe(Effect.scoped))

    it.effect("that come late hold up no others, and are delivered when they come", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        const sql = yield* Application
        yield* sql`CREATE TABLE open_ended (id int)`
        yield* sql`CREATE TABLE quiet (id int)`
        yield* service.create({ table_name: "open_ended", url: receiver.url("/open_ended") })
        yield* service.create({ table_name: "quiet", url: receiver.url("/quiet") })
        const release = yield* Deferred.make<void>()
        const hold = Effect.fnUntraced(function*(id: number, inside: Deferred.Deferred<void>) {
          const session = yield* connect()
          yield* session.withTransaction(Effect.gen(function*() {
            yield* session`INSERT INTO open_ended VALUES (${id})`
            yield* Deferred.succeed(inside, undefined)
            yield* Deferred.await(release)
            yield* session`INSERT INTO quiet VALUES (${id})`
          }))
        })
        const held = yield* Effect.forEach(
          [-1, -2],
          Effect.fnUntraced(function*(id) {
            const inside = yield* Deferred.make<void>()
            const fiber = yield* Effect.forkChild(hold(id, inside))
            yield* Deferred.await(inside)
            return fiber
          })
        )
        for (let i = 1; i <= 300; i++) {
          yield* sql`INSERT INTO open_ended VALUES (${i})`
          // One at a time for a while, so that the listener falls asleep and wakes with the transactions still open.
          if (i % 60 === 0) yield* receiver.waitFor("/open_ended", i)
        }
        yield* receiver.waitFor("/open_ended", 300)
        assert.isTrue(receiver.at("/open_ended").every(({ body }) => Number(body.row!["id"]) > 0))
        yield* Deferred.succeed(release, undefined)
        yield* Effect.forEach(held, Fiber.join)
        const requests = yield* receiver.waitFor("/open_ended", 302, 5_000)
        assert.sameMembers(requests.slice(300).map(({ body }) => body.row!["id"]), [-1, -2])
        const quiet = yield* receiver.waitFor("/quiet", 2, 5_000)
        assert.sameMembers(quiet.map(({ body }) => body.row!["id"]), [-1, -2])
      }).pipe(Effect.scoped))

    it.effect("that come while the listener falls asleep, again and again, are delivered at once", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        const sql = yield* Application
        yield* sql`CREATE TABLE drowsy (id int)`
        yield* service.create({ table_name: "drowsy", url: receiver.url("/drowsy") })
        const seed = Math.floor(Math.random() * 2 ** 31)
        const random = generator(seed)
        const waits: Array<number> = []
        for (let i = 1; i <= 60; i++) {
          const started = performance.now()
          yield* sql.withTransaction(Effect.andThen(
            sql`INSERT INTO drowsy VALUES (${i})`,
            sql`SELECT pg_sleep(${random() * 0.02})`
          ))
          yield* receiver.waitFor("/drowsy", i)
          waits.push(performance.now() - started)
          yield* sql`SELECT pg_sleep(${random() * 0.12})`
        }
        waits.sort((a, b) => a - b)
        assert.lengthOf(receiver.at("/drowsy"), 60)
        assert.isBelow(waits[54]!, 300, `seed ${seed}: ${waits.map(Math.round)}`)
      }))
  }
)

it.layer(Layer.merge(RunningService.layer({ listen: "off" }), Receiver.layer), { excludeTestServices: true })(
  "without notifications",
  (it) => {
    it.effect("changes are delivered within a moment, those of prepared transactions too", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const receiver = yield* Receiver
        const session: PgClient.PgClient = yield* connect()
        yield* session`CREATE TABLE polled (id int)`
        yield* service.create({ table_name: "polled", url: receiver.url("/polled") })
        yield* session`INSERT INTO polled VALUES (1)`
        yield* receiver.waitFor("/polled", 1, 2_000)
        const name = `truss_test_${Math.random().toString(36).slice(2)}`
        yield* session.unsafe("BEGIN")
        yield* session`INSERT INTO polled VALUES (2)`
        yield* session.unsafe(`PREPARE TRANSACTION '${name}'`)
        yield* session`INSERT INTO polled VALUES (3)`
        yield* receiver.waitFor("/polled", 2, 2_000)
        yield* session.unsafe(`COMMIT PREPARED '${name}'`)
        const requests = yield* receiver.waitFor("/polled", 3, 2_000)
        assert.deepStrictEqual(requests.map(({ body }) => body.row!["id"]), [1, 3, 2])
      }).pipe(Effect.scoped))
  }
)
