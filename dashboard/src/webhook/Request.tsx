import type { Webhook } from "../webhooks/Queries.ts"
import type { LogEntry } from "./Deliveries.ts"

const headersOf = (entry: LogEntry, webhook: Webhook): ReadonlyArray<readonly [string, string]> => [
  ["Content-Type", "application/json"],
  ["X-Truss-Event", entry.event_type],
  ["X-Truss-Delivery", entry.id],
  ...Object.entries(webhook.headers),
  ["webhook-id", entry.event_id],
  ["webhook-timestamp", String(Math.floor(Date.parse(entry.created_at) / 1_000))],
  ...(webhook.has_secret
    ? [["webhook-signature", "v1,…"] as const, ["X-Truss-Signature", "…"] as const]
    : [])
]

/** The request's headers as they follow from the entry; secrets and stored values are not kept readable. */
export const Request = ({ entry, webhook }: { readonly entry: LogEntry; readonly webhook: Webhook }) => (
  <div
    className="overflow-x-auto rounded-lg border border-line p-3"
    tabIndex={0}
    role="region"
    aria-label="Request headers"
  >
    <p className="mb-2 font-mono text-[0.89rem] break-all">
      {webhook.subscriber === null ? "POST" : "CALL"} {webhook.url}
    </p>
    <dl className="grid grid-cols-[auto_1fr] gap-x-4 gap-y-0.5 font-mono text-[0.89rem]">
      {headersOf(entry, webhook).map(([name, value]) => (
        <div key={name} className="contents">
          <dt className="text-muted">{name}</dt>
          <dd className="break-all">{value}</dd>
        </div>
      ))}
    </dl>
  </div>
)
