import type { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { layerServices } from "../../src/Service.ts"
import { layerDatabase } from "../../src/services/Database.ts"
import { migrate } from "../../src/services/Migrations.ts"
import { createWebhook, sceneOn } from "../e2e/Scene.ts"
import { connect, createTables, delivered, judge, report } from "../e2e/Workload.ts"
import { copySchema } from "../support/Dump.ts"
import { testKeys } from "../support/Encryption.ts"
import { ownPostgres } from "../support/OwnPostgres.ts"
import { startService, waitFor } from "../support/ServiceProcess.ts"

/** Commits changes, in one transaction. */
const insert = (sql: PgClient.PgClient, name: string, from: number, count: number) =>
  sql.withTransaction(Effect.andThen(
    sql`INSERT INTO orders SELECT g, ${name}::text || g FROM generate_series(${from}::int, ${from + count - 1}::int) g`,
    sql`INSERT INTO ledger SELECT 'INSERT:' || ${name}::text || g
      FROM generate_series(${from}::int, ${from + count - 1}::int) g`
  )).pipe(Effect.orDie)

/** Makes a cluster older by transaction numbers. */
const useUp = (sql: PgClient.PgClient, transactions: number) =>
  Effect.orDie(sql.unsafe(
    `DO $$ BEGIN FOR i IN 1..${transactions} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`
  ))

describe("a dump that was restored into another cluster", { concurrent: true }, () => {
  for (
    const [title, before, after] of [
      ["with lower transaction numbers", 20_000, 0],
      ["with higher transaction numbers", 0, 20_000]
    ] as const
  ) {
    it.live(`${title} loses nothing, and sends nothing again that the log shows as attempted`, () =>
      Effect.scoped(Effect.gen(function*() {
        const first = yield* ownPostgres
        yield* first.start
        yield* useUp(yield* connect(first.url, 1), before)
        const { endpoint, recorder, service, sql, webhook } = yield* sceneOn(first.url)
        const [paused, resumed] = [recorder.endpoint("/paused"), recorder.endpoint("/resumed")]
        const pausing = yield* createWebhook(service, paused.url)
        const resuming = yield* createWebhook(service, resumed.url)
        const selected = recorder.endpoint("/selected")
        yield* createWebhook(service, selected.url, { filter: [{ column: "mark", op: "eq", value: "backlog301" }] })
        const setActive = (id: string, active: boolean) => service.ask("PATCH", `/api/webhooks/${id}`, { active })

        yield* insert(sql, "delivered", 1, 50)
        yield* delivered(sql, endpoint, webhook.id)
        yield* delivered(sql, paused, pausing.id)
        yield* delivered(sql, resumed, resuming.id)
        yield* setActive(pausing.id, false)
        yield* setActive(resuming.id, false)
        yield* insert(sql, "unwanted", 101, 50)
        yield* setActive(resuming.id, true)
        endpoint.behave("error")
        yield* insert(sql, "failing", 201, 5)
        yield* waitFor(
          "retries to be due",
          Effect.map(
            sql`SELECT FROM truss.due WHERE webhook_id = ${webhook.id}::text::uuid`,
            (rows) => rows.length >= 5
          ).pipe(Effect.orDie)
        )
        yield* waitFor("the others", Effect.sync(() => resumed.byChange().size >= 55))
        yield* service.stop
        endpoint.behave("ok")
        yield* insert(sql, "backlog", 301, 50)

        const second = yield* ownPostgres
        yield* second.start
        const target = yield* connect(second.url)
        yield* createTables(target)
        yield* Effect.provide(
          migrate(),
          layerServices({ encryptionKeys: testKeys, maxPayload: 1_048_576 }).pipe(
            Layer.provideMerge(layerDatabase({ url: Redacted.make(second.url) }))
          )
        )
        yield* useUp(target, after)
        for (const table of ["orders", "ledger"]) {
          const [rows] = yield* sql.unsafe<{ all: string }>(`SELECT json_agg(t)::text AS all FROM ${table} t`)
          yield* target.unsafe(
            `INSERT INTO ${table} SELECT * FROM json_populate_recordset(NULL::${table}, $1::text::json)`,
            [rows!.all]
          )
        }
        yield* copySchema(sql, target)
        yield* first.stop
        const attempts = Effect.map(
          target<{ count: number }>`SELECT count(*)::float8 AS count FROM truss.attempts
            WHERE webhook_id <> ${webhook.id}::text::uuid`,
          ([row]) => row!.count
        )
        const attempted = yield* attempts

        // The triggers are there already; nobody listens yet.
        yield* insert(target, "restored", 401, 50)
        const next = yield* startService(second.url)
        yield* next.ready()
        yield* insert(target, "new", 501, 50)
        yield* delivered(target, endpoint, webhook.id, { describe: next.output })
        yield* waitFor("the resumed webhook's", Effect.sync(() => resumed.byChange().size >= 205), {
          describe: () => `${resumed.byChange().size}\n${next.output()}`
        })
        yield* judge(`restored ${title}`, target, endpoint, webhook.id)
        const names = (of: typeof endpoint) => [...of.byChange().keys()].map((change) => change.replace(/\d+$/, ""))
        assert.deepStrictEqual(
          [...new Set(names(resumed))],
          ["INSERT:delivered", "INSERT:failing", "INSERT:backlog", "INSERT:restored", "INSERT:new"]
        )
        assert.strictEqual(resumed.received().length, 205)
        assert.strictEqual(paused.received().length, 50)
        assert.deepStrictEqual([...selected.byChange().keys()], ["INSERT:backlog301"])
        assert.strictEqual(yield* attempts, attempted + 151)
        assert.include(next.output(), "came from another PostgreSQL cluster")

        // It is said, and done, once.
        const slots = yield* target`SELECT slot FROM truss.slots`
        yield* next.stop
        const again = yield* startService(second.url)
        yield* again.ready()
        yield* insert(target, "later", 601, 10)
        yield* delivered(target, endpoint, webhook.id, { describe: again.output })
        assert.notInclude(again.output(), "came from another PostgreSQL cluster")
        assert.lengthOf(yield* target`SELECT slot FROM truss.slots`, slots.length)
        yield* report(`restored ${title}`, { partitions: slots.length, "sent to a paused one": 0 })
      })))
  }
})
