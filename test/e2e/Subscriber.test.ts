import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestDatabase } from "../support/Database.ts"
import { testKey } from "../support/Encryption.ts"
import { startExample } from "../support/ExampleProcess.ts"
import { startService, waitFor } from "../support/ServiceProcess.ts"
import { withDatabase } from "./Scene.ts"
import { connect } from "./Workload.ts"

const prepare = Effect.fnUntraced(function*(url: string) {
  const sql = yield* connect(url, 4)
  yield* sql`CREATE TABLE orders (id int PRIMARY KEY, note text)`
  yield* sql`CREATE TABLE parcels (event_id text PRIMARY KEY, order_id int NOT NULL)`
  return sql
})

const startProgram = (url: string) =>
  startExample([process.execPath, "embedding/subscriber.ts"], { DATABASE_URL: url, TRUSS_ENCRYPTION_KEY: testKey })

interface Page {
  readonly data: ReadonlyArray<{ readonly subscriber: string; readonly backlog: number }>
}

const counted = (sql: Effect.Success<ReturnType<typeof prepare>>) =>
  Effect.map(
    sql<{ packed: number; orders: number }>`SELECT count(*)::int AS packed, count(DISTINCT order_id)::int AS orders
      FROM parcels`,
    ([row]) => row!
  )

describe("a program with a function in place of an endpoint", { concurrent: true }, () => {
  it.live("loses no event when it is killed with -9 three times among 1,500", () =>
    withDatabase(
      Effect.gen(function*() {
        const { url } = yield* TestDatabase
        const sql = yield* prepare(url)
        let program = yield* startProgram(url)
        yield* waitFor(
          "the webhook",
          Effect.map(
            sql`SELECT FROM pg_trigger WHERE tgrelid = 'orders'::regclass`,
            (rows) => rows.length > 0
          ),
          { describe: program.output }
        )
        for (const round of [0, 1, 2]) {
          for (let i = 0; i < 50; i++) {
            const first = round * 500 + i * 10
            yield* sql`INSERT INTO orders SELECT i, 'tea' FROM generate_series(${first + 1}::int, ${first + 10}::int) i`
          }
          const before = (yield* counted(sql)).packed
          yield* waitFor("some to be packed", Effect.map(counted(sql), ({ packed }) => packed > before), {
            describe: program.output
          })
          yield* program.kill
          program = yield* startProgram(url)
        }
        yield* waitFor("all to be packed", Effect.map(counted(sql), ({ orders }) => orders === 1500), {
          describe: program.output
        })
        assert.deepStrictEqual(yield* counted(sql), { packed: 1500, orders: 1500 })
        yield* waitFor(
          "all to be in the log",
          Effect.map(
            sql<{ delivered: number }>`SELECT count(DISTINCT event_seq)::int AS delivered FROM truss.attempts
            WHERE outcome = 'success'`,
            ([row]) => row!.delivered === 1500
          )
        )
      })
    ))

  it.live("waits, loses nothing and says why beside a `serve` that delivers, and goes on when that stops", () =>
    withDatabase(
      Effect.gen(function*() {
        const { url } = yield* TestDatabase
        const sql = yield* prepare(url)
        const service = yield* startService(url)
        yield* service.ready("notify")
        const program = yield* startProgram(url)
        const listed = Effect.map(
          service.ask("GET", "/api/webhooks"),
          ({ body }) => (body as Page | undefined)?.data[0]
        )
        yield* waitFor("it to be missed", Effect.map(listed, (webhook) => webhook?.subscriber === "missing"), {
          describe: () => service.output() + program.output()
        })
        yield* sql`INSERT INTO orders VALUES (1, 'tea'), (2, 'cake')`
        yield* waitFor("the backlog", Effect.map(listed, (webhook) => webhook?.backlog === 2))
        yield* waitFor("a line in the log", Effect.sync(() => service.output().includes("in-process:parcels")))
        assert.strictEqual((yield* sql`SELECT FROM truss.attempts`).length, 0)

        yield* service.stop
        yield* waitFor("both to be packed", Effect.map(counted(sql), ({ orders }) => orders === 2), {
          describe: program.output
        })
        const attempts = yield* sql<{ attempt: number; outcome: string }>`SELECT attempt::int, outcome::text
          FROM truss.attempts`
        for (const one of attempts) assert.deepStrictEqual(one, { attempt: 1, outcome: "success" })
      })
    ))
})
