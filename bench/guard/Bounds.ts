/** What a ratio within one run must not be worse than. */
export interface Bound {
  readonly name: string
  /** The better side. */
  readonly better: "higher" | "lower"
  readonly bound: number
}

/**
 * About a third worse than it is: 0.64–0.99 of what undici sends, 1.35–1.7 times its CPU, and 4.4 times the WAL, which
 * hardly differs from run to run, so its bound is nearer. What became better for good moves its bound.
 */
export const bounds = {
  burst: {
    name: "deliveries/s in a burst against what undici.request sends alone",
    better: "higher",
    bound: 0.45
  },
  cpu: {
    name: "CPU of a delivery, service and PostgreSQL, against that of a request by undici.request alone",
    better: "lower",
    bound: 2.5
  },
  wal: {
    name: "bytes of WAL of a row that is delivered against those of the row alone",
    better: "lower",
    bound: 5.5
  }
} as const satisfies Record<string, Bound>

export const holds = ({ better, bound }: Bound, ratio: number): boolean =>
  better === "higher" ? ratio >= bound : ratio <= bound
