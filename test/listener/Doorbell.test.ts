import { assert, it } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import { Receiver } from "../support/Receiver.ts"
import { Application, connect, RunningService, until } from "../support/RunningService.ts"

/** Until when writers ring, in seconds since 1970; 0: they need not. */
const bell = Effect.gen(function*() {
  const sql = yield* Application
  const [row] = yield* sql<{ until: number }>`SELECT last_value::float8 AS until FROM truss.bell`
  return row!.until
})

const isQuiet = (until: number) => until === 0
const rings = (until: number) => until > 0

/** As many notifications as a burst of small transactions makes, until the listener asks for no more. */
const drown = until(
  "the listener looks by itself",
  Effect.gen(function*() {
    const sql = yield* Application
    yield* sql`SELECT pg_notify('truss', 'ring ' || n) FROM generate_series(1, 2000) n`
    return yield* bell
  }),
  isQuiet
)

it.layer(RunningService.layer().pipe(Layer.provideMerge(Receiver.layer)), { excludeTestServices: true })(
  "the listener",
  (it) => {
    it.effect("asks to be rung again after a burst, although a few rows a second keep coming", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        const service = yield* RunningService
        const sql = yield* Application
        yield* sql`CREATE TABLE trickle (id serial PRIMARY KEY)`
        yield* service.create({ table_name: "trickle", url: receiver.url("/trickle") })
        yield* until("writers ring", bell, rings)
        yield* sql`INSERT INTO trickle DEFAULT VALUES`.pipe(
          Effect.repeat(Schedule.spaced("5 millis")),
          Effect.forkScoped
        )
        yield* receiver.waitFor("/trickle", 10)
        yield* drown
        yield* until("writers ring", bell, rings)
      }))

    it.effect("is not rung in a burst, although a transaction stays open", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        const service = yield* RunningService
        const sql = yield* Application
        yield* sql`CREATE TABLE held (id serial PRIMARY KEY)`
        yield* service.create({ table_name: "held", url: receiver.url("/held") })
        const holder = yield* connect()
        yield* Effect.gen(function*() {
          yield* holder`INSERT INTO held DEFAULT VALUES`
          for (let burst = 0; burst < 2; burst++) {
            yield* drown
            yield* until("writers ring", bell, rings)
          }
        }).pipe(holder.withTransaction)
        const [request] = yield* receiver.waitFor("/held", 1)
        assert.deepStrictEqual(request!.body.row, { id: 1 })
      }))
  }
)
