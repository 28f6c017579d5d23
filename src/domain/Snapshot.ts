/**
 * PostgreSQL's snapshots as text, `xmin:xmax:xip,xip`, and positions made of them. Of two that one server took the later
 * one sees all that the earlier one does.
 */

/** A position without what is in memory only: `services/Cursors.ts` says what its members mean. */
export interface StoredPosition {
  readonly seen: string
  readonly target: string | null
  readonly afterSeq: number
  readonly gaps: ReadonlyArray<string>
}

const compare = (a: bigint, b: bigint): number => a < b ? -1 : a > b ? 1 : 0

/** Negative if the first was taken before the second; 0 if they see the same. */
export const bySnapshot = (a: string, b: string): number => {
  const [minA = "", maxA = "", runningA = ""] = a.split(":")
  const [minB = "", maxB = "", runningB = ""] = b.split(":")
  const running = (text: string) => text === "" ? 0 : text.split(",").length
  return compare(BigInt(maxA), BigInt(maxB)) || compare(BigInt(minA), BigInt(minB)) ||
    running(runningB) - running(runningA)
}

/**
 * The position from which everything comes that is still to come from any of these, and maybe more: what was dealt with
 * is in the log. They are of one webhook, so what one of them has ahead of it of the pauses ends like that of another.
 */
export const earliest = (positions: ReadonlyArray<StoredPosition>): StoredPosition => {
  const ordered = positions.toSorted((a, b) => bySnapshot(a.seen, b.seen) || b.gaps.length - a.gaps.length)
  const first = ordered[0]!
  const { gaps, seen, target } = first
  const abreast = ordered.filter((position) => bySnapshot(position.seen, seen) === 0)
  const isPaging = target !== null && ordered.every((position) =>
    abreast.includes(position)
      ? position.target !== null && bySnapshot(position.target, target) === 0
      : bySnapshot(position.seen, target) >= 0
  )
  return isPaging
    ? { seen, gaps, target, afterSeq: Math.min(...abreast.map((position) => position.afterSeq)) }
    : { seen, gaps, target: null, afterSeq: 0 }
}
