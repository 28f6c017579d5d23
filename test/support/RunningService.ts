import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted, References, Schedule } from "effect"
import { HttpServer } from "effect/http"
import type { LogEntry } from "../../src/domain/Attempt.ts"
import { loopback } from "../../src/domain/EgressAllow.ts"
import type { Webhook } from "../../src/domain/Webhook.ts"
import { layerService, layerServices, type ServiceOptions } from "../../src/Service.ts"
import { layerDatabase } from "../../src/services/Database.ts"
import { migrate } from "../../src/services/Migrations.ts"
import { Secrets } from "../../src/services/Secrets.ts"
import { TestDatabase } from "./Database.ts"
import { testKeys } from "./Encryption.ts"

export const defaultMaxPayload = 1_048_576

const quiet = Layer.succeed(References.MinimumLogLevel, "Fatal")

/** Connects as the application whose tables are watched would. One connection unless said. */
export const connect = Effect.fnUntraced(function*(options?: Omit<Parameters<typeof PgClient.layer>[0], "url">) {
  const { url } = yield* TestDatabase
  const context = yield* Layer.build(
    Layer.fresh(PgClient.layer({ maxConnections: 1, ...options, url: Redacted.make(url) }))
  )
  return Context.get(context, PgClient.PgClient)
})

/** The application's connections to the database under test, none of the service's. */
export class Application extends Context.Service<Application, PgClient.PgClient>()("truss/test/Application") {
  static readonly layer = Layer.effect(
    Application,
    connect({ maxConnections: 32, startupParameters: { timezone: "Asia/Kathmandu" } })
  )
}

/** Runs statements as the application, one transaction each. */
export const run = Effect.fnUntraced(function*(...statements: ReadonlyArray<string>) {
  const sql = yield* Application
  for (const statement of statements) yield* sql.unsafe(statement)
})

/** Asks every few milliseconds until it holds: for facts that only the database knows. */
export const until = <A, E, R>(
  what: string,
  ask: Effect.Effect<A, E, R>,
  holds: (value: A) => boolean,
  timeoutMs = 20_000
): Effect.Effect<A, E, R> =>
  ask.pipe(
    Effect.repeat({ until: holds, schedule: Schedule.spaced("10 millis") }),
    Effect.timeoutOrElse({ duration: timeoutMs, orElse: () => Effect.die(new Error(`never came true: ${what}`)) })
  ) as Effect.Effect<A, E, R>

/** A fresh database with the schema and every service, but neither HTTP nor listener. */
export const layerInstalled = (options?: Partial<Parameters<typeof layerServices>[0]>) =>
  Layer.effectDiscard(Effect.andThen(migrate(), Effect.flatMap(Secrets, ({ admit }) => admit))).pipe(
    Layer.provideMerge(
      layerServices({
        encryptionKeys: testKeys,
        maxPayload: defaultMaxPayload,
        egress: { allow: loopback },
        ...options
      })
    ),
    Layer.provideMerge(
      Layer.unwrap(Effect.map(TestDatabase, ({ url }) => layerDatabase({ url: Redacted.make(url) })))
    ),
    Layer.provideMerge(Application.layer),
    Layer.provideMerge(TestDatabase.layerUrl),
    Layer.provide(quiet)
  )

export interface ApiAnswer {
  readonly status: number
  readonly text: string
  readonly headers: Headers
}

export interface LogPage {
  readonly data: ReadonlyArray<LogEntry>
  readonly next_cursor: string | null
}

/** Whatever differs from an open service on any free port. */
export type RunningOptions = Partial<Omit<ServiceOptions, "database" | "http">> & {
  readonly http?: Partial<ServiceOptions["http"]>
}

/** The service as `serve` runs it, on a database of its own and any free port, and how to ask it. */
export class RunningService extends Context.Service<RunningService, {
  readonly baseUrl: string
  readonly ask: (method: string, path: string, body?: unknown) => Effect.Effect<ApiAnswer>
  /** Creates a webhook for every kind of change; fails the test unless it answers 201. */
  readonly create: (
    input: { readonly table_name: string; readonly url: string } & Readonly<Record<string, unknown>>
  ) => Effect.Effect<Webhook>
  readonly get: (id: string) => Effect.Effect<Webhook>
  readonly patch: (id: string, input: Readonly<Record<string, unknown>>) => Effect.Effect<Webhook>
  readonly remove: (id: string) => Effect.Effect<void>
  /** Newest first. */
  readonly logs: (id: string, query?: Readonly<Record<string, string | number>>) => Effect.Effect<LogPage>
  /** Every entry, oldest first, once `holds` does. */
  readonly log: (
    id: string,
    holds: number | ((entries: ReadonlyArray<LogEntry>) => boolean)
  ) => Effect.Effect<ReadonlyArray<LogEntry>>
}>()("truss/test/RunningService") {
  /** On a database that is there already, so that it can end and begin again. */
  static readonly layerOn = (options?: RunningOptions) =>
    Layer.effect(
      RunningService,
      Effect.gen(function*() {
        const { address } = yield* HttpServer.HttpServer
        const baseUrl = `http://127.0.0.1:${"port" in address ? address.port : 0}`
        const ask = Effect.fnUntraced(function*(method: string, path: string, body?: unknown) {
          const response = yield* Effect.promise(() =>
            fetch(`${baseUrl}/api${path}`, {
              method,
              ...(body === undefined
                ? {}
                : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
            })
          )
          const text = yield* Effect.promise(() => response.text())
          return { status: response.status, text, headers: response.headers }
        })
        const expect = <A>(status: number, method: string, path: string, body?: unknown): Effect.Effect<A> =>
          Effect.flatMap(ask(method, path, body), (answer) =>
            answer.status === status
              ? Effect.sync(() => (answer.text === "" ? undefined : JSON.parse(answer.text)) as A)
              : Effect.die(new Error(`${method} ${path} answered ${answer.status}: ${answer.text}`)))
        const logs = (id: string, query: Readonly<Record<string, string | number>> = {}) => {
          const text = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]))
          return expect<LogPage>(200, "GET", `/webhooks/${id}/logs?${text}`)
        }
        const all = Effect.fnUntraced(function*(id: string) {
          const entries: Array<LogEntry> = []
          let cursor: string | null = null
          do {
            const page: LogPage = yield* logs(id, { limit: 500, ...(cursor === null ? {} : { cursor }) })
            entries.push(...page.data)
            cursor = page.next_cursor
          } while (cursor !== null)
          return entries.toReversed()
        })
        return {
          baseUrl,
          ask,
          create: (input) =>
            expect<Webhook>(201, "POST", "/webhooks", {
              name: input.table_name,
              events: ["INSERT", "UPDATE", "DELETE", "TRUNCATE"],
              ...input
            }),
          get: (id) => expect<Webhook>(200, "GET", `/webhooks/${id}`),
          patch: (id, input) => expect<Webhook>(200, "PATCH", `/webhooks/${id}`, input),
          remove: (id) => expect<void>(204, "DELETE", `/webhooks/${id}`),
          logs,
          log: (id, holds) =>
            until(
              `the log of ${id}`,
              all(id),
              typeof holds === "number" ? (entries) => entries.length >= holds : holds
            )
        }
      })
    ).pipe(
      Layer.provideMerge(Layer.unwrap(Effect.map(TestDatabase, ({ url }) =>
        layerService({
          encryptionKeys: testKeys,
          concurrency: 256,
          retentionDays: 7,
          maxPayload: defaultMaxPayload,
          listen: "auto",
          ...options,
          database: { url: Redacted.make(url) },
          http: { host: "127.0.0.1", port: 0, auth: "open", ...options?.http }
        })))),
      // For tests that look into the service's tables, which does not give its own client away.
      Layer.provideMerge(Layer.effect(PgClient.PgClient, connect())),
      Layer.provide(quiet)
    )

  static readonly layer = (options?: RunningOptions) =>
    RunningService.layerOn(options).pipe(
      Layer.provideMerge(Application.layer),
      Layer.provideMerge(TestDatabase.layerUrl)
    )
}
