import { toBase36 } from "./Base36.ts"

/**
 * What names one attempt: its event's position and a random number drawn before it is sent, since `X-Truss-Delivery`
 * carries the id of a log entry that is written only when the attempt has ended.
 */
export interface AttemptRef {
  readonly eventSeq: number
  readonly nonce: number
}

/** Nonces are whole numbers below this (2^48), exact in a JavaScript number and in `bigint`. */
export const nonceLimit = 281_474_976_710_656

const pattern = /^dlv_([0-9a-z]{1,11})_([0-9a-z]{1,10})$/

/** The public id of a log entry, and `X-Truss-Delivery` of its request: new on every attempt. */
export const encodeAttemptId = (ref: AttemptRef): string => `dlv_${toBase36(ref.eventSeq)}_${toBase36(ref.nonce)}`

/** The attempt a public id names, or `undefined` when it is not one of ours. */
export const decodeAttemptId = (id: string): AttemptRef | undefined => {
  const match = pattern.exec(id)
  if (match === null) return undefined
  const ref = { eventSeq: Number.parseInt(match[1]!, 36), nonce: Number.parseInt(match[2]!, 36) }
  return Number.isSafeInteger(ref.eventSeq) && ref.nonce < nonceLimit && encodeAttemptId(ref) === id ? ref : undefined
}
