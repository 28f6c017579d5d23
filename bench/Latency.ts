import { fixed } from "./Report.ts"
import { percentile } from "./Statistics.ts"

/** Milliseconds from when COMMIT returned to the writer to when the request had arrived. */
export interface Latency {
  readonly p50: number
  readonly p99: number
  readonly max: number
}

export const latencyOf = (
  changes: ReadonlyArray<{ readonly returnedAt: number; readonly arrivedAt: number }>
): Latency => {
  const sorted = Float64Array.from(changes, ({ arrivedAt, returnedAt }) => arrivedAt - returnedAt).sort()
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), max: percentile(sorted, 1) }
}

export const latencyText = ({ p50, p99 }: Latency): string => `p50 ${fixed(2)(p50)} ms, p99 ${fixed(2)(p99)} ms`
