import type { Answer } from "./Attempt.ts"

/**
 * Seconds to wait after the first, second, … failed attempt; the last one repeats for webhooks with more attempts.
 * Contract, section 3.
 */
export const retrySeconds: ReadonlyArray<number> = [5, 30, 120, 600, 1800, 7200, 21600]

/** The largest `Retry-After` that is honoured, in milliseconds. */
export const maxRetryAfterMs = 6 * 3_600_000

/** Each delay is spread by this share to either side, so that what failed together does not come back together. */
export const jitter = 0.2

/**
 * Milliseconds to wait after `attempt` (1…) failed. `random` is in [0, 1); `retryAfterMs` is what the endpoint asked
 * for, if it did: the later of the two counts.
 */
export const retryDelayMs = (attempt: number, random: number, retryAfterMs?: number): number => {
  const seconds = retrySeconds[Math.min(attempt, retrySeconds.length) - 1] ?? retrySeconds[0]!
  const own = Math.round(seconds * 1000 * (1 - jitter + 2 * jitter * random))
  return retryAfterMs === undefined ? own : Math.max(own, Math.min(retryAfterMs, maxRetryAfterMs))
}

/**
 * The wait that a `Retry-After` header asks for, in milliseconds from `nowMs`; `undefined` when it says nothing that
 * RFC 9110, section 10.2.3 allows (whole seconds or an HTTP date).
 */
export const parseRetryAfter = (header: string, nowMs: number): number | undefined => {
  const text = header.trim()
  if (/^\d+$/.test(text)) return Number(text) * 1000
  if (!/^[A-Z][a-z]{2,8},? /.test(text)) return undefined
  // The third form, `asctime`, is UTC without saying so.
  const at = Date.parse(text.endsWith(" GMT") ? text : `${text} GMT`)
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs)
}

/** What the endpoint asks for with 429 or 503, in milliseconds from `nowMs`; `undefined` when it does not. */
export const retryAfterOf = ({ retryAfter, statusCode }: Answer, nowMs: number): number | undefined =>
  retryAfter !== null && (statusCode === 429 || statusCode === 503) ? parseRetryAfter(retryAfter, nowMs) : undefined
