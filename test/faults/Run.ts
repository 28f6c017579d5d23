/** One schedule from an empty database to a verdict. */
import type { PgClient } from "@effect/sql-pg"
import { Effect, Fiber, type Scope } from "effect"
import type { OwnPostgres } from "../support/OwnPostgres.ts"
import { randomOf } from "../support/Random.ts"
import { type ServiceProcess, waitFor } from "../support/ServiceProcess.ts"
import { check, checkSample, duplicatesOf, overtaken } from "./Checker.ts"
import { answersWell, type Endpoints, startEndpoints } from "./Endpoint.ts"
import { hasten, readCaptured, readLog, readPending, readSample } from "./Evidence.ts"
import type { Counts, Finding, History, Watched } from "./History.ts"
import type { PlannedWebhook, Schedule } from "./Schedule.ts"
import { makeStage, type Stage, type TakeOver } from "./Stage.ts"
import { connect, createTables, patiently, readLedger, write, type Writing } from "./Writers.ts"

export interface Verdict {
  readonly findings: ReadonlyArray<Finding>
  readonly committed: number
  /** Transactions that were rolled back, and that failed. */
  readonly rolledBack: number
  readonly broken: number
  readonly schemaChanges: number
  /** Events that ended with a success, over all webhooks. */
  readonly delivered: number
  readonly failed: number
  readonly attempts: number
  readonly duplicates: number
  /** What `strict` webhooks got in another order than that of the commits, of transactions that overlapped. */
  readonly overtaken: number
  readonly samples: number
  readonly takeOvers: ReadonlyArray<TakeOver>
  readonly history: History
  readonly output: string
}

interface Created extends PlannedWebhook {
  readonly id: string
}

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

/** How long the rest may take once everything is well. */
const settleMs = 40_000

const createWebhooks = (service: ServiceProcess, endpoints: Endpoints, schedule: Schedule) =>
  Effect.forEach(schedule.webhooks, (webhook) =>
    Effect.map(
      service.createWebhook({
        name: webhook.name,
        table_name: webhook.table,
        events: webhook.events,
        url: endpoints.url(`/${webhook.name}`),
        ordering: webhook.ordering,
        concurrency: webhook.concurrency,
        partitions: webhook.partitions,
        max_attempts: webhook.maxAttempts,
        timeout_ms: webhook.timeoutMs,
        ...(webhook.signed ? { secret } : {})
      }),
      ({ id }): Created => ({ ...webhook, id })
    ))

const behave = (endpoints: Endpoints, webhook: PlannedWebhook) =>
  Effect.gen(function*() {
    let now = 0
    for (const { at, behaviour } of webhook.phases) {
      yield* Effect.sleep(at - now)
      now = at
      endpoints.behave(`/${webhook.name}`, behaviour)
    }
  })

/** Compares a webhook's stored state with its log now and then, while the database answers. */
const sampling = (sql: PgClient.PgClient, webhooks: ReadonlyArray<Created>, seed: number, take: Take) => {
  const random = randomOf(seed)
  return Effect.suspend(() => readSample(sql, webhooks[Math.floor(random() * webhooks.length)]!.id, false)).pipe(
    Effect.map(take),
    Effect.exit,
    Effect.delay("50 millis"),
    Effect.forever
  )
}

type Take = (sample: Parameters<typeof checkSample>[0]) => void

/** Switches on what 410 switched off, and delivers what it missed meanwhile. */
const repair = (service: ServiceProcess, webhooks: ReadonlyArray<Created>, since: Date, findings: Array<Finding>) =>
  Effect.forEach(webhooks.filter((webhook) => webhook.goes), ({ id, name }) =>
    Effect.gen(function*() {
      const patched = yield* service.ask("PATCH", `/api/webhooks/${id}`, { active: true })
      const recovered = yield* service.ask("POST", `/api/webhooks/${id}/recover`, { since: since.toISOString() })
      if (patched.status === 200 && recovered.status === 202) return
      const detail = `PATCH ${patched.status}, recover ${recovered.status} ${JSON.stringify(recovered.body)}`
      findings.push({ kind: "process", webhook: name, detail })
    }))

/** Waits until no event is without an end; what is missing then is the checker's to say. */
const settled = (sql: PgClient.PgClient) =>
  waitFor("the rest", Effect.map(patiently(readPending(sql)), (rows) => rows.length === 0), { within: settleMs }).pipe(
    Effect.as(undefined),
    Effect.catchCause(() =>
      Effect.map(patiently(readPending(sql)), (rows): Finding => ({
        kind: "lost",
        webhook: "all",
        detail: `not over after ${settleMs} ms: ${
          rows.map(({ due, name, never, pending }) => `${name} ${pending} (${due} due, ${never} never attempted)`)
            .join(", ")
        }`
      }))
    )
  )

interface ShownWebhook {
  readonly fail_count: number
  readonly circuit: string
  readonly backlog: number
}

const shownOf = Effect.fnUntraced(function*(service: ServiceProcess, webhook: Created, reconciles: boolean) {
  const { body } = yield* service.ask("GET", `/api/webhooks/${webhook.id}`)
  const { backlog, circuit, fail_count } = body as ShownWebhook
  const reconciled = reconciles ? yield* service.ask("GET", `/api/webhooks/${webhook.id}/reconcile`) : undefined
  const watched: Watched = {
    ...webhook,
    shown: { failCount: fail_count, circuit, backlog },
    reconcile: reconciled?.status === 200 ? reconciled.body as Counts : undefined
  }
  return watched
})

/** Which routes the service has, by its own description. */
export const routesOf = (service: ServiceProcess): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(
    service.ask("GET", "/openapi.json"),
    ({ body }) => Object.keys((body as { readonly paths?: object } | undefined)?.paths ?? {})
  )

const hasRoute = (routes: ReadonlyArray<string>, end: string) => routes.some((route) => route.endsWith(end))

export const recovers = (routes: ReadonlyArray<string>) => hasRoute(routes, "/recover")

const storm = Effect.fnUntraced(function*(
  url: string,
  schedule: Schedule,
  stage: Stage,
  endpoints: Endpoints,
  webhooks: ReadonlyArray<Created>,
  take: Take
) {
  const writers = yield* connect(url, schedule.writers.count + 2)
  const watcher = yield* connect(url, 1)
  const writing: Writing = { transactions: new Map(), commits: 0, rolledBack: 0, broken: 0, schemaChanges: 0 }
  const watching = yield* Effect.forkScoped(sampling(watcher, webhooks, schedule.seed, take))
  yield* Effect.all([
    write(writers, schedule, writing),
    ...webhooks.map((webhook) => behave(endpoints, webhook)),
    ...schedule.faults.map((fault) => Effect.delay(stage.suffer(fault, webhooks), fault.at))
  ], { concurrency: "unbounded", discard: true })
  yield* Fiber.interrupt(watching)
  return writing
})

/** Runs a schedule on an empty database. */
export const run = Effect.fnUntraced(function*(
  postgres: OwnPostgres,
  url: string,
  schedule: Schedule
): Effect.fn.Return<Verdict, never, Scope.Scope> {
  const since = new Date(Date.now() - 60_000)
  const sql = yield* connect(url, 2)
  yield* createTables(sql, schedule.tables)
  const endpoints = yield* startEndpoints(schedule.seed)
  const stage = yield* makeStage(postgres, url, schedule)
  yield* stage.start
  yield* stage.service(0).ready()
  const reconciles = hasRoute(yield* routesOf(stage.service(0)), "/reconcile")
  const webhooks = yield* createWebhooks(stage.service(0), endpoints, schedule)
  const findings: Array<Finding> = []
  let samples = 0
  const take: Take = (sample) => {
    samples++
    findings.push(...checkSample(sample))
  }

  const writing = yield* Effect.scoped(storm(url, schedule, stage, endpoints, webhooks, take))

  yield* stage.heal
  for (const { name } of webhooks) endpoints.behave(`/${name}`, "ok")
  yield* stage.end(schedule.ends)
  for (const { id } of webhooks) take(yield* patiently(readSample(sql, id, false)))
  yield* patiently(hasten(sql))
  yield* stage.start
  yield* stage.service(0).ready()
  yield* repair(stage.service(0), webhooks, since, findings)
  const late = yield* settled(sql)
  if (late !== undefined) findings.push(late)
  // That nothing more comes is no fact to wait for.
  yield* Effect.sleep("200 millis")
  for (const { id } of webhooks) take(yield* patiently(readSample(sql, id, true)))

  const idOf = new Map(webhooks.map((webhook) => [`/${webhook.name}`, webhook.id]))
  const history: History = {
    committed: yield* patiently(readLedger(sql)),
    transactions: writing.transactions,
    captured: yield* patiently(readCaptured(sql)),
    log: yield* patiently(readLog(sql)),
    arrivals: endpoints.requests.map(({ behaviour, path, ...request }) => ({
      ...request,
      webhook: idOf.get(path) ?? path,
      answered: answersWell(behaviour)
    })),
    webhooks: yield* Effect.forEach(webhooks, (webhook) => shownOf(stage.service(0), webhook, reconciles)),
    windows: stage.windows
  }
  const count = (outcome: string) => history.log.filter((entry) => entry.outcome === outcome && !entry.replay).length
  return {
    findings: [...findings, ...stage.findings, ...check(history)],
    committed: history.committed.length,
    rolledBack: writing.rolledBack,
    broken: writing.broken,
    schemaChanges: writing.schemaChanges,
    delivered: count("success"),
    failed: count("failed"),
    attempts: history.log.length,
    duplicates: duplicatesOf(history),
    overtaken: overtaken(history),
    samples,
    takeOvers: stage.takeOvers,
    history,
    output: stage.output()
  }
})
