import { toBase36 } from "./Base36.ts"

/**
 * Where one event stands in `truss.events`.
 *
 * `slot` is the partition, `seq` the position, `at` the time of the change in microseconds since 1970. `seq` alone can
 * come again after a restore from a backup; together with the time it does not, so both are in the public id.
 */
export interface EventRef {
  readonly slot: number
  readonly tableId: number
  readonly seq: number
  readonly at: number
}

const parse36 = (text: string): number => {
  const value = Number.parseInt(text, 36)
  return Number.isSafeInteger(value) && value >= 0 && value.toString(36) === text ? value : -1
}

/** The event's public id, `webhook-id` of its deliveries: the same on every retry and replay. */
export const encodeEventId = (ref: EventRef): string =>
  `evt_${toBase36(ref.at)}_${toBase36(ref.seq)}_${ref.slot.toString(36)}_${ref.tableId.toString(36)}`

/** The place a public id names, or `undefined` when it is not one of ours. */
export const decodeEventId = (id: string): EventRef | undefined => {
  const parts = id.split("_")
  if (parts.length !== 5 || parts[0] !== "evt") return undefined
  const [at = -1, seq = -1, slot = -1, tableId = -1] = parts.slice(1).map(parse36)
  if (at < 0 || seq < 0 || slot < 0 || slot > 32767 || tableId < 0 || tableId > 2147483647) return undefined
  return { at, seq, slot, tableId }
}
