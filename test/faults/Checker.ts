/** Compares what was committed with what arrived and what the log says. Pure: `Checker.test.ts` plants errors in it. */
import { apply, type DeliveryState, fold, initial } from "../../src/domain/DeliveryState.ts"
import type { Arrival, Captured, Finding, FindingKind, History, Logged, Watched } from "./History.ts"
import { checkOrder, overtakenIn } from "./Order.ts"

/** How far from a window's ends its effects reach: sessions that end late, statements that waited. */
const graceMs = 3_000

/** A webhook's part of the history. */
export interface Own {
  readonly webhook: Watched
  readonly arrivals: ReadonlyArray<Arrival>
  readonly log: ReadonlyArray<Logged>
  /** By event, in order. */
  readonly arrivalsOf: ReadonlyMap<string, ReadonlyArray<Arrival>>
  readonly logOf: ReadonlyMap<string, ReadonlyArray<Logged>>
  readonly logged: ReadonlyMap<string, Logged>
}

const ownOf = (history: History, webhook: Watched): Own => {
  const arrivals = history.arrivals.filter((arrival) => arrival.webhook === webhook.id)
  const log = history.log.filter((entry) => entry.webhook === webhook.id && entry.type !== "TEST")
  return {
    webhook,
    arrivals,
    log,
    arrivalsOf: Map.groupBy(arrivals, (arrival) => arrival.eventId),
    logOf: Map.groupBy(log.filter((entry) => !entry.replay), (entry) => entry.eventId),
    logged: new Map(log.map((entry) => [entry.deliveryId, entry]))
  }
}

type Say = (kind: FindingKind, detail: string) => void

/** By change. */
type Events = ReadonlyMap<string, Captured>

const isOver = (entry: Logged) => entry.outcome !== "retrying"

/** Every committed change is one event, and every event a committed change, with the same bytes wherever it arrives. */
const checkCapture = (history: History, say: Say) => {
  const committed = new Set(history.committed.map((change) => change.change))
  const events = new Map<string, Captured>()
  for (const event of history.captured) {
    if (!committed.has(event.change)) say("phantom", `${event.change} was captured and never committed`)
    if (events.has(event.change)) say("capture", `${event.change} was captured twice`)
    events.set(event.change, event)
  }
  return events
}

const checkArrivals = ({ arrivals, log, logged }: Own, history: History, say: Say) => {
  const events = new Map(history.captured.map((event) => [event.eventId, event]))
  const seen = new Set<string>()
  for (const { body, deliveryId, eventId } of arrivals) {
    const event = events.get(eventId)
    if (event === undefined) say("phantom", `${eventId} arrived, which no committed change has`)
    else if (event.body !== body) say("differs", `${event.change} arrived with other bytes than were stored`)
    if (seen.has(deliveryId)) say("duplicate", `${deliveryId} arrived twice: an id is an attempt's`)
    seen.add(deliveryId)
  }
  for (const entry of log) {
    if (entry.outcome === "success" && !seen.has(entry.deliveryId)) {
      say("lost", `${entry.deliveryId} is a success in the log and never arrived`)
    }
    if (entry.outcome !== "success" && entry.error === null && (entry.statusCode ?? 500) < 300) {
      say("log", `${entry.deliveryId} was answered ${entry.statusCode} and is ${entry.outcome}`)
    }
  }
  for (const [deliveryId, entry] of logged) {
    const event = events.get(entry.eventId)
    if (event === undefined) say("log", `${deliveryId} is of an event that is not there`)
  }
}

/** Each change that the webhook asks for has come to an end: delivered, or `failed` by the log. */
const checkComplete = ({ arrivalsOf, logOf, webhook }: Own, history: History, events: Events, say: Say) => {
  for (const { change, table } of history.committed) {
    if (table !== webhook.table || !webhook.events.includes(change.slice(0, change.indexOf(":")))) continue
    const event = events.get(change)
    if (event === undefined) {
      say("lost", `${change} was committed and never captured`)
      continue
    }
    const entries = logOf.get(event.eventId) ?? []
    if (entries.some(isOver)) continue
    say(
      "lost",
      `${change} has ${arrivalsOf.get(event.eventId)?.length ?? 0} arrivals and no end in the log (${
        entries.map((entry) => `${entry.attempt} ${entry.outcome}`).join(", ")
      })`
    )
  }
}

/**
 * A request that is not in the log is one whose outcome was lost, which only a fault explains. Nothing arrives for an
 * event again once the log says that it is over.
 */
const checkDuplicates = (own: Own, { windows }: History, say: Say) => {
  const { arrivalsOf, logged, webhook } = own
  const lateBy = webhook.timeoutMs + graceMs
  for (const [eventId, arrivals] of arrivalsOf) {
    let over: string | undefined
    for (const { at, deliveryId } of arrivals) {
      const entry = logged.get(deliveryId)
      if (entry?.replay === true) continue
      if (over !== undefined) say("duplicate", `${eventId} arrived as ${deliveryId} after ${over} had ended it`)
      if (entry === undefined && !windows.some(({ from, to }) => from - lateBy <= at && at <= to + graceMs)) {
        say("unlogged", `${deliveryId} arrived at ${at}, far from any fault, and is not in the log`)
      }
      if (entry !== undefined && isOver(entry)) over = `${deliveryId} (${entry.outcome})`
    }
  }
}

/** Attempts of an event count from 1 without a gap, end with a success or with the last one, and nothing follows. */
const checkNumbers = ({ logOf, webhook }: Own, say: Say) => {
  for (const [eventId, entries] of logOf) {
    let next = 1
    let over = false
    for (const { attempt, deliveryId, error, outcome, probe, statusCode } of entries) {
      if (over) say("log", `${eventId} was attempted again, as ${deliveryId}, after its end`)
      if (probe ? attempt > webhook.maxAttempts : attempt !== next) {
        say("log", `${deliveryId} is attempt ${attempt} of ${eventId}, not ${next}`)
      }
      const last = attempt >= webhook.maxAttempts
      if (outcome === "failed" && !last && statusCode !== 410) {
        say("log", `${deliveryId} is failed as attempt ${attempt} of ${webhook.maxAttempts}`)
      }
      if (outcome === "retrying" && last && error !== "aborted" && !probe && statusCode !== 410) {
        say("log", `${deliveryId} is retrying as the last attempt`)
      }
      if (!probe && error !== "aborted") next = attempt + 1
      over = outcome !== "retrying"
    }
  }
}

/** What the log says of a webhook's health. */
export const stateOf = (log: ReadonlyArray<Logged>): DeliveryState =>
  apply(
    initial,
    fold(log.map(({ createdAt, latencyMs, outcome, type }) => ({
      eventType: type,
      success: outcome === "success",
      createdAt,
      endedAt: createdAt + Math.round(latencyMs)
    })))
  )

const checkShown = (own: Own, say: Say) => {
  const { failCount, openedAt } = stateOf(own.log)
  const { backlog, circuit, failCount: shown } = own.webhook.shown
  if (shown !== failCount) say("fail_count", `the API shows ${shown}, the log says ${failCount}`)
  if ((circuit === "closed") !== (openedAt === null)) say("fail_count", `the API shows the circuit as ${circuit}`)
  if (backlog !== 0) say("reconcile", `the API shows a backlog of ${backlog}`)
}

const checkReconciled = ({ logOf, webhook }: Own, expected: number, say: Say) => {
  const { reconcile } = webhook
  if (reconcile === undefined) return
  const failed = [...logOf.values()].filter((entries) => entries.at(-1)?.outcome === "failed").length
  const want = { matched: expected, delivered: expected - failed, failed, pending: 0, filtered: 0, never_attempted: 0 }
  if (
    JSON.stringify(Object.entries(want).map(([name]) => reconcile[name as keyof typeof want])) !==
      JSON.stringify(Object.values(want))
  ) {
    say("reconcile", `reconcile says ${JSON.stringify(reconcile)}, expected ${JSON.stringify(want)}`)
  }
}

/** Everything that is wrong. */
export const check = (history: History): ReadonlyArray<Finding> => {
  const findings: Array<Finding> = []
  const sayOf = (webhook: string): Say => (kind, detail) => void findings.push({ kind, webhook, detail })
  const events = checkCapture(history, sayOf("all"))
  for (const webhook of history.webhooks) {
    const own = ownOf(history, webhook)
    const say = sayOf(webhook.name)
    checkArrivals(own, history, say)
    checkComplete(own, history, events, say)
    checkDuplicates(own, history, say)
    checkNumbers(own, say)
    checkShown(own, say)
    const asked = history.captured.filter(({ table, type }) => table === webhook.table && webhook.events.includes(type))
    checkReconciled(own, asked.length, say)
    checkOrder(own, history, events, (detail) => say("order", detail))
  }
  return findings
}

/** Requests of an event beyond those that the log shows as failed and the one that ended it. */
export const duplicatesOf = (history: History): number => {
  let duplicates = 0
  for (const webhook of history.webhooks) {
    const { arrivalsOf, logged } = ownOf(history, webhook)
    for (const arrivals of arrivalsOf.values()) {
      const good = arrivals.filter(({ deliveryId }) => (logged.get(deliveryId)?.outcome ?? "success") === "success")
      duplicates += Math.max(0, good.length - 1)
    }
  }
  return duplicates
}

/** See `overtakenIn`. */
export const overtaken = (history: History): number => {
  const events = new Map(history.captured.map((event) => [event.change, event]))
  return history.webhooks.reduce((sum, webhook) => sum + overtakenIn(ownOf(history, webhook), history, events), 0)
}

/** What `truss.cursors` holds of a webhook at one moment, with the log of the same moment. */
export interface Sample {
  readonly webhook: string
  readonly stored: DeliveryState
  readonly log: ReadonlyArray<Logged>
  /** The suite itself has moved the times of the circuit. */
  readonly hastened: boolean
}

/** Latencies are stored with two digits, so that the end of an attempt is known to a millisecond. */
const near = (a: number | null, b: number | null) => a === b || a !== null && b !== null && Math.abs(a - b) <= 1

/** The stored state is the fold of the log at every moment, not only when all is well again. */
export const checkSample = ({ hastened, log, stored, webhook }: Sample): ReadonlyArray<Finding> => {
  const said = stateOf(log)
  const same = said.failCount === stored.failCount && near(said.failingSince, stored.failingSince) &&
    near(said.openedAt, stored.openedAt) && (hastened || near(said.lastFailedAt, stored.lastFailedAt))
  return same
    ? []
    : [{
      kind: "fail_count",
      webhook,
      detail: `stored ${JSON.stringify(stored)}, the log of ${log.length} entries says ${JSON.stringify(said)}`
    }]
}
