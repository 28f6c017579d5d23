/** What a schedule leaves behind, as the checker wants it. Times are milliseconds since 1970. */
import type { EventType } from "../../src/domain/EventType.ts"
import type { Reconciliation } from "../../src/domain/Reconciliation.ts"
import type { Ordering } from "../../src/domain/Webhook.ts"

/** What `reconcile` counts. */
export type Counts = Omit<Reconciliation, "complete_through" | "gap">

/** A change that was committed, by the writers' own ledger. */
export interface Committed {
  /** Of two changes that share a key, the smaller is the earlier. */
  readonly seq: number
  readonly tx: number
  /** The statement in its transaction. */
  readonly step: number
  readonly table: string
  /** `INSERT:mark`, unique. */
  readonly change: string
  readonly keys: ReadonlyArray<number>
}

/** When a transaction began, asked to commit, and when its commit was known, by one counting clock. */
export interface Span {
  readonly began: number
  readonly committing: number | undefined
  readonly ended: number | undefined
}

/** An event as the service stored it. */
export interface Captured {
  readonly eventId: string
  readonly table: string
  readonly type: EventType
  readonly change: string
  readonly body: string
}

/** A request that reached a webhook's endpoint; they stand in the order of their arrival. */
export interface Arrival {
  readonly webhook: string
  readonly at: number
  readonly eventId: string
  readonly deliveryId: string
  readonly body: string
  /** The endpoint meant to answer with 2xx at once. */
  readonly answered: boolean
}

/** An entry of the log; they stand in the order in which they were written. */
export interface Logged {
  readonly webhook: string
  readonly eventId: string
  readonly deliveryId: string
  readonly type: EventType
  readonly attempt: number
  readonly outcome: "success" | "retrying" | "failed"
  readonly error: string | null
  readonly statusCode: number | null
  /** A circuit's probe uses up no attempt. */
  readonly probe: boolean
  readonly replay: boolean
  readonly createdAt: number
  readonly latencyMs: number
}

/** A webhook and what the API says of it at the end. */
export interface Watched {
  readonly id: string
  readonly name: string
  readonly table: string
  readonly events: ReadonlyArray<string>
  readonly ordering: Ordering
  readonly maxAttempts: number
  readonly timeoutMs: number
  readonly shown: { readonly failCount: number; readonly circuit: string; readonly backlog: number }
  /** Where the service has that route. */
  readonly reconcile: Counts | undefined
}

/** A time in which an attempt's outcome may be lost between the endpoint's answer and the log. */
export interface Window {
  readonly what: string
  readonly from: number
  readonly to: number
}

export interface History {
  readonly committed: ReadonlyArray<Committed>
  readonly transactions: ReadonlyMap<number, Span>
  readonly captured: ReadonlyArray<Captured>
  readonly arrivals: ReadonlyArray<Arrival>
  readonly log: ReadonlyArray<Logged>
  readonly webhooks: ReadonlyArray<Watched>
  readonly windows: ReadonlyArray<Window>
}

export type FindingKind =
  | "lost"
  | "phantom"
  | "capture"
  | "order"
  | "duplicate"
  | "differs"
  | "unlogged"
  | "log"
  | "fail_count"
  | "reconcile"
  | "process"

export interface Finding {
  readonly kind: FindingKind
  readonly webhook: string
  readonly detail: string
}
