import { Link } from "@tanstack/react-router"
import type { HTMLAttributes, Ref } from "react"
import { Dot } from "../parts/Badge.tsx"
import { compact, count } from "../parts/Numbers.ts"
import { Time } from "../parts/Time.tsx"
import { Toggle } from "../parts/Toggle.tsx"
import { useMayChange } from "../shell/Session.ts"
import { useHealth } from "./KnownHealth.ts"
import type { Webhook } from "./Queries.ts"
import { Sparkline } from "./Sparkline.tsx"
import { useSwitching } from "./Switching.ts"

const tableOf = ({ table_name, table_schema }: Webhook) =>
  table_schema === "public" ? table_name : `${table_schema}.${table_name}`

const words = { good: "text-good", warn: "text-warn", bad: "text-bad", plain: "text-muted" } as const

const Fact = ({ children, label }: { readonly label: string; readonly children: React.ReactNode }) => (
  <span className="tabular-nums">
    <span className="mr-1.5 text-muted xl:hidden">{label}</span>
    {children}
  </span>
)

/** The columns of the list from 1280 pixels on; below them a row is a small card. */
export const rowGrid = "xl:grid-cols-[minmax(14rem,1.5fr)_minmax(13rem,1.35fr)_11rem_6.5rem_5rem_7rem_3rem]"

interface Props extends HTMLAttributes<HTMLLIElement> {
  readonly webhook: Webhook
  readonly ref: Ref<HTMLLIElement>
}

/** One webhook at a glance. The whole row leads to it. */
export const Row = ({ webhook, ...place }: Props) => {
  const switching = useSwitching()
  const mayChange = useMayChange()
  const health = useHealth(webhook)
  return (
    <li
      {...place}
      className={`absolute inset-x-0 top-0 grid grid-cols-[1fr_auto] items-center gap-x-4 gap-y-2 border-b border-line px-4 py-3 hover:bg-raised/60 has-[a:focus-visible]:bg-raised xl:gap-y-0 ${rowGrid}`}
    >
      <div className="min-w-0">
        <Link
          to="/webhooks/$id"
          params={{ id: webhook.id }}
          data-row
          className="font-medium before:absolute before:inset-0 focus-visible:outline-offset-4"
        >
          <span className="break-words">{webhook.name}</span>
        </Link>
        <div className="truncate text-[0.93rem] text-muted" title={`${tableOf(webhook)} → ${webhook.url}`}>
          <span className="font-mono">{tableOf(webhook)}</span> → {webhook.url.replace(/^https?:\/\//, "")}
        </div>
      </div>
      <div className="relative justify-self-end xl:order-last">
        <Toggle
          label={`${webhook.name} is active`}
          checked={webhook.active}
          disabled={!mayChange}
          onChange={(active) => switching.mutate({ webhook, active })}
        />
      </div>
      <div className="col-span-2 min-w-0 xl:col-span-1">
        <span className={`inline-flex items-center gap-2 font-medium ${words[health.tone]}`}>
          <Dot tone={health.tone} /> {health.word}
        </span>
        <p className="text-[0.93rem] text-muted">{health.reason}</p>
      </div>
      <div className="col-span-2 xl:col-span-1">
        <Sparkline id={webhook.id} />
      </div>
      <div className="col-span-2 flex flex-wrap gap-x-5 gap-y-1 text-[0.93rem] xl:contents xl:text-[1rem]">
        <Fact label="Failed in a row">
          <span className={webhook.fail_count > 0 ? "font-medium text-bad" : "text-muted"}>
            {count(webhook.fail_count)}
          </span>
        </Fact>
        <Fact label="Backlog">
          <span className={webhook.backlog > 0 ? "" : "text-muted"}>
            {webhook.backlog >= 10_000 ? `${compact(webhook.backlog)}+` : count(webhook.backlog)}
          </span>
        </Fact>
        <Fact label="Last delivery">
          <span className="relative text-muted">
            {webhook.last_delivery_at === null ? "never" : <Time at={webhook.last_delivery_at} style="ago" />}
          </span>
        </Fact>
      </div>
    </li>
  )
}
