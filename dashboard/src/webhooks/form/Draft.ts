import type { WebhookCreate, WebhookPatch } from "../../../../src/domain/Webhook.ts"
import type { Fault } from "../../api/Problem.ts"
import type { Webhook } from "../Queries.ts"

type Condition = NonNullable<WebhookCreate["filter"]>[number]
export type ChangeType = WebhookCreate["events"][number]
export type FilterOp = Condition["op"]

/** A condition as it is typed; `in` takes its values a line each. */
export interface DraftCondition {
  readonly key: string
  readonly column: string
  readonly op: FilterOp
  readonly value: string
}

export interface DraftHeader {
  readonly key: string
  readonly name: string
  readonly value: string
}

/** A webhook as the form holds it: numbers are what was typed, so that nothing typed is lost. */
export interface Draft {
  readonly name: string
  readonly table: { readonly schema: string; readonly name: string } | null
  readonly events: ReadonlyArray<ChangeType>
  readonly columns: ReadonlyArray<string>
  readonly filter: ReadonlyArray<DraftCondition>
  readonly url: string
  readonly headers: ReadonlyArray<DraftHeader>
  readonly ordering: WebhookCreate["ordering"]
  readonly concurrency: string
  readonly partitions: string
  readonly rateLimit: string
  readonly timeout: string
  readonly maxAttempts: string
}

export const changeTypes: ReadonlyArray<ChangeType> = ["INSERT", "UPDATE", "DELETE", "TRUNCATE"]

let keys = 0
/** Tells list items apart while they are edited. */
export const newKey = (): string => `item-${keys++}`

export const emptyDraft: Draft = {
  name: "",
  table: null,
  events: ["INSERT", "UPDATE", "DELETE"],
  columns: [],
  filter: [],
  url: "",
  headers: [],
  ordering: "none",
  concurrency: "16",
  partitions: "1",
  rateLimit: "",
  timeout: "15",
  maxAttempts: "8"
}

export const takesValue = (op: FilterOp): boolean => op !== "is_null" && op !== "not_null" && op !== "changed"

const textOf = (value: unknown): string => typeof value === "string" ? value : JSON.stringify(value) ?? ""

const valueText = ({ op, value }: Condition): string =>
  op === "in" && Array.isArray(value) ? value.map(textOf).join("\n") : value === undefined ? "" : textOf(value)

export const draftOf = (webhook: Webhook): Draft => ({
  name: webhook.name,
  table: { schema: webhook.table_schema, name: webhook.table_name },
  events: webhook.events,
  columns: webhook.columns ?? [],
  filter: (webhook.filter ?? []).map((condition) => ({
    key: newKey(),
    column: condition.column,
    op: condition.op,
    value: valueText(condition)
  })),
  url: webhook.url,
  headers: Object.entries(webhook.headers).map(([name, value]) => ({ key: newKey(), name, value })),
  ordering: webhook.ordering,
  concurrency: String(webhook.concurrency),
  partitions: String(webhook.partitions),
  rateLimit: webhook.rate_limit === null ? "" : String(webhook.rate_limit),
  timeout: String(webhook.timeout_ms / 1_000),
  maxAttempts: String(webhook.max_attempts)
})

/** Values go as text: the service reads it by the column's type, to the last digit. JSON columns get JSON. */
const valueOf = (text: string, type: string | undefined): unknown => {
  if (type !== "json" && type !== "jsonb") return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const conditionOf = (types: ReadonlyMap<string, string>) => ({ column, op, value }: DraftCondition): Condition => {
  if (!takesValue(op)) return { column, op }
  const type = types.get(column)
  const values = value.split("\n").filter((line) => line !== "")
  return { column, op, value: op === "in" ? values.map((line) => valueOf(line, type)) : valueOf(value, type) }
}

const number = (text: string): number => text.trim() === "" ? Number.NaN : Number(text)

/** What decides which changes fire. `types` are the table's columns by name. */
export const selectionOf = (draft: Draft, types: ReadonlyMap<string, string>) => ({
  table_schema: draft.table?.schema ?? "public",
  table_name: draft.table?.name ?? "",
  events: draft.events,
  columns: draft.columns.length === 0 || !draft.events.includes("UPDATE") ? null : draft.columns,
  filter: draft.filter.length === 0 ? null : draft.filter.map(conditionOf(types))
})

/** The body of a request that makes a webhook of it. */
export const bodyOf = (draft: Draft, types: ReadonlyMap<string, string>): Omit<WebhookCreate, "secret" | "active"> => ({
  ...selectionOf(draft, types),
  name: draft.name.trim(),
  url: draft.url.trim(),
  headers: Object.fromEntries(
    draft.headers.filter(({ name }) => name.trim() !== "").map(({ name, value }) => [name.trim(), value])
  ),
  ordering: draft.ordering,
  concurrency: number(draft.concurrency),
  partitions: number(draft.partitions),
  rate_limit: draft.rateLimit.trim() === "" ? null : number(draft.rateLimit),
  timeout_ms: Math.round(number(draft.timeout) * 1_000),
  max_attempts: number(draft.maxAttempts)
})

/** Only what differs, so that a save does not undo what somebody else changed meanwhile. */
export const patchOf = (before: Draft, after: Draft, types: ReadonlyMap<string, string>): WebhookPatch => {
  const old: Readonly<Record<string, unknown>> = { ...bodyOf(before, types) }
  return Object.fromEntries(
    Object.entries(bodyOf(after, types)).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(old[name]))
  )
}

/** The first fault of a field, or of what is in it: `filter` finds `filter.0.op` too where `deep`. */
export const faultAt = (faults: ReadonlyArray<Fault>, path: string, deep = false): string | undefined =>
  faults.find((fault) => fault.path === path || (deep && fault.path.startsWith(`${path}.`)))?.message
