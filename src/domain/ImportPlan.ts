import { Result, Schema, SchemaIssue } from "effect"
import { WebhookCreate } from "./Webhook.ts"
import { isReservedHeader } from "./WebhookHeaders.ts"

/** The body of `POST /webhooks`. */
export type WebhookInput = typeof WebhookCreate.Encoded

/** What becomes of a webhook of another product. */
export interface ImportPlan {
  /** Theirs, as its owner would name it. */
  readonly theirs: string
  /** Ours; null where it cannot be carried over. */
  readonly webhook: WebhookInput | null
  /** Why it cannot, or what will differ. */
  readonly notes: ReadonlyArray<string>
  /** Ours would fire more often or send more than theirs does: it is made paused, whatever was asked for. */
  readonly needsReview: boolean
}

/** One that cannot be carried over. */
export const notCarried = (theirs: string, ...notes: ReadonlyArray<string>): ImportPlan => ({
  theirs,
  webhook: null,
  notes,
  needsReview: false
})

const decode = Schema.decodeUnknownResult(WebhookCreate)
const format = SchemaIssue.makeFormatterStandardSchemaV1()

/** One that can, if it is a webhook that the API would take. */
export const carried = (
  theirs: string,
  webhook: WebhookInput,
  notes: ReadonlyArray<string>,
  needsReview: boolean
): ImportPlan => {
  const decoded = decode(webhook, { errors: "all", onExcessProperty: "error" })
  if (Result.isSuccess(decoded)) return { theirs, webhook, notes, needsReview }
  const faults = format(decoded.failure.issue).issues
  return notCarried(theirs, ...faults.map(({ message, path = [] }) => `${path.map(String).join(".")} ${message}`))
}

const smallest = 100
const largest = 60_000

/** A time-out of theirs within our bounds, and a word about it where it was not. */
export const timeoutOf = (ms: number): { readonly timeout_ms: number; readonly notes: ReadonlyArray<string> } => {
  const timeout_ms = Math.min(largest, Math.max(smallest, Math.round(ms)))
  return {
    timeout_ms,
    notes: timeout_ms === Math.round(ms) ? [] : [`its time-out of ${ms} ms becomes ${timeout_ms} ms`]
  }
}

/** Their headers without those that are the service's to set, which are told where they say something else. */
export const headersOf = (theirs: Iterable<readonly [string, string]>): {
  readonly headers: Readonly<Record<string, string>>
  readonly notes: ReadonlyArray<string>
} => {
  const headers: Record<string, string> = {}
  const notes: Array<string> = []
  for (const [name, value] of theirs) {
    if (!isReservedHeader(name)) headers[name] = value
    else if (!/^content-type$/i.test(name)) notes.push(`its header ${name} is left out: the service sets it`)
    else if (!/^application\/json *(?:; *charset=utf-8)?$/i.test(value)) {
      notes.push(`its content type ${value} becomes application/json`)
    }
  }
  return { headers, notes }
}
