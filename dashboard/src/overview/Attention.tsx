import { Link } from "@tanstack/react-router"
import { CircleCheck } from "lucide-react"
import { Dot } from "../parts/Badge.tsx"
import { count } from "../parts/Numbers.ts"
import { Empty } from "../parts/States.tsx"
import { healthOf } from "../webhooks/Health.ts"
import { useHealth } from "../webhooks/KnownHealth.ts"
import type { Webhook } from "../webhooks/Queries.ts"

const words = { good: "text-good", warn: "text-warn", bad: "text-bad", plain: "text-muted" } as const

/** More than these are behind a link. */
const mostShown = 10

const Urgent = ({ webhook }: { readonly webhook: Webhook }) => {
  const health = useHealth(webhook)
  return (
    <li className="relative grid gap-x-4 gap-y-0.5 border-t border-line px-4 py-3 first:border-t-0 hover:bg-raised sm:grid-cols-[14rem_9rem_1fr]">
      <Link
        to="/webhooks/$id"
        params={{ id: webhook.id }}
        data-row
        className="font-medium break-words before:absolute before:inset-0"
      >
        {webhook.name}
      </Link>
      <span className={`inline-flex items-center gap-2 self-start font-medium ${words[health.tone]}`}>
        <Dot tone={health.tone} /> {health.word}
      </span>
      <span className="text-muted">{health.reason}</span>
    </li>
  )
}

/** The webhooks that need somebody, the most urgent first, each with the reason. */
export const Attention = ({ webhooks }: { readonly webhooks: ReadonlyArray<Webhook> }) => {
  const urgent = webhooks.map((webhook) => ({ webhook, urgency: healthOf(webhook).urgency }))
    .filter(({ urgency }) => urgency > 0)
    .toSorted((a, b) => b.urgency - a.urgency)
  return (
    <section aria-labelledby="attention" className="card overflow-clip">
      <h2 id="attention" className="border-b border-line px-4 py-3 text-[1.07rem] font-semibold">Needs attention</h2>
      {urgent.length === 0
        ? <Empty title="All is well" icon={<CircleCheck size={28} />}>No webhook fails, lags or is disabled.</Empty>
        : (
          <ul>
            {urgent.slice(0, mostShown).map(({ webhook }) => <Urgent key={webhook.id} webhook={webhook} />)}
          </ul>
        )}
      {urgent.length > mostShown && (
        <p className="border-t border-line px-4 py-3">
          <Link to="/webhooks" search={{ attention: true }} className="text-accent underline underline-offset-4">
            All {count(urgent.length)} that need attention
          </Link>
        </p>
      )}
    </section>
  )
}
