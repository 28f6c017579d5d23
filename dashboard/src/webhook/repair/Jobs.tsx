import { useQuery } from "@tanstack/react-query"
import { Time } from "../../parts/Time.tsx"
import { Progress } from "./Progress.tsx"
import { jobsQuery } from "./Queries.ts"

/** The last bulk replays and recoveries of a webhook, if there were any. */
export const Jobs = ({ id }: { readonly id: string }) => {
  const jobs = useQuery(jobsQuery(id)).data?.data ?? []
  if (jobs.length === 0) return null
  return (
    <section aria-labelledby="jobs" className="card overflow-clip">
      <h2 id="jobs" className="border-b border-line px-4 py-3 text-[1.07rem] font-semibold">Replays and recoveries</h2>
      <ul>
        {jobs.map((job) => (
          <li
            key={job.id}
            className="grid items-center gap-x-4 border-t border-line px-4 py-1.5 first:border-t-0 sm:grid-cols-[1fr_auto]"
          >
            <Progress job={job} webhookId={id} />
            <span className="text-muted">
              <Time at={job.created_at} style="ago" />
            </span>
          </li>
        ))}
      </ul>
    </section>
  )
}
