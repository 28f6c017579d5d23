import { Progress as Bar } from "@base-ui/react/progress"
import { useMutation, useQueryClient } from "@tanstack/react-query"
import { call } from "../../api/Client.ts"
import { Badge } from "../../parts/Badge.tsx"
import { Button } from "../../parts/Button.tsx"
import { count, plural } from "../../parts/Numbers.ts"
import { tellFailure } from "../../parts/Toasts.tsx"
import { ForWriters } from "../../shell/ReadOnly.tsx"
import { type Job, jobsQuery } from "./Queries.ts"

const states = {
  running: ["warn", "Running"],
  done: ["good", "Done"],
  cancelled: ["plain", "Cancelled"]
} as const

const kinds = { replay: "Replay", recover: "Recovery" } as const

/** How far a bulk replay or a recovery is, with a way to stop it. */
export const Progress = ({ job, webhookId }: { readonly job: Job; readonly webhookId: string }) => {
  const queries = useQueryClient()
  const cancel = useMutation({
    mutationFn: () => call("repair", "cancel", { params: { id: webhookId, jobId: job.id } }),
    onSettled: () => queries.invalidateQueries({ queryKey: jobsQuery(webhookId).queryKey }),
    onError: tellFailure("It was not cancelled")
  })
  const [tone, word] = states[job.state]
  const text = job.state === "done"
    ? plural(job.matched, "event")
    : `${count(job.done)} of ${plural(job.matched, "event")}`
  return (
    <Bar.Root
      value={job.done}
      max={Math.max(1, job.matched)}
      aria-label={kinds[job.kind]}
      getAriaValueText={() => text}
      className="grid gap-1.5"
    >
      <span className="flex min-h-9 flex-wrap items-center gap-x-3 gap-y-1">
        <span className="font-medium">{kinds[job.kind]}</span>
        <Badge tone={tone}>{word}</Badge>
        <span className="text-muted tabular-nums">{text}</span>
        {job.state === "running" && (
          <span className="ml-auto">
            <ForWriters>
              <Button busy={cancel.isPending} onClick={() => cancel.mutate()}>Cancel</Button>
            </ForWriters>
          </span>
        )}
      </span>
      {job.state === "running" && (
        <Bar.Track className="h-1.5 overflow-hidden rounded-full bg-raised">
          <Bar.Indicator className="block h-full rounded-full bg-accent transition-[width]" />
        </Bar.Track>
      )}
    </Bar.Root>
  )
}
