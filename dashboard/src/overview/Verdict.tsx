import { useQuery } from "@tanstack/react-query"
import type { ReactNode } from "react"
import { Dot, type Tone } from "../parts/Badge.tsx"
import { plural } from "../parts/Numbers.ts"
import { type Health as Standing, healthQuery, isWell } from "../shell/Health.ts"
import { type Fault, faultOf } from "../webhooks/Health.ts"
import type { Webhook } from "../webhooks/Queries.ts"

type Finding = readonly [tone: Tone, words: string]

const ours = (standing: Standing, missing: number): Finding => {
  if (!standing.reachable) return ["bad", "The service does not answer."]
  if (standing.database !== null) return ["bad", "The database is away: deliveries wait."]
  if (!isWell(standing)) return ["bad", "It does not deliver just now."]
  if (missing > 0) return ["bad", `It works, but ${plural(missing, "watched table is", "watched tables are")} missing.`]
  return ["good", "It works: the database and the listener answer."]
}

const theirs = (refusing: number, sent: number): Finding => {
  if (sent === 0) return ["plain", "Nothing was sent yet."]
  if (refusing === 0) return ["good", "Who answers takes what is sent."]
  return ["bad", `${plural(refusing, "webhook gets", "webhooks get")} an error for an answer.`]
}

const between = (unanswered: number, sent: number): Finding => {
  if (sent === 0) return ["plain", "Nothing was sent yet."]
  if (unanswered === 0) return ["good", "Every endpoint is reached."]
  if (unanswered === sent && sent > 1) return ["bad", "None is reached: look at this machine's own way out first."]
  return ["bad", `${plural(unanswered, "webhook gets", "webhooks get")} no answer at all.`]
}

const Part = ({ children, finding }: { readonly finding: Finding | undefined; readonly children: ReactNode }) => (
  <div className="min-w-0 bg-surface px-4 py-3">
    <dt className="flex items-center gap-2 font-semibold">
      <Dot tone={finding?.[0] ?? "plain"} /> {children}
    </dt>
    <dd className={finding?.[0] === "bad" ? "text-bad" : "text-muted"}>
      {finding?.[1] ?? <span className="skeleton block h-5" />}
    </dd>
  </div>
)

/** Whether it is us, them or the network, in a sentence each. `webhooks` are all, or not known yet. */
export const Verdict = ({ webhooks }: { readonly webhooks: ReadonlyArray<Webhook> | undefined }) => {
  const standing = useQuery(healthQuery).data
  const count = (fault: Fault) => webhooks?.filter((webhook) => faultOf(webhook) === fault).length ?? 0
  const sent = webhooks?.filter(({ last_delivery_at }) => last_delivery_at !== null).length ?? 0
  const known = webhooks !== undefined
  return (
    <section aria-label="Where a fault is">
      <dl className="grid gap-px overflow-hidden rounded-[10px] border border-line bg-line sm:grid-cols-3">
        <Part finding={standing === undefined || !known ? undefined : ours(standing, count("us"))}>This service</Part>
        <Part finding={known ? theirs(count("them"), sent) : undefined}>Their endpoints</Part>
        <Part finding={known ? between(count("way"), sent) : undefined}>The network</Part>
      </dl>
    </section>
  )
}
