/** What a ratio within one run must not be worse than. */
export interface Bound {
  readonly name: string
  /** The better side. */
  readonly better: "higher" | "lower"
  readonly bound: number
}

/**
 * About half as good as it is or worse: the guard is there for the change that breaks a hot path, on a machine that does
 * other things meanwhile, not for a tenth. The bytes of WAL hardly differ from run to run (4.4), so their bound is nearer.
 * What became better for good moves its bound.
 */
export const bounds = {
  burst: {
    name: "deliveries/s in a burst against what undici.request sends alone",
    better: "higher",
    bound: 0.2
  },
  cpu: {
    name: "CPU of a delivery, service and PostgreSQL, against that of a request by undici.request alone",
    better: "lower",
    bound: 8
  },
  wal: {
    name: "bytes of WAL of a row that is delivered against those of the row alone",
    better: "lower",
    bound: 6.5
  }
} as const satisfies Record<string, Bound>

export const holds = ({ better, bound }: Bound, ratio: number): boolean =>
  better === "higher" ? ratio >= bound : ratio <= bound
