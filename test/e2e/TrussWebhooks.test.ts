import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import {
  type Change,
  createTrussWebhooks,
  type TrussWebhooks,
  TrussWebhooksError,
  type TrussWebhooksOptions
} from "truss-webhooks"
import { TestDatabase } from "../support/Database.ts"
import { testKey } from "../support/Encryption.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, run, until } from "../support/RunningService.ts"

const layer = Receiver.layer.pipe(
  Layer.provideMerge(Application.layer),
  Layer.provideMerge(TestDatabase.layerUrl)
)

const create = Effect.fnUntraced(function*(options?: Partial<TrussWebhooksOptions>) {
  const { url } = yield* TestDatabase
  return yield* Effect.acquireRelease(
    Effect.sync(() =>
      createTrussWebhooks({
        databaseUrl: url,
        encryptionKey: testKey,
        egressAllow: "127.0.0.1",
        logLevel: "Fatal",
        ...options
      })
    ),
    (truss) => Effect.promise(() => truss.stop())
  )
})

const rejected = (promise: () => Promise<unknown>) =>
  Effect.promise(async (): Promise<TrussWebhooksError> => {
    try {
      await promise()
    } catch (error) {
      if (error instanceof TrussWebhooksError) return error
      throw error
    }
    throw new Error("did not reject")
  })

/** The next outcome, and how to end. */
const follow = (truss: TrussWebhooks, id: string, after?: string) =>
  truss.outcomes(id, { after })[Symbol.asyncIterator]()

describe("createTrussWebhooks", () => {
  it("says at once which option does not fit", () => {
    const options = { databaseUrl: "postgres://127.0.0.1:1/app", encryptionKey: testKey }
    assert.throws(() => createTrussWebhooks({ ...options, encryptionKey: "short" }), /encryptionKey must be 32 bytes/)
    assert.throws(() => createTrussWebhooks({ ...options, egressAllow: "10.0.0.0/99" }), /egressAllow must be/)
  })

  it.layer(layer, { excludeTestServices: true })((it) => {
    it.effect(
      "delivers, tells outcomes without a gap, serves the API if asked to, starts and stops again",
      () =>
        Effect.gen(function*() {
          const receiver = yield* Receiver
          yield* run("CREATE TABLE orders (id int PRIMARY KEY, note text)")
          const truss = yield* create({ http: { port: 0 } })
          assert.strictEqual((yield* rejected(() => truss.list())).code, "NotStarted")
          yield* Effect.promise(() => truss.start())
          const input = { name: "orders", table_name: "orders", events: ["INSERT"], url: receiver.url("/a") } as const
          const webhook = yield* Effect.promise(() => truss.register(input))
          const tested = yield* Effect.promise(() => truss.test(webhook.id))
          assert.strictEqual(tested.status_code, 200)

          const outcomes = follow(truss, webhook.id, tested.log_id)
          yield* run("INSERT INTO orders VALUES (1, 'tea')")
          const { value: first } = yield* Effect.promise(() => outcomes.next())
          assert.deepInclude(first, { event_type: "INSERT", outcome: "success", attempt: 1 })
          assert.deepInclude(first.payload.row, { id: 1, note: "tea" })

          assert.match(truss.url ?? "", /^http:\/\/127\.0\.0\.1:\d+$/)
          const answer = yield* Effect.promise(() => fetch(`${truss.url}/api/webhooks/${webhook.id}`))
          assert.strictEqual(answer.status, 200)

          const waiting = outcomes.next()
          yield* Effect.promise(() => truss.stop())
          assert.isTrue((yield* Effect.promise(() => waiting)).done)
          assert.isUndefined(truss.url)
          assert.strictEqual((yield* rejected(() => truss.get(webhook.id))).code, "NotStarted")

          yield* run("INSERT INTO orders VALUES (2, 'later')")
          yield* Effect.promise(() => truss.start())
          const again = follow(truss, webhook.id, first.id)
          assert.deepInclude((yield* Effect.promise(() => again.next())).value.payload.row, { id: 2, note: "later" })
          yield* Effect.promise(async () => void await again.return?.())
          yield* Effect.promise(() => truss.remove(webhook.id))
          assert.strictEqual((yield* rejected(() => truss.get(webhook.id))).code, "WebhookNotFound")
          assert.strictEqual((yield* rejected(() => follow(truss, webhook.id).next())).code, "WebhookNotFound")
        }).pipe(Effect.scoped),
      60_000
    )

    it.effect(
      "reaches nothing private unless told to, and says why something is refused",
      () =>
        Effect.gen(function*() {
          yield* run("CREATE TABLE IF NOT EXISTS orders (id int PRIMARY KEY, note text)")
          const truss = yield* create({ egressAllow: undefined })
          yield* Effect.promise(() => truss.start())
          assert.isUndefined(truss.url)
          const input = {
            name: "orders",
            table_name: "orders",
            events: ["INSERT"],
            url: "http://127.0.0.1:1/"
          } as const
          const refused = yield* rejected(() => truss.register(input))
          assert.deepStrictEqual(
            [refused.code, /127\.0\.0\.1/.test(refused.message)],
            ["UrlNotAllowed", true],
            refused.message
          )
          const unknown = yield* rejected(() =>
            truss.register({ ...input, url: "https://example.com/", table_name: "nope" })
          )
          assert.strictEqual(unknown.code, "TableNotWatchable")
          assert.match(unknown.message, /nope/)
        }).pipe(Effect.scoped),
      60_000
    )

    it.effect(
      "delivers what is registered while it runs, with and without notifications",
      () =>
        Effect.gen(function*() {
          const receiver = yield* Receiver
          for (const listen of ["auto", "off"] as const) {
            yield* run(`CREATE TABLE late_${listen} (id int PRIMARY KEY)`)
            const truss = yield* create({ listen })
            yield* Effect.promise(() => truss.start())
            const url = receiver.url(`/${listen}`)
            yield* Effect.promise(() =>
              truss.register({ name: listen, table_name: `late_${listen}`, events: ["INSERT"], url })
            )
            yield* run(`INSERT INTO late_${listen} VALUES (1)`)
            yield* receiver.waitFor(`/${listen}`, 1)
            yield* Effect.promise(() => truss.stop())
          }
        }).pipe(Effect.scoped),
      60_000
    )

    it.effect("gives changes to a function until it succeeds, as long as it runs", () =>
      Effect.gen(function*() {
        yield* run("CREATE TABLE parcels (id int PRIMARY KEY, note text)")
        const truss = yield* create()
        const subscription = { name: "parcels", table_name: "parcels", events: ["INSERT"] } as const
        const seen: Array<string> = []
        const receive = async (change: Change<{ id: number }>, { id, signal }: { id: string; signal: AbortSignal }) => {
          assert.isFalse(signal.aborted)
          if (seen.push(`${change.row?.id} ${id}`) === 1) throw new Error("not yet")
        }
        assert.strictEqual((yield* rejected(() => truss.subscribe(subscription, receive))).code, "NotStarted")
        yield* Effect.promise(() => truss.start())
        const webhook = yield* Effect.promise(() => truss.subscribe(subscription, receive))
        assert.deepInclude(webhook, { url: "in-process:parcels", subscriber: "connected" })
        assert.strictEqual((yield* rejected(() => truss.subscribe(subscription, receive))).code, "AlreadySubscribed")
        const outcomes = follow(truss, webhook.id)
        yield* run("INSERT INTO parcels VALUES (1)")
        yield* until("it to fail", Effect.sync(() => seen.length), (count) => count === 1)
        yield* until(
          "its retry to be due",
          Effect.andThen(
            run(`UPDATE truss.due SET at = now()`, `NOTIFY truss, 'webhook ${webhook.id}'`),
            Effect.sync(() => seen.length)
          ),
          (count) => count === 2
        )
        assert.strictEqual(seen[1], seen[0])
        yield* Effect.promise(async () => void await outcomes.return?.())
        yield* Effect.promise(() => truss.stop())
        yield* Effect.promise(() => truss.start())
        assert.strictEqual((yield* Effect.promise(() => truss.subscribe(subscription, receive))).id, webhook.id)
        yield* Effect.promise(() => truss.remove(webhook.id))
      }).pipe(Effect.scoped), 60_000)

    it.effect("gives changes to a loop, and again what a loop was left at", () =>
      Effect.gen(function*() {
        yield* run("CREATE TABLE looped (id int PRIMARY KEY)")
        const truss = yield* create()
        const subscription = { name: "looped", table_name: "looped", events: ["INSERT"], ordering: "strict" } as const
        const loop = () => truss.events<Change<{ id: number }>>(subscription)
        assert.strictEqual((yield* rejected(() => loop()[Symbol.asyncIterator]().next())).code, "NotStarted")
        yield* Effect.promise(() => truss.start())
        const seen: Array<number | undefined> = []
        const left = Effect.promise(async () => {
          for await (const { change } of loop()) {
            seen.push(change.row?.id)
            if (seen.length === 2) break
          }
        })
        const leaving = yield* Effect.forkChild(left)
        const find = Effect.promise(async () => (await truss.list()).data.find(({ name }) => name === "looped"))
        const webhook = yield* until("the webhook", find, (found) => found !== undefined)
        const { id } = webhook!
        assert.deepInclude(webhook, { url: "in-process:looped", concurrency: 1 })
        yield* run("INSERT INTO looped SELECT generate_series(1, 4)")
        yield* Fiber.join(leaving)
        assert.deepStrictEqual(seen, [1, 2])
        const get = Effect.promise(() => truss.get(id))
        yield* until("it to be missed", get, ({ subscriber }) => subscriber === "missing")

        const again = loop()[Symbol.asyncIterator]()
        const next = Effect.promise(() => again.next())
        const second = yield* Effect.forkChild(next)
        yield* until("it to be there", get, ({ subscriber }) => subscriber === "connected")
        yield* run("UPDATE truss.due SET at = now()", `NOTIFY truss, 'webhook ${id}'`)
        const values = [(yield* Fiber.join(second)).value, (yield* next).value, (yield* next).value]
        assert.deepStrictEqual(values.map(({ change }) => change.row.id), [2, 3, 4])
        const last = yield* Effect.forkChild(next)
        yield* until("all to be dealt with", get, ({ backlog }) => backlog === 0)
        yield* Effect.promise(() => truss.stop())
        assert.isTrue((yield* Fiber.join(last)).done)
        assert.isTrue((yield* next).done)
      }).pipe(Effect.scoped), 60_000)

    it.effect("can be started again after it could not start", () =>
      Effect.gen(function*() {
        const { url } = yield* TestDatabase
        const nobody = new URL(url)
        nobody.pathname = "/not_there"
        const truss = yield* create({ databaseUrl: nobody.href })
        for (let i = 0; i < 2; i++) {
          const error = yield* rejected(() => truss.start())
          assert.match(error.message, /not_there/)
          assert.strictEqual((yield* rejected(() => truss.list())).code, "NotStarted")
        }
      }).pipe(Effect.scoped), 60_000)

    it.effect("stands by where another delivers, and takes over when that stops", () =>
      Effect.gen(function*() {
        const receiver = yield* Receiver
        yield* run("CREATE TABLE shared (id int PRIMARY KEY)")
        const [one, other] = [yield* create(), yield* create()]
        yield* Effect.promise(() => one.start())
        yield* Effect.promise(() => other.start())
        const input = { name: "shared", table_name: "shared", events: ["INSERT"], url: receiver.url("/s") } as const
        const webhooks = yield* Effect.promise(() => Promise.all([one.register(input), other.register(input)]))
        assert.strictEqual(webhooks[0].id, webhooks[1].id)
        yield* run("INSERT INTO shared VALUES (1)")
        yield* receiver.waitFor("/s", 1)
        yield* Effect.promise(() => one.stop())
        yield* run("INSERT INTO shared VALUES (2)")
        yield* until("the second", Effect.sync(() => receiver.at("/s").length), (count) => count === 2)
      }).pipe(Effect.scoped), 60_000)
  })
})
