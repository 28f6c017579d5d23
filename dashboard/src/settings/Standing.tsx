import { queryOptions, useQuery } from "@tanstack/react-query"
import { Link } from "@tanstack/react-router"
import { call } from "../api/Client.ts"
import { Badge, Dot } from "../parts/Badge.tsx"
import { plural, seconds } from "../parts/Numbers.ts"
import { Empty, Failed, Loading } from "../parts/States.tsx"
import { Time } from "../parts/Time.tsx"
import { healthQuery } from "../shell/Health.ts"
import { Section } from "./Section.tsx"

const clusterQuery = queryOptions({
  queryKey: ["cluster"],
  queryFn: ({ signal }) => call("cluster", "get", { signal }),
  refetchInterval: 5_000
})

const Part = ({ fault, name, well }: {
  readonly name: string
  readonly well: string
  readonly fault: string | null
}) => (
  <div className="flex gap-3 border-t border-line px-4 py-2.5 first:border-t-0">
    <dt className="flex w-28 shrink-0 items-center gap-2 self-start font-medium">
      <Dot tone={fault === null ? "good" : "bad"} /> {name}
    </dt>
    <dd className={`min-w-0 wrap-anywhere ${fault === null ? "text-muted" : "text-bad"}`}>{fault ?? well}</dd>
  </div>
)

const Runners = () => {
  const cluster = useQuery(clusterQuery)
  if (cluster.data === undefined) {
    return cluster.isError
      ? <Failed error={cluster.error} onRetry={() => void cluster.refetch()} />
      : <Loading what="the processes" lines={2} />
  }
  if (cluster.data.runners.length === 0) return <Empty title="No process has said that it is there" />
  const { handovers, runners } = cluster.data
  const addressOf = (id: string) => runners.find((runner) => runner.id === id)?.address ?? "a runner that is gone"
  return (
    <>
      <ul>
        {runners.map((runner) => (
          <li
            key={runner.id}
            className="flex flex-wrap items-center gap-x-4 gap-y-1 border-t border-line px-4 py-2.5 first:border-t-0"
          >
            <span className="font-mono font-medium wrap-anywhere">{runner.address}</span>
            <Badge tone={runner.role === "active" ? "good" : "plain"}>
              {runner.role === "active" ? "Delivers" : "Stands by"}
            </Badge>
            {runner.role === "active" && (
              <span className="text-muted">
                {plural(runner.webhooks, "active webhook")}, {runner.lag_seconds === 0
                  ? "nothing waits"
                  : `the oldest event waits for ${seconds(runner.lag_seconds)}`}
              </span>
            )}
            <span className="ml-auto text-[0.93rem] text-muted">
              started <Time at={runner.started_at} style="ago" />
            </span>
          </li>
        ))}
      </ul>
      {handovers.length > 0 && (
        <details className="border-t border-line px-4 py-2.5">
          <summary className="cursor-pointer font-medium">
            {plural(handovers.length, "hand-over")}, the newest first
          </summary>
          <ol className="mt-2 grid gap-1 text-[0.93rem] text-muted">
            {handovers.map(({ at, from, part, to, webhook_id }) => (
              <li key={`${webhook_id}.${part}`} className="wrap-anywhere">
                <Time at={at} style="ago" />:{"  "}
                <Link to="/webhooks/$id" params={{ id: webhook_id }} className="font-mono underline">
                  {webhook_id}
                </Link>
                {part > 0 && `, part ${part},`} from {addressOf(from)} to {addressOf(to)}
              </li>
            ))}
          </ol>
        </details>
      )}
    </>
  )
}

/** Whether the parts of the service are well, and which processes there are. */
export const Standing = () => {
  const { data: health } = useQuery(healthQuery)
  return (
    <div className="grid items-start gap-5 lg:grid-cols-[1fr_2fr]">
      <Section title="Health">
        {health === undefined ? <Loading what="the health" lines={2} /> : (
          <dl>
            <Part
              name="Database"
              well="It answers."
              fault={health.reachable ? health.database : "Unknown: the service does not answer."}
            />
            <Part
              name="Listener"
              well="It hears of changes and delivers them, or stands by."
              fault={health.reachable ? health.listener : "Unknown: the service does not answer."}
            />
          </dl>
        )}
      </Section>
      <Section title="Processes">
        <Runners />
      </Section>
    </div>
  )
}
