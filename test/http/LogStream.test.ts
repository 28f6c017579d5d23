import { assert, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Scope } from "effect"
import type { LogEntry } from "../../src/domain/Attempt.ts"
import { Receiver } from "../support/Receiver.ts"
import { Application, RunningService, until } from "../support/RunningService.ts"

/** A block of an event stream. */
interface Block {
  readonly id: string | undefined
  readonly event: string | undefined
  readonly data: string | undefined
  readonly comment: string | undefined
}

const field = (lines: ReadonlyArray<string>, name: string) =>
  lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)

const parse = (text: string): Block => {
  const lines = text.split("\n")
  return { id: field(lines, "id"), event: field(lines, "event"), data: field(lines, "data"), comment: field(lines, "") }
}

/** Follows a stream until the scope ends; `read` begins to read its body. */
const follow = Effect.fnUntraced(function*(
  id: string,
  options?: { readonly last?: string; readonly query?: string; readonly baseUrl?: string; readonly lazy?: boolean }
) {
  const { baseUrl } = yield* RunningService
  const cut = yield* Effect.acquireRelease(
    Effect.sync(() => new AbortController()),
    (cut) => Effect.sync(() => cut.abort())
  )
  const response = yield* Effect.promise(() =>
    fetch(`${options?.baseUrl ?? baseUrl}/api/webhooks/${id}/logs/stream${options?.query ?? ""}`, {
      signal: cut.signal,
      headers: options?.last === undefined ? {} : { "last-event-id": options.last }
    })
  )
  const blocks: Array<Block> = []
  const state = { ended: false }
  const read = Effect.sync(() => {
    void (async () => {
      let rest = ""
      try {
        for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
          const parts = (rest + text).split("\n\n")
          rest = parts.pop()!
          blocks.push(...parts.map(parse))
        }
      } catch {
        // Cut by the test, or by the server.
      }
      state.ended = true
    })()
  })
  if (options?.lazy !== true) yield* read
  const wait = (what: string, holds: (blocks: ReadonlyArray<Block>) => boolean) =>
    until(what, Effect.sync(() => blocks), holds, 30_000)
  const entries = () => blocks.filter(({ event }) => event === "entry")
  return {
    response,
    blocks,
    read,
    /** The entries, once there are so many. */
    entries: (count: number) => Effect.map(wait(`${count} entries`, () => entries().length >= count), entries),
    begun: wait("the beginning", (blocks) => blocks.length > 0),
    ended: until("the end of the stream", Effect.sync(() => state.ended), (ended) => ended),
    wait
  }
})

const webhook = Effect.fnUntraced(function*(table: string, more?: Readonly<Record<string, unknown>>) {
  const sql = yield* Application
  const service = yield* RunningService
  const receiver = yield* Receiver
  yield* sql.unsafe(`CREATE TABLE ${table} (id int PRIMARY KEY, n numeric, doc json, note text)`)
  return yield* service.create({ table_name: table, url: receiver.url(`/${table}`), ...more })
})

const run = (statement: string) => Effect.flatMap(Application, (sql) => sql.unsafe(statement))

const ids = (entries: ReadonlyArray<{ readonly id?: string | undefined }>) => entries.map(({ id }) => id)

it.layer(Layer.merge(RunningService.layer(), Receiver.layer), { excludeTestServices: true })(
  "the stream of a log",
  (it) => {
    it.effect("begins at once, and has each entry as it is written, digit for digit and on one line", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const { id } = yield* webhook("streamed")
        const stream = yield* follow(id)
        assert.strictEqual(stream.response.status, 200)
        assert.strictEqual(stream.response.headers.get("content-type"), "text/event-stream")
        assert.include(stream.response.headers.get("cache-control") ?? "", "no-cache")
        assert.strictEqual(stream.response.headers.get("x-accel-buffering"), "no")
        yield* stream.begun
        yield* run(`INSERT INTO streamed VALUES (1, 12345678901234567890.1234567890, E'{\\n  "a": 1.10\\r\\n}')`)
        const [entry] = yield* stream.entries(1)
        const logged = yield* service.ask("GET", `/webhooks/${id}/logs/${entry!.id}`)
        assert.strictEqual(logged.status, 200)
        assert.strictEqual(entry!.data!.replaceAll(/\s/g, ""), logged.text.replaceAll(/\s/g, ""))
        assert.include(entry!.data!, "12345678901234567890.1234567890")
        assert.include(entry!.data!, "\"a\": 1.10")
        assert.strictEqual(JSON.parse(entry!.data!).id, entry!.id)
      }))

    it.effect("resumes without a gap and without a repeat, by header and by query, and goes on with what is new", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const { id } = yield* webhook("resumed")
        yield* run("INSERT INTO resumed SELECT generate_series(1, 600)")
        const log = ids(yield* service.log(id, 600))
        const byHeader = yield* follow(id, { last: log[100]!, query: `?last_event_id=${log[0]}` })
        const byQuery = yield* follow(id, { query: `?last_event_id=${log[597]}` })
        assert.deepStrictEqual(ids(yield* byHeader.entries(499)), log.slice(101))
        assert.deepStrictEqual(ids(yield* byQuery.entries(2)), log.slice(598))
        yield* run("INSERT INTO resumed SELECT generate_series(601, 700)")
        const whole = ids(yield* service.log(id, 700))
        assert.deepStrictEqual(ids(yield* byHeader.entries(599)), whole.slice(101))
        assert.deepStrictEqual(ids(yield* byQuery.entries(102)), whole.slice(598))
      }))

    it.effect("has no gap and no repeat for one that comes again and again under load", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const { id } = yield* webhook("again")
        const first = (yield* (yield* follow(id)).begun)[0]!.id!
        const rows = 2000
        const writing = yield* Effect.forkChild(
          Effect.forEach(
            Array.from({ length: 40 }, (_, n) => n * 50),
            (n) => run(`INSERT INTO again SELECT generate_series(${n + 1}, ${n + 50})`)
          )
        )
        const got: Array<string | undefined> = []
        while (got.length < rows) {
          const some = yield* Effect.scoped(Effect.gen(function*() {
            const stream = yield* follow(id, { last: got.at(-1) ?? first })
            yield* stream.entries(1)
            return [...stream.blocks]
          }))
          assert.isUndefined(some.find(({ event }) => event === "reset"))
          got.push(...ids(some.filter(({ event }) => event === "entry")))
        }
        yield* Fiber.join(writing)
        assert.deepStrictEqual(got, ids(yield* service.log(id, rows)))
      }))

    it.effect("can be resumed although no entry was sent", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const { id } = yield* webhook("silent")
        const empty = (yield* (yield* follow(id)).begun)[0]!.id!
        yield* run("INSERT INTO silent VALUES (1)")
        const [first] = yield* service.log(id, 1)
        const behind = (yield* (yield* follow(id)).begun)[0]!.id!
        assert.strictEqual(behind, first!.id)
        yield* run("INSERT INTO silent VALUES (2)")
        const log = ids(yield* service.log(id, 2))
        assert.deepStrictEqual(ids(yield* (yield* follow(id, { last: empty })).entries(2)), log)
        assert.deepStrictEqual(ids(yield* (yield* follow(id, { last: behind })).entries(1)), log.slice(1))
      }))

    it.effect("begins with the oldest entry for one that was dropped, and with a reset for one that is unknown", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const { id } = yield* webhook("dropped", { concurrency: 1 })
        for (const n of [1, 2, 3]) {
          yield* run(`INSERT INTO dropped VALUES (${n})`)
          yield* service.log(id, n)
        }
        const log = yield* service.log(id, 3)
        const dropped = yield* run(
          `DELETE FROM truss.attempts WHERE webhook_id = '${id}'
            AND event_seq = (SELECT min(event_seq) FROM truss.attempts WHERE webhook_id = '${id}') RETURNING 1 AS n`
        )
        assert.strictEqual(dropped.length, 1)
        const oldest = yield* follow(id, { last: log[0]!.id })
        assert.deepStrictEqual(ids(yield* oldest.entries(2)), ids(log.slice(1)))
        assert.isUndefined(oldest.blocks.find(({ event }) => event === "reset"))
        const other = yield* webhook("dropped_elsewhere")
        yield* run("INSERT INTO dropped_elsewhere VALUES (1)")
        const [foreign] = yield* service.log(other.id, 1)
        for (const last of ["dlv_zzzzzz_1", "nonsense", "dlv_-1_0", "'", "x".repeat(8000), foreign!.id]) {
          const unknown = yield* follow(id, { last })
          yield* unknown.wait("the reset", (blocks) => blocks.some(({ event }) => event === "reset"))
          yield* run(`INSERT INTO dropped SELECT max(id) + 1 FROM dropped`)
          const [entry] = yield* unknown.entries(1)
          assert.strictEqual(entry!.id, (yield* service.logs(id)).data[0]!.id)
        }
      }))

    it.effect("is shared by many, and refused to one too many", () =>
      Effect.gen(function*() {
        const { id } = yield* webhook("shared")
        const streams = yield* Effect.forEach(Array.from({ length: 100 }), () => follow(id), { concurrency: 20 })
        yield* Effect.forEach(streams, ({ begun }) => begun, { concurrency: "unbounded" })
        const refused = yield* follow(id, { lazy: true })
        assert.strictEqual(refused.response.status, 503)
        assert.strictEqual(refused.response.headers.get("content-type"), "application/problem+json")
        assert.strictEqual(refused.response.headers.get("retry-after"), "1")
        const problem = yield* Effect.promise(() => refused.response.json() as Promise<{ readonly type: string }>)
        assert.strictEqual(problem.type, "urn:truss:problem:too-many-subscribers")
        yield* run("INSERT INTO shared SELECT generate_series(1, 50)")
        const [first, ...others] = yield* Effect.forEach(streams, (stream) => stream.entries(50), {
          concurrency: "unbounded"
        })
        for (const other of others) assert.deepStrictEqual(other, first)
        assert.strictEqual(new Set(ids(first!)).size, 50)
      }).pipe(
        Effect.scoped,
        Effect.andThen(Effect.gen(function*() {
          const service = yield* RunningService
          const { text } = yield* service.ask("GET", "/webhooks?table=shared")
          const again = yield* until(
            "room for another",
            Effect.map(follow(JSON.parse(text).data[0].id, { lazy: true }), ({ response }) => response.status),
            (status) => status === 200
          )
          assert.strictEqual(again, 200)
        }))
      ))

    it.effect("ends for a subscriber that does not keep up, and tells it where to go on", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const { id } = yield* webhook("flooded")
        const slow = yield* follow(id, { lazy: true })
        const quick = yield* follow(id)
        yield* quick.begun
        const rows = 60
        yield* run(`INSERT INTO flooded (id, note) SELECT n, repeat('x', 500000) FROM generate_series(1, ${rows}) n`)
        const all = ids(yield* quick.entries(rows))
        yield* slow.read
        yield* slow.ended
        const last = slow.blocks.at(-1)!
        assert.strictEqual(last.event, "overflow")
        assert.deepStrictEqual(JSON.parse(last.data!), { last_event_id: last.id })
        const got = slow.blocks.filter(({ event }) => event === "entry")
        assert.isBelow(got.length, rows)
        assert.strictEqual(got.at(-1)!.id, last.id)
        const rest = yield* follow(id, { last: last.id! })
        assert.deepStrictEqual([...ids(got), ...ids(yield* rest.entries(rows - got.length))], all)
        assert.strictEqual((yield* service.get(id)).fail_count, 0)
      }))

    it.effect("ends with its webhook, and is not there without one", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const { id } = yield* webhook("ended")
        const stream = yield* follow(id)
        yield* stream.begun
        yield* service.remove(id)
        yield* stream.ended
        for (const none of [id, "nonsense"]) assert.strictEqual((yield* follow(none)).response.status, 404)
        assert.strictEqual((yield* service.ask("HEAD", `/webhooks/${id}/logs/stream`)).status, 404)
      }))

    it.effect("is there on a process that stands by, and ends at once when that stops", () =>
      Effect.gen(function*() {
        const service = yield* RunningService
        const { id } = yield* webhook("elsewhere")
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(Layer.fresh(RunningService.layerOn()), scope)
        const stream = yield* follow(id, { baseUrl: Context.get(context, RunningService).baseUrl })
        yield* run("INSERT INTO elsewhere SELECT generate_series(1, 20)")
        const log: ReadonlyArray<LogEntry> = yield* service.log(id, 20)
        assert.deepStrictEqual(ids(yield* stream.entries(20)), ids(log))
        const before = Date.now()
        yield* Scope.close(scope, Exit.void)
        assert.isBelow(Date.now() - before, 3000)
        yield* stream.ended
      }))

    it.effect("shows that it lives while nothing happens", () =>
      Effect.gen(function*() {
        const { id } = yield* webhook("quiet")
        const stream = yield* follow(id)
        yield* stream.wait("a heartbeat", (blocks) => blocks.length > 1)
        assert.deepStrictEqual(stream.blocks.at(-1), {
          id: undefined,
          event: undefined,
          data: undefined,
          comment: "heartbeat"
        })
      }))
  }
)
