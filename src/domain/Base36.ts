/** 36^5 */
const lowPart = 60_466_176

/** `n.toString(36)` of a whole number from 0: one beyond 2^31 takes V8 five times as long as its two halves. */
export const toBase36 = (n: number): string => {
  if (n < lowPart) return n.toString(36)
  const high = Math.floor(n / lowPart)
  // One more digit in front keeps the zeros.
  return toBase36(high) + (n - high * lowPart + lowPart).toString(36).slice(1)
}
