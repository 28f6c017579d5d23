/** What happens in one run, drawn from a seed: who listens and how, what breaks when, who writes what. Pure. */
import type { Ordering } from "../../src/domain/Webhook.ts"
import { randomOf } from "../support/Random.ts"

/** What an endpoint does with a request; `mixed` draws one of the others for each. */
export type Behaviour =
  | "ok"
  | "slow"
  | "error"
  | "busy"
  | "gone"
  | "hang"
  | "dribble"
  | "reset"
  | "huge"
  | "garbage"
  | "mixed"

/** Times are milliseconds since the writers began. */
export interface Phase {
  readonly at: number
  readonly behaviour: Behaviour
}

export interface PlannedWebhook {
  readonly name: string
  readonly table: string
  readonly events: ReadonlyArray<string>
  readonly ordering: Ordering
  readonly concurrency: number
  readonly partitions: number
  readonly maxAttempts: number
  readonly timeoutMs: number
  readonly signed: boolean
  readonly phases: ReadonlyArray<Phase>
  /** It answers 410 at some time, is switched on again afterwards, and what it missed is recovered. */
  readonly goes: boolean
}

/** Faults of a process of the service, of PostgreSQL, and of the way between them. */
export type FaultKind =
  | "service kill -9"
  | "service stop"
  | "service freeze"
  | "postgres fast"
  | "postgres immediate"
  | "postgres kill -9"
  | "postgres backend kill -9"
  | "postgres freeze"
  | "connections cut"
  | "connections frozen"
  | "connections half-open, service's half"
  | "connections half-open, server's half"
  | "runner cut off from the others"
  | "all runners rolled"
  | "webhooks split otherwise"

export interface PlannedFault {
  readonly at: number
  readonly kind: FaultKind
  /** Which process of the service; 0 but for schedules with several. */
  readonly process: number
  /** Until it is healed: restarted, thawed, closed. */
  readonly forMs: number
}

export interface PlannedWriters {
  readonly count: number
  readonly pauseMs: number
  /** Keys are drawn from so many: few make writers meet at the same rows. */
  readonly keys: number
  readonly changesSchema: boolean
}

export interface Schedule {
  readonly seed: number
  readonly runMs: number
  readonly tables: ReadonlyArray<string>
  readonly webhooks: ReadonlyArray<PlannedWebhook>
  readonly faults: ReadonlyArray<PlannedFault>
  readonly writers: PlannedWriters
  /** A second process on the same database. */
  readonly standby: boolean
  /** How many runners share the webhooks; 0: there is no cluster. */
  readonly runners: number
  /** How the service ends before the database is made ready for the rest. */
  readonly ends: "stop" | "kill"
}

export interface Limits {
  readonly orderings: ReadonlyArray<Ordering>
  /** Whether a webhook that answered 410 can be repaired: the service has the route. */
  readonly recovers: boolean
  /** Three runners and many webhooks. */
  readonly cluster: boolean
}

const behaviours: ReadonlyArray<Behaviour> = [
  "slow",
  "error",
  "busy",
  "hang",
  "dribble",
  "reset",
  "huge",
  "garbage",
  "mixed",
  "mixed",
  "mixed",
  "mixed"
]

/** Those that `mixed` draws from: most succeed, so that a circuit does not only open. */
const mixture: ReadonlyArray<Behaviour> = [
  ...Array.from<Behaviour>({ length: 8 }).fill("ok"),
  "slow",
  "slow",
  "error",
  "error",
  "busy",
  "hang",
  "reset",
  "garbage",
  "huge"
]

const onService: ReadonlyArray<FaultKind> = ["service kill -9", "service kill -9", "service stop", "service freeze"]
const onPostgres: ReadonlyArray<FaultKind> = [
  "postgres fast",
  "postgres immediate",
  "postgres kill -9",
  "postgres backend kill -9",
  "postgres freeze"
]
const onConnections: ReadonlyArray<FaultKind> = [
  "connections cut",
  "connections frozen",
  "connections half-open, service's half",
  "connections half-open, server's half"
]

const onCluster: ReadonlyArray<FaultKind> = [
  ...onService,
  "service stop",
  "service stop",
  "service freeze",
  "connections cut",
  "connections frozen",
  "runner cut off from the others",
  "runner cut off from the others",
  "all runners rolled",
  "postgres fast",
  "postgres immediate",
  "postgres kill -9",
  "webhooks split otherwise"
]

const eventTypes = ["INSERT", "UPDATE", "DELETE"]

export const draws = (random: () => number) => {
  const between = (low: number, high: number) => low + Math.floor(random() * (high - low + 1))
  const pick = <A>(choices: ReadonlyArray<A>): A => choices[Math.floor(random() * choices.length)]!
  const chance = (share: number) => random() < share
  return { between, pick, chance }
}

/** The behaviour that `mixed` stands for this time. */
export const drawMixed = (random: () => number): Behaviour => draws(random).pick(mixture)

const partitionsOf = (ordering: Ordering, random: () => number) =>
  ordering === "strict" ? 1 : draws(random).pick([1, 1, 2, 4, 8])

/** Three runners, 60 webhooks on three tables, and faults that are long enough for others to take over. */
const clusterScheduleOf = (seed: number, limits: Limits): Schedule => {
  const random = randomOf(seed)
  const { between, chance, pick } = draws(random)
  const tables = ["alpha", "beta", "gamma"]
  const runMs = between(16_000, 22_000)
  const webhooks = Array.from({ length: 60 }, (_, n): PlannedWebhook => {
    const ordering = limits.orderings[n % limits.orderings.length]!
    const phases: Array<Phase> = []
    for (let at = between(0, 2_000); at < runMs; at += between(2_000, 8_000)) {
      phases.push({ at, behaviour: chance(0.6) ? "ok" : pick(["slow", "error", "hang", "reset", "mixed", "mixed"]) })
    }
    return {
      name: `${ordering}-${n}`,
      table: tables[n % 7 % tables.length]!,
      events: eventTypes,
      ordering,
      concurrency: pick([1, 4, 16]),
      partitions: chance(0.3) ? partitionsOf(ordering, random) : 1,
      maxAttempts: 8,
      timeoutMs: between(300, 1_000),
      signed: chance(0.5),
      phases,
      goes: false
    }
  })
  const faults: Array<PlannedFault> = []
  for (let at = between(500, 2_000); at < runMs; at += between(1_500, 5_000)) {
    const kind = pick(onCluster)
    const forMs = chance(0.4) || kind.startsWith("postgres") ? between(50, 1_500) : between(6_000, 9_000)
    faults.push({ at, kind, process: between(0, 2), forMs })
    // Now and then nothing else happens until others must have taken over: how long that took can be told.
    if (chance(0.6)) at += kind === "service kill -9" ? 7_000 : kind === "service stop" ? 2_000 : 0
  }
  return {
    seed,
    runMs,
    tables,
    webhooks,
    faults,
    standby: false,
    runners: 3,
    writers: { count: 2, pauseMs: between(80, 160), keys: between(15, 100), changesSchema: chance(0.5) },
    ends: chance(0.5) ? "stop" : "kill"
  }
}

/** The schedule of a seed; the same for the same limits. */
export const scheduleOf = (seed: number, limits: Limits): Schedule => {
  if (limits.cluster) return clusterScheduleOf(seed, limits)
  const random = randomOf(seed)
  const { between, chance, pick } = draws(random)
  const tables = chance(0.5) ? ["alpha"] : ["alpha", "beta"]
  const standby = chance(0.3)
  // Long enough for the other process to take over while this one is frozen, and to meet it when it wakes up.
  const longFreeze = standby && chance(0.25)
    ? [{ at: between(200, 800), kind: "service freeze" as const, process: 0, forMs: between(7_000, 9_000) }]
    : []
  const runMs = between(2_000, 4_000) + (longFreeze.length === 0 ? 0 : 8_000)
  // One table's first webhooks have each of the orderings, so that every schedule checks all of them.
  const webhooks = Array.from({ length: between(3, 6) }, (_, n): PlannedWebhook => {
    const ordering = n < limits.orderings.length ? limits.orderings[n]! : pick(limits.orderings)
    const ignored = chance(0.3) ? pick(eventTypes) : undefined
    const goes = limits.recovers && ordering === "none" && chance(0.15)
    const phases: Array<Phase> = []
    for (let at = between(0, 300); at < runMs; at += between(300, 1_200)) {
      phases.push({ at, behaviour: chance(0.25) ? "ok" : pick(behaviours) })
    }
    if (goes) phases.push({ at: between(500, runMs), behaviour: "gone" })
    return {
      name: `${ordering}-${n}`,
      table: n < limits.orderings.length ? tables[0]! : pick(tables),
      events: eventTypes.filter((type) => type !== ignored),
      ordering,
      concurrency: pick([1, 2, 4, 16, 64]),
      partitions: partitionsOf(ordering, random),
      maxAttempts: pick([1, 2, 3, 8, 8, 8]),
      timeoutMs: between(300, 1_000),
      signed: chance(0.5),
      phases: phases.toSorted((a, b) => a.at - b.at),
      goes
    }
  })
  const faults: Array<PlannedFault> = [...longFreeze]
  for (let at = between(200, 900); at < runMs; at += between(300, 1_500)) {
    const kind = chance(0.1)
      ? "webhooks split otherwise"
      : pick(chance(0.45) ? onService : chance(0.5) ? onPostgres : onConnections)
    faults.push({ at, kind, process: standby ? between(0, 1) : 0, forMs: chance(0.3) ? 0 : between(50, 1_500) })
    // It is the freeze that the run is long for.
    if (longFreeze.length > 0) at += 2_500
  }
  return {
    seed,
    runMs,
    tables,
    webhooks,
    faults,
    standby,
    runners: 0,
    writers: {
      count: between(2, 6),
      pauseMs: between(1, 20),
      keys: chance(0.3) ? between(3, 15) : between(15, 300),
      changesSchema: chance(0.5)
    },
    ends: chance(0.5) ? "stop" : "kill"
  }
}
