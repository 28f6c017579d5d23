import { Context, Deferred, Effect, Layer, Redacted } from "effect"
import { HttpServer } from "effect/http"
import { connect } from "node:net"
import { ApiKeyNotFound } from "../../src/domain/ApiKey.ts"
import {
  DatabaseUnavailable,
  EventNotWaiting,
  InvalidFilter,
  InvalidParameter,
  LogEntryNotFound,
  TableLocked,
  TableMismatch,
  TableNotWatchable,
  WebhookNotFound
} from "../../src/domain/Errors.ts"
import type { SecretRotation } from "../../src/domain/SecretRotation.ts"
import { type WebhookCreate, WebhookId } from "../../src/domain/Webhook.ts"
import * as Server from "../../src/http/Server.ts"
import { ApiKeys, type KeyOwner } from "../../src/services/ApiKeys.ts"
import { Actor, Audit } from "../../src/services/Audit.ts"
import { DeliveryLog, type LogQuery } from "../../src/services/DeliveryLog.ts"
import { EventHistories } from "../../src/services/EventHistories.ts"
import { Health } from "../../src/services/Health.ts"
import { IdempotencyKeys } from "../../src/services/IdempotencyKeys.ts"
import { Jobs } from "../../src/services/Jobs.ts"
import { LogTails } from "../../src/services/LogTails.ts"
import { ManualDelivery } from "../../src/services/ManualDelivery.ts"
import { Preview } from "../../src/services/Preview.ts"
import { Reconciler } from "../../src/services/Reconciler.ts"
import { RowQueue } from "../../src/services/RowQueue.ts"
import { Runners } from "../../src/services/Runners.ts"
import { SecretRotator } from "../../src/services/SecretRotator.ts"
import { Sessions } from "../../src/services/Sessions.ts"
import { Standing } from "../../src/services/Standing.ts"
import { Statistics } from "../../src/services/Statistics.ts"
import { Tables } from "../../src/services/Tables.ts"
import { type VersionedWebhook, type WebhookQuery, Webhooks } from "../../src/services/Webhooks.ts"

export const writeKey = `truss_sk_${"w".repeat(43)}`
export const readKey = `truss_sk_${"r".repeat(43)}`

/** A log entry whose payload no JavaScript number can hold. */
export const entryText = (id: string) =>
  `{"id":"${id}","webhook_id":"wh","event_id":"evt_1","event_type":"INSERT","attempt":1,` +
  `"payload":{"event":"INSERT","row":{"n":12345678901234567890.123456789012345678901}},"status_code":200,` +
  `"response_body":"ok","latency_ms":1.5,"error":null,"outcome":"success","next_attempt_at":null,"replay_of":null,` +
  `"created_at":"2025-01-15T10:00:00.000Z"}`

const away = new DatabaseUnavailable({ detail: "connect ECONNREFUSED db.internal" })

/** What was asked of the services last. */
export class Asked extends Context.Service<Asked, {
  webhooks?: WebhookQuery
  logs?: LogQuery
  rotation?: SecretRotation & { readonly actor: string }
  /** Done when the service was asked for the table `slow`, and waits for ever. */
  readonly slow: Deferred.Deferred<void>
}>()("truss/test/Asked") {
  static readonly layer = Layer.effect(Asked, Effect.map(Deferred.make<void>(), (slow) => ({ slow })))
}

const webhooks = Layer.effect(
  Webhooks,
  Effect.gen(function*() {
    const asked = yield* Asked
    const stored = new Map<string, VersionedWebhook>()
    const find = (id: string) =>
      Effect.suspend(() => {
        const webhook = stored.get(id)
        return webhook === undefined ? Effect.fail(new WebhookNotFound({ id })) : Effect.succeed(webhook)
      })
    const watch = (table: string | undefined) =>
      Effect.suspend((): Effect.Effect<void, TableLocked | TableNotWatchable | DatabaseUnavailable> => {
        switch (table) {
          case "locked":
            return Effect.fail(new TableLocked({ detail: "public.locked is locked by others" }))
          case "nowhere":
            return Effect.fail(new TableNotWatchable({ reason: "not_found", detail: "public.nowhere does not exist" }))
          case "away":
            return Effect.fail(away)
          case "broken":
            return Effect.die(new Error("a secret of the service"))
          case "slow":
            return Effect.andThen(Deferred.succeed(asked.slow, undefined), Effect.never)
          default:
            return Effect.void
        }
      })
    const show = ({ secret, ...input }: WebhookCreate): VersionedWebhook => ({
      ...input,
      version: "1",
      id: WebhookId.make(crypto.randomUUID()),
      has_secret: secret !== undefined && secret !== null,
      fail_count: 0,
      disabled_reason: null,
      circuit: "closed",
      subscriber: null,
      next_probe_at: null,
      backlog: 0,
      last_delivery_at: null,
      last_status_code: null,
      created_at: "2025-01-15T10:00:00.000Z",
      updated_at: "2025-01-15T10:00:00.000Z"
    })
    return Webhooks.of({
      create: (input) =>
        Effect.as(watch(input.table_name), show(input)).pipe(
          Effect.tap((webhook) => Effect.sync(() => stored.set(webhook.id, webhook)))
        ),
      list: (query) =>
        Effect.suspend(() => {
          asked.webhooks = query
          return query.cursor === "nonsense"
            ? Effect.fail(new InvalidParameter({ path: "cursor", message: "is not a cursor of ours" }))
            : Effect.succeed({ data: [...stored.values()], next_cursor: null })
        }),
      get: find,
      patch: (id, { secret, ...input }) =>
        Effect.flatMap(find(id), (webhook) =>
          Effect.as(watch(input.table_name), {
            ...webhook,
            ...input,
            has_secret: secret === undefined ? webhook.has_secret : secret !== null
          })),
      remove: (id) => Effect.flatMap(find(id), () => Effect.sync(() => void stored.delete(id)))
    })
  })
)

const log = Layer.effect(
  DeliveryLog,
  Effect.gen(function*() {
    const asked = yield* Asked
    const all = yield* Webhooks
    return DeliveryLog.of({
      list: (id, query) =>
        Effect.andThen(
          all.get(id),
          Effect.sync(() => {
            asked.logs = query
            return `{"data":[${entryText("dlv_1")}],"next_cursor":null}`
          })
        ),
      get: (id, logId) =>
        Effect.andThen(
          all.get(id),
          logId === "dlv_1" ? Effect.succeed(entryText(logId)) : Effect.fail(new LogEntryNotFound({ id: logId }))
        ),
      delivery: () => Effect.die("not asked over HTTP")
    })
  })
)

const manual = Layer.effect(
  ManualDelivery,
  Effect.gen(function*() {
    const all = yield* Webhooks
    const entries = yield* DeliveryLog
    return ManualDelivery.of({
      test: (id) =>
        Effect.as(
          all.get(id),
          { log_id: "dlv_2", status_code: 500, response_body: "no", latency_ms: 2.25, error: null }
        ),
      replay: (id, logId) => Effect.as(entries.get(id, logId), entryText("dlv_3"))
    })
  })
)

const preview = Layer.succeed(Preview, {
  of: ({ columns, events, filter, table_name, table_schema }) => {
    switch (table_name) {
      case "nowhere":
        return Effect.fail(new TableNotWatchable({ reason: "not_found", detail: "public.nowhere does not exist" }))
      case "lacking":
        return Effect.fail(
          new TableMismatch({ faults: [{ path: "columns.1", message: "public.lacking has no column b" }] })
        )
      case "unfit":
        return Effect.fail(
          new InvalidFilter({
            faults: [{ path: "filter.0.value", message: "is no value of the column's type integer" }]
          })
        )
      default:
        return Effect.succeed(
          `{"considered":1000,"would_fire":1,"samples":[{"n":12345678901234567890.10,"asked":` +
            `${JSON.stringify({ table_schema, table_name, events, columns, filter })}}]}`
        )
    }
  }
})

const rotator = Layer.effect(
  SecretRotator,
  Effect.gen(function*() {
    const all = yield* Webhooks
    const asked = yield* Asked
    return SecretRotator.of({
      rotate: (id, rotation) =>
        Effect.flatMap(all.get(id), () =>
          Effect.map(Actor, (actor) => {
            asked.rotation = { ...rotation, actor }
            return { secret: rotation.secret ?? "whsec_new", previous_valid_until: "2025-01-16T10:00:00.000Z" }
          }))
    })
  })
)

const keys = Layer.succeed(ApiKeys, {
  create: () => Effect.die("not here"),
  list: Effect.succeed([]),
  page: () => Effect.succeed({ data: [], next_cursor: null }),
  revoke: (id) => Effect.fail(new ApiKeyNotFound({ id })),
  verify: (key): Effect.Effect<KeyOwner | undefined, DatabaseUnavailable> => {
    switch (Redacted.value(key)) {
      case writeKey:
        return Effect.succeed({ id: "1", name: "writer", scope: "write" })
      case readKey:
        return Effect.succeed({ id: "2", name: "reader", scope: "read" })
      case "away":
        return Effect.fail(away)
      default:
        return Effect.succeed(undefined)
    }
  },
  any: Effect.succeed(true)
})

const elsewhere = Effect.die("tested with a database")
const repair = Layer.mergeAll(
  Layer.succeed(EventHistories, { get: () => elsewhere }),
  Layer.succeed(IdempotencyKeys, {
    claim: () => elsewhere,
    renew: () => elsewhere,
    keep: () => elsewhere,
    release: () => elsewhere,
    forget: elsewhere
  }),
  Layer.succeed(Sessions, {
    create: () => elsewhere,
    verify: () => elsewhere,
    end: () => elsewhere,
    forget: elsewhere
  }),
  Layer.succeed(LogTails, { open: () => elsewhere, end: Effect.void }),
  Layer.succeed(Reconciler, { reconcile: () => elsewhere }),
  Layer.succeed(Audit, { record: () => elsewhere, list: () => elsewhere }),
  Layer.succeed(Statistics, { of: () => elsewhere, ofAll: () => elsewhere }),
  Layer.succeed(Runners, { cluster: elsewhere, join: () => elsewhere }),
  Layer.succeed(Standing, { refresh: Effect.void }),
  Layer.succeed(Tables, { list: () => elsewhere }),
  Layer.succeed(Jobs, {
    replay: () => elsewhere,
    recover: () => elsewhere,
    list: () => elsewhere,
    cancel: () => elsewhere,
    next: () => elsewhere,
    isCancelled: () => elsewhere,
    advance: () => elsewhere
  }),
  Layer.succeed(RowQueue, {
    arrange: () => elsewhere,
    release: () => elsewhere,
    skip: (id, eventId) =>
      Effect.fail(id === "nobody" ? new WebhookNotFound({ id }) : new EventNotWaiting({ id: eventId }))
  })
)

/** The services, in memory. Some tables' names make them fail: `locked`, `nowhere`, `away`, `broken`, `slow`. */
export const layerServices = Layer.mergeAll(manual, repair, preview, rotator, keys, Health.layer).pipe(
  Layer.provideMerge(log),
  Layer.provideMerge(webhooks),
  Layer.provideMerge(Asked.layer)
)

/** An answer with its body as text and, where it is JSON, as a value. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly json: any
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What a server answers to these bytes, read until it closes the connection or `until` holds. */
export const raw = (port: number, bytes: string | ReadonlyArray<string>, until = (_: string) => false) =>
  Effect.callback<string>((resume) => {
    let answer = ""
    const socket = connect(port, "127.0.0.1", () => {
      for (const part of typeof bytes === "string" ? [bytes] : bytes) socket.write(part, "latin1")
    })
    const done = () => {
      socket.destroy()
      resume(Effect.succeed(answer))
    }
    socket.on("data", (data) => {
      answer += data.toString("latin1")
      if (until(answer)) done()
    })
    socket.on("error", done)
    socket.on("close", done)
    return Effect.sync(() => socket.destroy())
  })

/** A server on a free port, and how to ask it. */
export class TestServer extends Context.Service<TestServer, {
  readonly port: number
  /** Sends a string or bytes as they are and anything else as JSON. */
  readonly ask: (
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>
  ) => Effect.Effect<Answer>
  /** The status that the server gives to a request with exactly these headers. */
  readonly status: (method: string, path: string, headers: Record<string, string>) => Effect.Effect<number>
}>()("truss/test/TestServer") {
  static readonly layer = (options?: Partial<Server.ServerOptions>) =>
    Layer.effect(
      TestServer,
      Effect.gen(function*() {
        const { address } = yield* HttpServer.HttpServer
        const port = "port" in address ? address.port : 0
        const ask = Effect.fnUntraced(
          function*(method: string, path: string, body?: unknown, headers?: Record<string, string>) {
            const asIs = typeof body === "string" || body instanceof Uint8Array || body === undefined
            const response = yield* Effect.promise(() =>
              fetch(`http://127.0.0.1:${port}${path}`, {
                method,
                redirect: "manual",
                headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
                ...(body !== undefined && { body: (asIs ? body : JSON.stringify(body)) as string })
              })
            )
            const text = yield* Effect.promise(() => response.text())
            return { status: response.status, headers: response.headers, text, json: parsed(text) }
          }
        )
        const status = (method: string, path: string, headers: Record<string, string>) => {
          const lines = Object.entries({ connection: "close", ...headers }).map(([name, value]) => `${name}: ${value}`)
          return Effect.map(
            raw(port, `${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`),
            (answer) => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1])
          )
        }
        return { port, ask, status }
      })
    ).pipe(
      Layer.provideMerge(Server.layer({ host: "127.0.0.1", port: 0, auth: "open", ...options })),
      Layer.provideMerge(layerServices)
    )
}
