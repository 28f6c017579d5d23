/** Whether events arrived in the order that a webhook promises, as far as the order of the commits can be proved. */
import type { Own } from "./Checker.ts"
import type { Captured, Committed, History, Logged } from "./History.ts"

/** Where a change stands among the requests and in the log of one webhook. */
interface Placed {
  readonly committed: Committed
  readonly eventId: string
  /** The first request. */
  readonly first: number
  /** The first request that the log knows of. */
  readonly known: number | undefined
  /** The first request that may have ended it: by the log; where that is lost, by its answer or as the last attempt. */
  readonly settled: number | undefined
  readonly firstLogged: number
  readonly lastLogged: number
}

const place = (own: Own, history: History, events: ReadonlyMap<string, Captured>): ReadonlyArray<Placed> => {
  const { arrivals, logged, webhook } = own
  const first = new Map<string, number>()
  const settled = new Map<string, number>()
  const known = new Map<string, number>()
  const tries = new Map<string, number>()
  arrivals.forEach(({ answered, deliveryId, eventId }, at) => {
    const entry = logged.get(deliveryId)
    if (entry?.replay === true) return
    if (!first.has(eventId)) first.set(eventId, at)
    if (entry !== undefined && !known.has(eventId)) known.set(eventId, at)
    const attempt = (tries.get(eventId) ?? 0) + 1
    tries.set(eventId, attempt)
    const ends = entry === undefined ? answered || attempt >= webhook.maxAttempts : entry.outcome !== "retrying"
    if (ends && !settled.has(eventId)) settled.set(eventId, at)
  })
  const positions = new Map<string, Array<number>>()
  own.log.forEach(({ eventId, replay }: Logged, at) => {
    if (replay) return
    const before = positions.get(eventId)
    if (before === undefined) positions.set(eventId, [at])
    else before.push(at)
  })
  return history.committed.flatMap((committed) => {
    const event = events.get(committed.change)
    if (committed.table !== webhook.table || event === undefined || !webhook.events.includes(event.type)) return []
    const { eventId } = event
    const at = first.get(eventId)
    const entries = positions.get(eventId)
    if (at === undefined || entries === undefined) return []
    return [{
      committed,
      eventId,
      first: at,
      known: known.get(eventId),
      settled: settled.get(eventId),
      firstLogged: entries[0]!,
      lastLogged: entries.at(-1)!
    }]
  })
}

const never = Number.POSITIVE_INFINITY

const show = ({ committed: { change, keys, seq, tx } }: Placed) => `${change} (tx ${tx}, ledger ${seq}, keys ${keys})`

/** The later one must not be sent before the earlier one has ended. */
const waited = (earlier: Placed, later: Placed, why: string, say: (detail: string) => void): boolean => {
  // An attempt may end in the log without a request that arrived: the service gave it up before it was read.
  const ended = earlier.settled ?? earlier.first
  if (ended < later.first) return true
  const before = `before ${show(earlier)} had ended with request ${ended}`
  say(`${show(later)} arrived as request ${later.first}, ${before}: ${why}`)
  return false
}

/** Changes that share a key: those of one row, and those of the rows before and after a change of the key. */
const checkRows = (placed: ReadonlyArray<Placed>, say: (detail: string) => void) => {
  const latest = new Map<number, Placed>()
  for (const later of placed) {
    const before = new Set(later.committed.keys.map((key) => latest.get(key)))
    for (const earlier of before) {
      if (earlier === undefined || !waited(earlier, later, "they share a key", say)) continue
      if (earlier.lastLogged < later.firstLogged) continue
      say(`${show(later)} stands in the log before the end of ${show(earlier)}: they share a key`)
    }
    for (const key of later.committed.keys) latest.set(key, later)
  }
}

/**
 * Each event comes to its end before another one is sent, and so the log is one run of entries an event. What a process
 * sent and could not log is forgotten with it: the next one may begin with a transaction that became visible since.
 */
const checkOneAtATime = (own: Own, byArrival: ReadonlyArray<Placed>, say: (detail: string) => void) => {
  byArrival.forEach((later, at) => {
    const earlier = byArrival[at - 1]
    if (earlier !== undefined && (earlier.known ?? never) < later.first) waited(earlier, later, "one at a time", say)
  })
  const left = new Set<string>()
  let current: string | undefined
  for (const { deliveryId, eventId, replay } of own.log) {
    if (replay || eventId === current) continue
    if (left.has(eventId)) say(`${deliveryId} stands in the log behind other events: ${eventId} had not ended before`)
    if (current !== undefined) left.add(current)
    current = eventId
  }
}

/** Pairs that arrived the other way round than they were committed, as `before` tells it of their transactions. */
function* inverted(byArrival: ReadonlyArray<Placed>, before: (a: Committed, b: Committed) => boolean) {
  for (let i = 0; i < byArrival.length; i++) {
    for (let j = i + 1; j < byArrival.length; j++) {
      if (before(byArrival[j]!.committed, byArrival[i]!.committed)) yield [byArrival[j]!, byArrival[i]!] as const
    }
  }
}

/** Of two transactions the one whose commit was known before the other began is first; so are a transaction's steps. */
const beganAfter = ({ transactions }: History) => (a: Committed, b: Committed) =>
  a.tx === b.tx ? a.step < b.step : (transactions.get(a.tx)?.ended ?? never) < (transactions.get(b.tx)?.began ?? -1)

/** The same of transactions that overlap: a commit was known before the other one was asked for. */
const committedAfter = ({ transactions }: History) => (a: Committed, b: Committed) =>
  a.tx !== b.tx && (transactions.get(a.tx)?.ended ?? never) < (transactions.get(b.tx)?.committing ?? -1)

const byFirst = (placed: ReadonlyArray<Placed>) => placed.toSorted((a, b) => a.first - b.first)

/**
 * Changes that share no row, of transactions that overlap, and that arrived in another order than that of the commits.
 * They are counted, not found: PostgreSQL tells nobody that order, so within a page the service goes by the order of the
 * changes.
 */
export const overtakenIn = (own: Own, history: History, events: ReadonlyMap<string, Captured>): number =>
  own.webhook.ordering === "strict"
    ? [...inverted(byFirst(place(own, history, events)), committedAfter(history))].length
    : 0

/** Says what arrived out of order. */
export const checkOrder = (
  own: Own,
  history: History,
  events: ReadonlyMap<string, Captured>,
  say: (detail: string) => void
): void => {
  if (own.webhook.ordering === "none") return
  const placed = place(own, history, events)
  checkRows(placed, say)
  if (own.webhook.ordering !== "strict") return
  const byArrival = byFirst(placed)
  checkOneAtATime(own, byArrival, say)
  for (const [earlier, later] of inverted(byArrival, beganAfter(history))) {
    say(`${show(later)} arrived before ${show(earlier)}, which was committed before it`)
  }
}
