import { infiniteQueryOptions, useInfiniteQuery } from "@tanstack/react-query"
import { Link } from "@tanstack/react-router"
import { type Answer, call } from "../api/Client.ts"
import { Button } from "../parts/Button.tsx"
import { Empty, Failed, Loading } from "../parts/States.tsx"
import { Time } from "../parts/Time.tsx"
import { Section } from "./Section.tsx"

type AuditRecord = Answer<"audit", "list">["data"][number]

const auditQuery = infiniteQueryOptions({
  queryKey: ["audit"],
  queryFn: ({ pageParam, signal }) =>
    call("audit", "list", { query: { limit: 20, ...(pageParam !== undefined && { cursor: pageParam }) }, signal }),
  initialPageParam: undefined as string | undefined,
  getNextPageParam: (page) => page.next_cursor ?? undefined
})

/** An action as a sentence says it; there may be others than today's. */
const words: Readonly<Record<string, string>> = {
  "webhook.created": "created a webhook",
  "webhook.updated": "changed a webhook",
  "webhook.deleted": "deleted a webhook",
  "webhook.secret_rotated": "rotated a secret",
  "webhook.disabled": "disabled a webhook",
  "job.created": "started a replay or a recovery",
  "job.cancelled": "cancelled a replay or a recovery",
  "key.created": "made an API key",
  "key.revoked": "revoked an API key",
  "session.created": "signed in",
  "session.ended": "signed out"
}

const textOf = (value: unknown): string => typeof value === "string" ? value : JSON.stringify(value)

const Entry = ({ entry }: { readonly entry: AuditRecord }) => (
  <li className="grid gap-x-4 gap-y-0.5 border-t border-line px-4 py-2.5 first:border-t-0 sm:grid-cols-[14rem_1fr]">
    <span className="text-muted">
      <Time at={entry.at} />
    </span>
    <div className="min-w-0 wrap-anywhere">
      <span className="font-medium">{entry.actor}</span> {words[entry.action] ?? entry.action}
      {entry.webhook_id !== null && (
        <>
          {" "}
          <Link
            to="/webhooks/$id"
            params={{ id: entry.webhook_id }}
            preload={false}
            className="font-mono text-[0.93rem] text-accent underline underline-offset-4"
          >
            {entry.webhook_id}
          </Link>
        </>
      )}
      {Object.keys(entry.detail).length > 0 && (
        <span className="block text-[0.93rem] text-muted">
          {Object.entries(entry.detail).map(([name, value]) => `${name}: ${textOf(value)}`).join(" · ")}
        </span>
      )}
    </div>
  </li>
)

/** Who changed what, the newest first. */
export const Audit = () => {
  const pages = useInfiniteQuery(auditQuery)
  const entries = pages.data?.pages.flatMap(({ data }) => data)
  return (
    <Section title="Audit">
      {entries === undefined
        ? pages.isError
          ? <Failed error={pages.error} onRetry={() => void pages.refetch()} />
          : <Loading what="the audit" />
        : entries.length === 0
        ? <Empty title="Nothing was changed yet" />
        : (
          <ol>
            {entries.map((entry) => <Entry key={entry.id} entry={entry} />)}
          </ol>
        )}
      {pages.hasNextPage && (
        <div className="border-t border-line p-3 text-center">
          <Button busy={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()}>Show more</Button>
        </div>
      )}
    </Section>
  )
}
