/** What the receiver answers, always. */
export const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"

/** What the benchmark and its receiver say to each other. */
export type ToReceiver =
  /** Forget what was counted. `expect`: say so when so many requests have come. `arrivals`: keep the time of each row. */
  | { readonly kind: "reset"; readonly expect: number; readonly arrivals: boolean }
  | { readonly kind: "report" }

export type FromReceiver =
  | { readonly kind: "listening"; readonly port: number }
  | { readonly kind: "ready" }
  /** `at`: when the last of them came, by the shared clock. */
  | { readonly kind: "reached"; readonly at: number }
  | ReceiverReport

export interface ReceiverReport {
  readonly kind: "report"
  readonly requests: number
  readonly bodyBytes: number
  /** That were opened since the reset. */
  readonly connections: number
  /** Microseconds of CPU time since the reset. */
  readonly cpuMicros: number
  /** The `id` of a row and when its request was complete, by the shared clock. */
  readonly arrivals: ReadonlyArray<readonly [id: number, at: number]>
}

/** How the ceiling is reached: a library, or requests written to the socket as they are, several at a time. */
export type CeilingClient = "undici" | "node:http" | "raw"

export interface ToCeiling {
  readonly client: CeilingClient
  readonly sign: boolean
  readonly url: string
  readonly requests: number
  readonly inFlight: number
  readonly bodies: ReadonlyArray<string>
}

/** Milliseconds from the first request to the last answer, or why there are none. */
export type FromCeiling = { readonly elapsedMs: number } | { readonly error: string }
