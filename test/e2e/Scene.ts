import { Effect, Layer, type Scope } from "effect"
import { TestDatabase } from "../support/Database.ts"
import { startRecorder } from "../support/Recorder.ts"
import { type ServiceProcess, startService } from "../support/ServiceProcess.ts"
import { connect, createTables } from "./Workload.ts"

export const everything = ["INSERT", "UPDATE", "DELETE"]

/** A webhook for every change of `orders`, signed. */
export const createWebhook = (service: ServiceProcess, url: string, input: object = {}) =>
  service.createWebhook({
    name: "all",
    table_name: "orders",
    events: everything,
    url,
    secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ...input
  })

/** Tables on a database, a receiver, and a running service with a webhook. */
export const sceneOn = Effect.fnUntraced(function*(url: string, env: Readonly<Record<string, string>> = {}) {
  const sql = yield* connect(url)
  yield* createTables(sql)
  const recorder = yield* startRecorder
  const service = yield* startService(url, env)
  yield* service.ready()
  const endpoint = recorder.endpoint("/all")
  const webhook = yield* createWebhook(service, endpoint.url)
  return { url, sql, recorder, service, endpoint, webhook }
})

/** The same on a database of the test run's server. */
export const scene = (env?: Readonly<Record<string, string>>) =>
  Effect.flatMap(TestDatabase, ({ url }) => sceneOn(url, env))

/** Gives a test a database of its own, and ends its processes before that is dropped. */
export const withDatabase = <A, E>(body: Effect.Effect<A, E, TestDatabase | Scope.Scope>) =>
  Effect.provide(Effect.scoped(body), Layer.fresh(TestDatabase.layerUrl))
