import { useQuery } from "@tanstack/react-query"
import { Button } from "../../parts/Button.tsx"
import { plural } from "../../parts/Numbers.ts"
import { Progress } from "./Progress.tsx"
import { jobsQuery } from "./Queries.ts"

/** What was started, as it goes on. */
export const Started = ({ id, job, onClose }: {
  readonly id: string
  readonly job: { readonly job_id: string; readonly matched: number }
  readonly onClose: () => void
}) => {
  const { data } = useQuery(jobsQuery(id))
  const found = data?.data.find((one) => one.id === job.job_id)
  return (
    <div className="grid gap-4">
      <p role="status">
        {job.matched === 0
          ? "No event matches, so nothing is sent."
          : `${plural(job.matched, "event")} ${job.matched === 1 ? "is" : "are"} sent, behind live events.`}
      </p>
      {found === undefined
        ? job.matched > 0 && <div className="skeleton h-9" />
        : <Progress job={found} webhookId={id} />}
      <Button look="primary" onClick={onClose}>Close</Button>
    </div>
  )
}
