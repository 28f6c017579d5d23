import { Badge, type Tone } from "../parts/Badge.tsx"

/** What an attempt came to, as the log and the test show it. */
export interface Outcome {
  readonly status_code: number | null
  readonly error: string | null
}

const errorWords: Readonly<Record<string, string>> = {
  timeout: "Time-out",
  dns: "Name not found",
  connection_refused: "Refused",
  connection_reset: "Reset",
  unreachable: "Unreachable",
  tls: "TLS failed",
  protocol: "Not HTTP",
  redirect: "Redirect",
  blocked_address: "Blocked",
  aborted: "Aborted",
  skipped: "Skipped"
}

const explanations: Readonly<Record<string, string>> = {
  timeout: "The endpoint did not end its answer within the time-out.",
  dns: "The host's name could not be resolved.",
  connection_refused: "Nothing listens at the address.",
  connection_reset: "The connection was closed before an answer came.",
  unreachable: "The network has no way to the address.",
  tls: "No secure connection: look at the certificate.",
  protocol: "What came back was not HTTP.",
  redirect: "Redirects are not followed: give the address that it leads to.",
  blocked_address: "Deliveries may not go to this address; TRUSS_EGRESS_ALLOW says which private ones may be reached.",
  aborted: "The service stopped before an answer came; the event is tried again.",
  skipped: "Nothing was sent: somebody let the webhook go on past this event."
}

/** The kind of fault in a sentence; `undefined` where the endpoint answered. */
export const explanationOf = ({ error, status_code }: Outcome): string | undefined =>
  error === null
    ? status_code !== null && status_code >= 500 ? "The endpoint answered, with a fault of its own." : undefined
    : explanations[error] ?? error

/** Green for 2xx, yellow for 3xx and 4xx, red for 5xx and where no answer came. */
export const toneOf = ({ error, status_code }: Outcome): Tone => {
  if (error === "skipped") return "plain"
  if (status_code === null || status_code >= 500) return "bad"
  return status_code >= 200 && status_code < 300 && error === null ? "good" : "warn"
}

export const Result = ({ of }: { readonly of: Outcome }) => {
  const words = of.error === null ? undefined : errorWords[of.error] ?? of.error
  return (
    <Badge tone={toneOf(of)}>
      {of.status_code === null
        ? words ?? "No answer"
        : `${of.status_code}${words === undefined ? toneOf(of) === "good" ? " OK" : "" : ` ${words}`}`}
    </Badge>
  )
}
