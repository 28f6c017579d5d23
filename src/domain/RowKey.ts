/** What `ordering` goes by: a number for each row that an event is about. */
import type { EventType } from "./EventType.ts"

/** The key of what concerns every row: such an event waits for all before it, and all after it wait for it. */
export const everyRow = 0

// Two rounds of a multiplicative hash, 53 bits together. Rows that share a number merely wait for each other.
const hash = (text: string): number => {
  let a = 0xdeadbeef
  let b = 0x41c6ce57
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    a = Math.imul(a ^ code, 2654435761)
    b = Math.imul(b ^ code, 1597334677)
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909)
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909)
  return 4294967296 * (2097151 & b) + (a >>> 0) || 1
}

const keyOf = (row: Readonly<Record<string, unknown>>, primaryKey: ReadonlyArray<string>): number | undefined => {
  const values = primaryKey.map((column) => row[column])
  return values.length === 0 || values.includes(undefined) ? undefined : hash(JSON.stringify(values))
}

/**
 * The keys of an event's rows, one, or two where the primary key itself was changed. What cannot be told (TRUNCATE, a
 * column of the key that had another name then) concerns every row.
 */
export const rowKeys = (
  eventType: EventType,
  body: string,
  primaryKey: ReadonlyArray<string>
): ReadonlyArray<number> => {
  if (eventType === "TRUNCATE") return [everyRow]
  const { old_row, row } = JSON.parse(body) as Record<"row" | "old_row", Readonly<Record<string, unknown>> | null>
  const keys = [row, old_row].flatMap((row) => row === null ? [] : [keyOf(row, primaryKey) ?? everyRow])
  return keys.length === 0 || keys.includes(everyRow) ? [everyRow] : [...new Set(keys)]
}
