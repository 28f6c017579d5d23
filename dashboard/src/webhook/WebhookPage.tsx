import { useQuery } from "@tanstack/react-query"
import { Link, useParams, useSearch } from "@tanstack/react-router"
import { ChevronRight, Pencil } from "lucide-react"
import { Problem } from "../api/Problem.ts"
import { Dot } from "../parts/Badge.tsx"
import { buttonClass } from "../parts/Button.tsx"
import { Page } from "../parts/Page.tsx"
import { Empty, Failed, Loading } from "../parts/States.tsx"
import { Time } from "../parts/Time.tsx"
import { Toggle } from "../parts/Toggle.tsx"
import { ForWriters } from "../shell/ReadOnly.tsx"
import { useMayChange } from "../shell/Session.ts"
import { conditionsOf } from "../webhooks/Conditions.ts"
import { useHealth } from "../webhooks/KnownHealth.ts"
import { type Webhook, webhookQuery } from "../webhooks/Queries.ts"
import { useSwitching } from "../webhooks/Switching.ts"
import { Details } from "./Details.tsx"
import { Log } from "./Log.tsx"
import { MoreMenu } from "./MoreMenu.tsx"
import { Jobs } from "./repair/Jobs.tsx"
import { ReplayFailed } from "./repair/ReplayFailed.tsx"
import { Summary } from "./Summary.tsx"
import { TestDialog } from "./TestDialog.tsx"
import { Verify } from "./Verify.tsx"

const strips = {
  good: "bg-good-soft text-good",
  warn: "bg-warn-soft text-warn",
  bad: "bg-bad-soft text-bad",
  plain: "bg-raised text-muted"
} as const

const Heading = ({ webhook }: { readonly webhook: Webhook }) => (
  <div className="min-w-0">
    <Link to="/webhooks" className="inline-flex items-center gap-0.5 text-muted hover:text-ink">
      Webhooks <ChevronRight size={14} aria-hidden />
    </Link>
    <h1 className="text-[1.5rem] leading-tight font-semibold tracking-tight break-words">{webhook.name}</h1>
    <p className="mt-1 wrap-anywhere text-muted">
      <span className="font-mono">{webhook.table_schema}.{webhook.table_name}</span> ({webhook.events.join(", ")}) →
      {" "}
      <span className="font-mono">{webhook.url}</span>
      <span className="block">{conditionsOf(webhook)}</span>
    </p>
  </div>
)

const HealthStrip = ({ webhook }: { readonly webhook: Webhook }) => {
  const health = useHealth(webhook)
  return (
    <div
      className={`flex flex-wrap items-center gap-x-4 gap-y-2 rounded-lg px-4 py-2.5 ${strips[health.tone]}`}
    >
      <p role="status" className="min-w-0 flex-[1_1_20rem]">
        <Dot tone={health.tone} /> <strong className="font-semibold">{health.word}.</strong> {health.reason}
        {webhook.next_probe_at !== null && webhook.active && (
          <>
            {" "}The next probe goes out <Time at={webhook.next_probe_at} style="ago" />.
          </>
        )}
      </p>
      <ForWriters>
        <ReplayFailed webhook={webhook} />
      </ForWriters>
    </div>
  )
}

const Loaded = ({ webhook }: { readonly webhook: Webhook }) => {
  const search = useSearch({ from: "/webhooks/$id" })
  const switching = useSwitching()
  const mayChange = useMayChange()
  return (
    <Page
      title={webhook.name}
      heading={<Heading webhook={webhook} />}
      actions={
        <>
          <label className="mr-2 flex items-center gap-2.5">
            <span aria-hidden>{webhook.active ? "Active" : "Not active"}</span>
            <Toggle
              label={`${webhook.name} is active`}
              checked={webhook.active}
              disabled={!mayChange}
              onChange={(active) => switching.mutate({ webhook, active })}
            />
          </label>
          <ForWriters>
            <TestDialog webhook={webhook} />
            <Link to="/webhooks/$id/edit" params={{ id: webhook.id }} className={buttonClass()}>
              <Pencil size={15} aria-hidden /> Edit
            </Link>
            <MoreMenu webhook={webhook} />
          </ForWriters>
        </>
      }
    >
      <HealthStrip webhook={webhook} />
      <Summary webhook={webhook} />
      <Jobs id={webhook.id} />
      <Log id={webhook.id} search={search} />
      <Verify webhook={webhook} />
      <Details logId={search.delivery} webhook={webhook} />
    </Page>
  )
}

/** One webhook: how it does, what it sent, and what can be done about it. */
export const WebhookPage = () => {
  const { id } = useParams({ from: "/webhooks/$id" })
  const found = useQuery(webhookQuery(id))
  if (found.data !== undefined) return <Loaded key={id} webhook={found.data.value} />
  return (
    <Page title="Webhook">
      <div className="card">
        {found.error instanceof Problem && found.error.status === 404
          ? (
            <Empty
              title="There is no such webhook"
              action={<Link to="/webhooks" className={buttonClass()}>To the webhooks</Link>}
            >
              It may have been deleted.
            </Empty>
          )
          : found.isError
          ? <Failed error={found.error} onRetry={() => void found.refetch()} />
          : <Loading what="the webhook" />}
      </div>
    </Page>
  )
}
