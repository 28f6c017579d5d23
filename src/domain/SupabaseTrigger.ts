import type { ChangeType } from "./EventType.ts"
import { carried, headersOf, type ImportPlan, notCarried, timeoutOf } from "./ImportPlan.ts"

/** A database webhook of Supabase: a trigger that calls `supabase_functions.http_request`. */
export interface SupabaseTrigger {
  readonly name: string
  readonly table_schema: string
  readonly table_name: string
  /** `pg_trigger.tgtype`. */
  readonly type: number
  /** `pg_trigger.tgenabled`. */
  readonly enabled: string
  /** URL, method, headers, params, time-out in ms, retries. */
  readonly args: ReadonlyArray<string>
  /** Of `UPDATE OF …`. */
  readonly columns: ReadonlyArray<string>
  /** Of `WHEN (…)`, as PostgreSQL writes it. */
  readonly condition: string | null
}

/** Bits of `tgtype`, from PostgreSQL's catalog/pg_trigger.h. */
const forEachRow = 1
const eventBits: ReadonlyArray<readonly [ChangeType, number]> = [["INSERT", 4], ["UPDATE", 16], ["DELETE", 8]]

/** Their function takes the text `null` for an argument that is not there. */
const given = (text: string | undefined) => text === undefined || text === "null" ? undefined : text

/** A JSON object as its members' text; undefined where it is none. */
const members = (text: string): ReadonlyArray<readonly [string, string]> | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined
    return Object.entries(value).map(([name, member]) => [
      name,
      typeof member === "string" ? member : JSON.stringify(member)
    ])
  } catch {
    return undefined
  }
}

const withQuery = (url: string, params: ReadonlyArray<readonly [string, string]>) =>
  params.length === 0
    ? url
    : `${url}${url.includes("?") ? "&" : "?"}${new URLSearchParams(params.map(([name, value]) => [name, value]))}`

/** What becomes of it. */
export const planSupabaseTrigger = (trigger: SupabaseTrigger): ImportPlan => {
  const theirs = `${trigger.name} on ${trigger.table_schema}.${trigger.table_name}`
  const [url = "", method, headersText, paramsText, timeoutText, retriesText] = trigger.args
  if ((trigger.type & forEachRow) === 0) {
    return notCarried(theirs, "it fires once for a statement and sends no row; ours send each row")
  }
  if (trigger.enabled === "R") return notCarried(theirs, "it fires for replicated changes alone; ours never do")
  if (given(method) !== "POST") return notCarried(theirs, `it sends ${method}; ours always send POST`)
  const headers = members(given(headersText) ?? "{}")
  if (headers === undefined) {
    return notCarried(theirs, "its headers are no JSON object: it cannot work there either")
  }
  const params = members(given(paramsText) ?? "{}")
  if (params === undefined) return notCarried(theirs, "its parameters are no JSON object: it cannot work there either")

  const notes: Array<string> = []
  const taken = headersOf(headers)
  notes.push(...taken.notes)
  if (params.length > 0) notes.push("its parameters are in the query of the URL now")
  const ms = given(timeoutText)
  const timeout = ms === undefined || !Number.isFinite(Number(ms)) ? undefined : timeoutOf(Number(ms))
  notes.push(...timeout?.notes ?? [])
  const retries = Number(given(retriesText) ?? 0)
  if (retries > 0) notes.push(`its ${retries} retries inside the transaction become ours: 8 attempts over 9 hours`)
  const columns = trigger.columns.length > 0
  if (columns) notes.push("UPDATE OF fires when the columns are in SET, ours when one of them has another value")
  if (trigger.condition !== null) {
    notes.push(`its condition is not carried over: write it as \`filter\` or \`columns\`: WHEN ${trigger.condition}`)
  }
  if (trigger.enabled === "D") notes.push("it is disabled there, so ours is made paused")
  if (trigger.enabled === "A") notes.push("it fires under session_replication_role = replica, too; ours does not")

  return carried(
    theirs,
    {
      name: trigger.name,
      table_schema: trigger.table_schema,
      table_name: trigger.table_name,
      events: eventBits.flatMap(([event, bit]) => (trigger.type & bit) === 0 ? [] : [event]),
      url: withQuery(url, params),
      headers: taken.headers,
      ...(timeout === undefined ? {} : { timeout_ms: timeout.timeout_ms }),
      ...(columns ? { columns: trigger.columns } : {})
    },
    notes,
    trigger.condition !== null || trigger.enabled === "D"
  )
}
