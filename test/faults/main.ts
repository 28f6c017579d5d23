/**
 * `npm run test:faults`: random schedules of faults against the real process on a real PostgreSQL. Environment:
 * FAULT_SCHEDULES how many (20), FAULT_SECONDS after which no more begin (600), FAULT_SEED that of the first schedule,
 * the next ones count on; FAULT_LANES how many at once (2), each with a PostgreSQL of its own; FAULT_ORDERINGS which
 * orderings webhooks have (none,row,strict); FAULT_CLUSTER=1 (`npm run test:cluster`) for three runners that share 60
 * webhooks, and how long it took until what a runner had ran elsewhere. What a failed schedule left is kept in FAULT_EVIDENCE (a temporary folder).
 */
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Cause, Effect, Redacted } from "effect"
import { mkdir, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Ordering } from "../../src/domain/Webhook.ts"
import { type OwnPostgres, ownPostgresWith } from "../support/OwnPostgres.ts"
import { newSeed } from "../support/Random.ts"
import { startService } from "../support/ServiceProcess.ts"
import { recovers, routesOf, run, type Verdict } from "./Run.ts"
import { type FaultKind, type Limits, type Schedule, scheduleOf } from "./Schedule.ts"

const say = (line: string) => Effect.sync(() => void process.stdout.write(`${line}\n`))

const number = (name: string, otherwise: number) => {
  const value = Number(process.env[name] ?? otherwise)
  return Number.isInteger(value) && value >= 0 ? value : otherwise
}

const options = {
  schedules: number("FAULT_SCHEDULES", 20),
  seconds: number("FAULT_SECONDS", 600),
  lanes: Math.max(1, number("FAULT_LANES", 2)),
  seed: number("FAULT_SEED", newSeed()),
  cluster: process.env["FAULT_CLUSTER"] === "1",
  orderings: Ordering.literals.filter((name) => (process.env["FAULT_ORDERINGS"] ?? name).split(",").includes(name)),
  evidence: process.env["FAULT_EVIDENCE"] ?? join(tmpdir(), "truss-faults")
}

const totals = {
  schedules: 0,
  broken: 0,
  committed: 0,
  delivered: 0,
  failed: 0,
  attempts: 0,
  duplicates: 0,
  overtaken: 0
}

/** On a server that was not asked to end anything for the moment. */
const admin = (postgres: OwnPostgres, statement: string) =>
  Effect.flatMap(PgClient.PgClient, (sql) => sql.unsafe(statement)).pipe(
    Effect.provide(PgClient.layer({ url: Redacted.make(postgres.url), maxConnections: 1 })),
    Effect.orDie
  )

const databaseUrl = (postgres: OwnPostgres, name: string) => {
  const url = new URL(postgres.url)
  url.pathname = `/${name}`
  return url.href
}

/** A database for as long as the scope; what uses it ends before. */
const withDatabase = <A, R>(postgres: OwnPostgres, name: string, use: (url: string) => Effect.Effect<A, never, R>) =>
  Effect.acquireUseRelease(
    admin(postgres, `CREATE DATABASE ${name}`),
    () => use(databaseUrl(postgres, name)),
    () => admin(postgres, `DROP DATABASE ${name} WITH (FORCE)`)
  )

const keep = (schedule: Schedule, { findings, history, output }: Verdict) =>
  Effect.promise(async () => {
    const folder = join(options.evidence, String(schedule.seed))
    await mkdir(folder, { recursive: true })
    await writeFile(
      join(folder, "history.json"),
      JSON.stringify({ schedule, findings, ...history, transactions: [...history.transactions] }, null, 1)
    )
    await writeFile(join(folder, "service.log"), output)
    return folder
  })

const shortFaults = ({ faults, standby }: Schedule) =>
  [...(standby ? ["standby"] : []), ...faults.map(({ at, kind, process }) => `${kind}${process ? "'" : ""} at ${at}`)]
    .join(", ")

/** Until all that a runner had ran elsewhere, by what was done to it; none where something else happened meanwhile. */
const times = new Map<FaultKind, Array<number>>()

const tellTimes = Effect.suspend(() =>
  Effect.forEach(times, ([how, all]) => {
    const sorted = all.toSorted((a, b) => a - b)
    return say(
      `${how} to running elsewhere: ${all.length} times, median ${sorted[Math.floor(sorted.length / 2)]} ms, ` +
        `most ${sorted.at(-1)} ms`
    )
  })
)

const tell = Effect.fnUntraced(function*(schedule: Schedule, verdict: Verdict, seconds: number) {
  const { attempts, committed, delivered, duplicates, failed, findings } = verdict
  totals.schedules++
  totals.committed += committed
  totals.delivered += delivered
  totals.failed += failed
  totals.attempts += attempts
  totals.duplicates += duplicates
  totals.overtaken += verdict.overtaken
  for (const { how, ms } of verdict.takeOvers) times.set(how, [...times.get(how) ?? [], ms])
  yield* say(
    `seed ${schedule.seed}: ${findings.length === 0 ? "ok" : `${findings.length} FINDINGS`}, committed ${committed}, ` +
      `rolled back ${verdict.rolledBack}, broken ${verdict.broken}, delivered ${delivered}, failed ${failed}, attempts ${attempts}, ` +
      `duplicates ${duplicates}, overtaken ${verdict.overtaken}, samples ${verdict.samples}, ${seconds.toFixed(1)} s [${
        shortFaults(schedule)
      }]`
  )
  if (findings.length === 0) return
  totals.broken++
  for (const { detail, kind, webhook } of findings.slice(0, 12)) yield* say(`    ${kind} (${webhook}): ${detail}`)
  yield* say(`    kept in ${yield* keep(schedule, verdict)}; again: FAULT_SEED=${schedule.seed} FAULT_SCHEDULES=1`)
})

const tellDefect = (schedule: Schedule, cause: Cause.Cause<unknown>) => {
  totals.schedules++
  totals.broken++
  return say(
    `seed ${schedule.seed}: DID NOT END [${shortFaults(schedule)}]\n${Cause.pretty(cause)}\n    ` +
      `again: FAULT_SEED=${schedule.seed} FAULT_SCHEDULES=1`
  )
}

/** Far longer than any schedule takes, so that one that hangs fails the run instead of holding it up. */
const patience = "5 minutes"

const lane = Effect.fnUntraced(function*(next: () => number | undefined, limits: Limits) {
  // Deadlocks are part of the plan, waits for them are not.
  const postgres = yield* ownPostgresWith({ deadlock_timeout: "50ms", max_connections: "100" })
  yield* postgres.start
  for (let seed = next(); seed !== undefined; seed = next()) {
    const schedule = scheduleOf(seed, limits)
    const startedAt = Date.now()
    yield* withDatabase(postgres, `faults_${seed}`, (url) => Effect.scoped(run(postgres, url, schedule))).pipe(
      Effect.timeoutOrElse({
        duration: patience,
        orElse: () => Effect.die(new Error(`it was not over after ${patience}`))
      }),
      Effect.flatMap((verdict) => tell(schedule, verdict, (Date.now() - startedAt) / 1000)),
      // The next schedule needs the server as it was.
      Effect.catchCause((cause) =>
        Cause.hasInterrupts(cause)
          ? Effect.interrupt
          : Effect.all([tellDefect(schedule, cause), postgres.thaw, postgres.crash, postgres.start], { discard: true })
      )
    )
  }
})

/** What the service can do yet decides what schedules ask of it. */
const limitsOf = Effect.scoped(Effect.gen(function*() {
  const postgres = yield* ownPostgresWith({})
  yield* postgres.start
  const service = yield* startService(postgres.url)
  yield* service.ready()
  return { orderings: options.orderings, cluster: options.cluster, recovers: recovers(yield* routesOf(service)) }
}))

const main = Effect.gen(function*() {
  const startedAt = Date.now()
  const limits = yield* limitsOf
  yield* say(`${options.schedules} schedules from FAULT_SEED=${options.seed}, orderings ${limits.orderings.join(",")}`)
  let begun = 0
  const next = () =>
    begun >= options.schedules || Date.now() - startedAt > options.seconds * 1000
      ? undefined
      : options.seed + begun++
  const lanes = Array.from(
    { length: Math.min(options.lanes, options.schedules) },
    () => Effect.scoped(lane(next, limits))
  )
  yield* Effect.all(lanes, { concurrency: "unbounded", discard: true })
  const seconds = (Date.now() - startedAt) / 1000
  yield* tellTimes
  yield* say(`${Object.entries(totals).map(([name, value]) => `${name} ${value}`).join(", ")}, ${seconds.toFixed(0)} s`)
  if (totals.broken > 0 || totals.schedules === 0) process.exitCode = 1
})

NodeRuntime.runMain(main)
