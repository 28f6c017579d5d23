import { useQuery } from "@tanstack/react-query"
import { History } from "lucide-react"
import { useState } from "react"
import { Button } from "../../parts/Button.tsx"
import { Time } from "../../parts/Time.tsx"
import { statsQuery, type Webhook } from "../../webhooks/Queries.ts"
import { jobsQuery, lastFailureQuery } from "./Queries.ts"
import { ReplayDialog } from "./ReplayDialog.tsx"

/** Since when deliveries were given up that no bulk replay was about yet; at most a day back. */
const useFailedSince = (id: string): string | undefined => {
  const last = useQuery(lastFailureQuery(id)).data
  const jobs = useQuery(jobsQuery(id)).data?.data
  const buckets = useQuery(statsQuery(id, "24h")).data?.buckets
  if (last === undefined || last === null || jobs === undefined || buckets === undefined) return undefined
  const replayed = jobs.find(({ kind, state }) => kind === "replay" && state !== "cancelled")?.created_at ?? ""
  if (last <= replayed) return undefined
  const first = buckets.find(({ failed }) => failed > 0)?.at ?? last
  return first > replayed ? first : replayed
}

/** Offers to send again what was given up, in two clicks. */
export const ReplayFailed = ({ webhook }: { readonly webhook: Webhook }) => {
  const [asking, setAsking] = useState<string>()
  const since = useFailedSince(webhook.id)
  return (
    <>
      {since !== undefined && (
        <Button onClick={() => setAsking(since)}>
          <History size={15} aria-hidden />{" "}
          <span>
            Replay failed since <Time at={since} style="clock" />
          </span>
        </Button>
      )}
      {asking !== undefined && (
        <ReplayDialog
          webhook={webhook}
          open
          initial={{ outcome: "failed", from: asking }}
          onClose={() => setAsking(undefined)}
        />
      )}
    </>
  )
}
