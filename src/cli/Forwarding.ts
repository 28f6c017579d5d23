import { Console, Effect } from "effect"
import type { AttemptError } from "../domain/Attempt.ts"
import { attempt, type SendMessage } from "../services/Sender.ts"
import type { ListenEntry, ListenOutcome } from "./ListenEntry.ts"

/** Nobody is there: it may only just be starting again. */
const isAway = (error: ListenOutcome["error"]): boolean =>
  error === "connection_refused" || error === "unreachable" || error === "dns"

/** An answer that breaks off is asked for again so often: what breaks the receiver must not stop everything. */
const resets = 5

const notKept: ListenOutcome = { statusCode: null, latencyMs: null, error: "not_kept" }

/** Whether the program answered 2xx. */
export const isWell = ({ error, statusCode }: ListenOutcome): boolean =>
  error === null && statusCode !== null && statusCode >= 200 && statusCode < 300

/** Sends an event to the local URL, as a delivery is sent. */
export const makeForwarding = (send: SendMessage, url: string) => {
  /** One attempt, whoever is there. */
  const once = Effect.fnUntraced(function*({ body, eventId, eventType, id }: ListenEntry) {
    if (body === null) return notKept
    const headers = ["X-Truss-Event", eventType, "X-Truss-Delivery", id]
    const { error, latencyMs, statusCode } = yield* attempt(send, { id: eventId, body, headers })
    const outcome: ListenOutcome = { statusCode, latencyMs: Math.round(latencyMs * 100) / 100, error }
    return outcome
  })

  const says = (error: AttemptError | "not_kept" | null) => `truss-webhooks: ${url}: ${error}; waiting for it`

  /** Again and again while nobody is there; whatever is answered is the end of it. */
  const forward = Effect.fnUntraced(function*(entry: ListenEntry) {
    let waits = 0
    let broken = 0
    while (true) {
      const outcome = yield* once(entry)
      const { error } = outcome
      if (!isAway(error) && !(error === "connection_reset" && ++broken < resets)) return outcome
      if (waits === 0) yield* Console.error(says(error))
      yield* Effect.sleep(Math.min(2_000, 100 * 2 ** waits++))
    }
  })

  return { once, forward }
}

/** So much of what failed is kept for the end, by the characters of its bodies. */
const keptLength = 64 * 1024 * 1024

/** What was not answered with 2xx, in the order of the log, the newest where it is too much to keep. */
export class Failed {
  private readonly entries = new Map<string, ListenEntry>()
  private length = 0
  /** How many were too many to keep. */
  dropped = 0

  add(entry: ListenEntry): void {
    if (this.entries.has(entry.id)) return
    this.entries.set(entry.id, entry)
    this.length += entry.body?.length ?? 0
    for (const oldest of this.entries.values()) {
      if (this.length <= keptLength || oldest === entry) break
      this.remove(oldest)
      this.dropped++
    }
  }

  remove(entry: ListenEntry): void {
    if (this.entries.delete(entry.id)) this.length -= entry.body?.length ?? 0
  }

  get all(): ReadonlyArray<ListenEntry> {
    return [...this.entries.values()]
  }
}
