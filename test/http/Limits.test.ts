import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Receiver } from "../support/Receiver.ts"
import { Application, run, RunningService, until } from "../support/RunningService.ts"

it.layer(Layer.merge(RunningService.layer(), Receiver.layer), { excludeTestServices: true })("the API", (it) => {
  it.effect("gives up a question that the database does not answer within 10 s, and goes on", () =>
    Effect.gen(function*() {
      const sql = yield* Application
      const { ask, create, log } = yield* RunningService
      const receiver = yield* Receiver
      yield* run("CREATE TABLE held (id int PRIMARY KEY)")
      const { id } = yield* create({ table_name: "held", url: receiver.url("/held") })
      yield* run("INSERT INTO held VALUES (1)")
      const [entry] = yield* log(id, 1)
      const questions = [
        "/webhooks",
        `/webhooks/${id}`,
        `/webhooks/${id}/logs?status_code=500`,
        `/webhooks/${id}/logs/${entry!.id}`,
        `/webhooks/${id}/jobs`,
        `/events/${entry!.event_id}`,
        "/keys",
        "/audit"
      ]
      const ask503 = Effect.forEach(
        questions,
        (path) => Effect.map(ask("GET", path), (answer) => ({ path, ...answer })),
        {
          concurrency: "unbounded"
        }
      )
      // As an administrator who rebuilds a table, or a plan that reads it all, would.
      const answers = yield* sql.withTransaction(
        Effect.andThen(
          sql`LOCK TABLE truss.webhooks, truss.events, truss.jobs, truss.api_keys, truss.audit IN ACCESS EXCLUSIVE MODE`,
          ask503
        )
      )
      for (const { headers, path, status, text } of answers) {
        assert.strictEqual(status, 503, path)
        assert.strictEqual(headers.get("retry-after"), "1")
        assert.include(JSON.parse(text).detail, "over 10 s")
      }
      for (const path of questions) assert.strictEqual((yield* ask("GET", path)).status, 200, path)
      yield* run("INSERT INTO held VALUES (2)")
      yield* log(id, 2)
    }))

  it.effect("takes cursors only for the list and the order that they are of", () =>
    Effect.gen(function*() {
      const { ask, create, log } = yield* RunningService
      const receiver = yield* Receiver
      yield* run("CREATE TABLE paged (id int PRIMARY KEY)", "CREATE TABLE paged_too (id int PRIMARY KEY)")
      const { id } = yield* create({ table_name: "paged", url: receiver.url("/paged") })
      const other = yield* create({ table_name: "paged_too", url: receiver.url("/paged") })
      yield* run("INSERT INTO paged SELECT generate_series(1, 3)")
      yield* log(id, 3)
      yield* run("INSERT INTO paged_too SELECT generate_series(1, 3)")
      yield* log(other.id, 3)
      for (const outcome of ["success", "failed"]) yield* ask("POST", `/webhooks/${other.id}/replay`, { outcome })
      for (const outcome of ["success", "failed"]) yield* ask("POST", `/webhooks/${id}/replay`, { outcome })
      for (const name of ["a", "b"]) yield* ask("POST", "/keys", { name, scope: "read" })
      const lists = [
        "/webhooks",
        ...[id, other.id].flatMap((id) => [`/webhooks/${id}/logs`, `/webhooks/${id}/jobs`]),
        "/keys",
        "/audit",
        "/tables"
      ]
      const cursors = yield* Effect.forEach(lists, (list) =>
        Effect.map(ask("GET", `${list}?limit=1`), ({ text }) => JSON.parse(text).next_cursor as string))
      for (const cursor of cursors) {
        assert.isString(cursor)
      }
      const nonsense = [
        "-",
        "-1",
        "0x1",
        "1e3",
        "+5",
        " 7",
        "Zz",
        "é",
        "'",
        "1;--",
        "zzzzzzzzzzzzzz",
        "MCA",
        "x".repeat(512)
      ]
      for (const [index, list] of lists.entries()) {
        assert.strictEqual((yield* ask("GET", `${list}?limit=1&cursor=${cursors[index]}`)).status, 200, list)
        for (const cursor of nonsense) {
          const { status, text } = yield* ask("GET", `${list}?cursor=${encodeURIComponent(cursor)}`)
          assert.strictEqual(status, 400, `${list} ${cursor}`)
          assert.strictEqual(JSON.parse(text).errors[0].path, "cursor")
        }
        for (const [other, cursor] of cursors.entries()) {
          if (other === index) {
            continue
          }
          const { status } = yield* ask("GET", `${list}?cursor=${cursor}`)
          assert.strictEqual(status, 400, `${list} with the cursor of ${lists[other]}`)
        }
      }
    }))

  it.effect("pages through a log that grows, with every filter, without a gap or a repeat", () =>
    Effect.gen(function*() {
      const { create, log, logs } = yield* RunningService
      const receiver = yield* Receiver
      yield* run("CREATE TABLE growing (id int PRIMARY KEY)")
      const { id } = yield* create({ table_name: "growing", url: receiver.url("/growing"), max_attempts: 1 })
      receiver.respond("/growing", ({ body }) => ({ status: Number(body.row!["id"]) % 2 === 0 ? 200 : 500 }))
      yield* run("INSERT INTO growing SELECT generate_series(1, 9)")
      const before = yield* log(id, 9)
      const filters = [
        {},
        { event_type: "INSERT" },
        { outcome: "failed" },
        { status_code: 200 },
        { from: "2020-01-01", to: "2120-01-01" },
        { event_id: before[0]!.event_id }
      ]
      let inserted = 9
      for (const filter of filters) {
        const { data: expected } = yield* logs(id, { ...filter, limit: 500 })
        const seen: Array<string> = []
        let cursor: string | null = null
        do {
          const page: { data: ReadonlyArray<{ id: string }>; next_cursor: string | null } = yield* logs(id, {
            ...filter,
            limit: 2,
            ...(cursor === null ? {} : { cursor })
          })
          seen.push(...page.data.map((entry) => entry.id))
          cursor = page.next_cursor
          yield* run(`INSERT INTO growing VALUES (${++inserted})`)
          yield* log(id, inserted)
        } while (cursor !== null)
        assert.deepStrictEqual(seen, expected.map((entry) => entry.id), JSON.stringify(filter))
      }
    }))

  it.effect("shows numbers digit for digit, by every route that has a payload", () =>
    Effect.gen(function*() {
      const { ask, baseUrl, create, log } = yield* RunningService
      const receiver = yield* Receiver
      yield* run("CREATE TABLE digits (id bigint PRIMARY KEY, n numeric, doc json, docb jsonb)")
      const { id } = yield* create({ table_name: "digits", url: receiver.url("/digits") })
      const document = "{\"a\":1e400,\"b\":-0,\"c\":-0.0,\"d\":1.10,\"e\":12345678901234567890.123456789012345678}"
      yield* run(
        `INSERT INTO digits VALUES (9223372036854775807, 12345678901234567890.123456789012345678, '${document}', '${document}')`
      )
      const [entry] = yield* log(id, 1)
      const [received] = yield* receiver.waitFor("/digits", 1)
      const body = received!.text
      for (
        const part of [
          "9223372036854775807",
          "\"n\":12345678901234567890.123456789012345678",
          document,
          `"a": 1${"0".repeat(400)}`
        ]
      ) {
        assert.include(body, part)
      }
      const replayed = yield* ask("POST", `/webhooks/${id}/replay/${entry!.id}`)
      const preview = yield* ask("POST", "/webhooks/preview", { table_name: "digits" })
      const stream = yield* Effect.promise(async () => {
        const answer = await fetch(`${baseUrl}/api/webhooks/${id}/logs/stream`, {
          headers: { "last-event-id": entry!.id }
        })
        const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
        let text = ""
        while (!text.includes("event: entry")) text += (await reader.read()).value ?? ""
        await reader.cancel()
        return { text }
      })
      const answers = [
        yield* ask("GET", `/webhooks/${id}/logs`),
        yield* ask("GET", `/webhooks/${id}/logs/${entry!.id}`),
        yield* ask("GET", `/events/${entry!.event_id}`),
        replayed,
        preview,
        stream
      ]
      for (const [index, { text }] of answers.entries()) assert.include(text, body, `answer ${index}`)
    }))

  it.effect("lists 10,000 webhooks page by page, complete while others come and go, with a query a page", () =>
    Effect.gen(function*() {
      const sql = yield* Application
      const { ask } = yield* RunningService
      yield* run(
        "CREATE TABLE crowded (id int)",
        "INSERT INTO truss.tables (table_schema, table_name) VALUES ('public', 'crowded')",
        `WITH made AS (
          INSERT INTO truss.webhooks (name, table_id, events, url, headers, active, disabled_reason, concurrency, timeout_ms,
            max_attempts)
          SELECT 'w' || n, (SELECT id FROM truss.tables WHERE table_name = 'crowded'), '{INSERT}', 'http://localhost:1/',
            '{}', false, 'paused', 16, 1000, 1 FROM generate_series(1, 10000) n RETURNING id
        ) INSERT INTO truss.cursors (webhook_id, seen) SELECT id, pg_current_snapshot() FROM made`
      )
      const insert = (name: string) =>
        sql.unsafe(
          `WITH made AS (
            INSERT INTO truss.webhooks (name, table_id, events, url, headers, active, disabled_reason, concurrency,
              timeout_ms, max_attempts)
            SELECT '${name}', id, '{INSERT}', 'http://localhost:1/', '{}', false, 'paused', 16, 1000, 1
            FROM truss.tables WHERE table_name = 'crowded' RETURNING id
          ) INSERT INTO truss.cursors (webhook_id, seen) SELECT id, pg_current_snapshot() FROM made`
        )
      const seen: Array<string> = []
      let cursor: string | null = null
      let pages = 0
      do {
        const { text }: { text: string } = yield* ask(
          "GET",
          `/webhooks?limit=500&table=crowded${cursor === null ? "" : `&cursor=${cursor}`}`
        )
        const page: { data: ReadonlyArray<{ name: string }>; next_cursor: string | null } = JSON.parse(text)
        seen.push(...page.data.map(({ name }) => name))
        cursor = page.next_cursor
        pages++
        // One that was seen and one that was not go, and one comes.
        yield* run(`DELETE FROM truss.webhooks WHERE name = '${page.data[0]!.name}'`)
        if (pages === 1) yield* run("DELETE FROM truss.webhooks WHERE name IN ('w9999', 'w10000')")
        if (pages <= 3) yield* insert(`late${pages}`)
      } while (cursor !== null)
      const expected = [
        ...Array.from({ length: 9998 }, (_, n) => `w${n + 1}`),
        "late1",
        "late2",
        "late3"
      ]
      assert.strictEqual(new Set(seen).size, seen.length)
      assert.deepStrictEqual(seen.toSorted(), expected.toSorted())
      assert.strictEqual(pages, 21)
      yield* run(
        "DELETE FROM truss.webhooks WHERE table_id = (SELECT id FROM truss.tables WHERE table_name = 'crowded')"
      )
      yield* until(
        "the webhooks to go",
        ask("GET", "/webhooks?table=crowded"),
        ({ text }) => JSON.parse(text).data.length === 0
      )
    }))
})
