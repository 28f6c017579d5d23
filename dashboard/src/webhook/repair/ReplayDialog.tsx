import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query"
import { useState } from "react"
import { call } from "../../api/Client.ts"
import { reasonOf } from "../../api/Problem.ts"
import { Button } from "../../parts/Button.tsx"
import { Field, FieldError } from "../../parts/Field.tsx"
import { localTime, utcTime } from "../../parts/LocalTime.ts"
import { Modal } from "../../parts/Modal.tsx"
import { count, plural } from "../../parts/Numbers.ts"
import type { Webhook } from "../../webhooks/Queries.ts"
import { asked, type Criteria, jobsQuery, matchQuery, mostCounted } from "./Queries.ts"
import { Started } from "./Started.tsx"

const outcomes = [["failed", "Given up"], ["retrying", "To be retried"], ["success", "Delivered"]] as const
const types = ["INSERT", "UPDATE", "DELETE", "TRUNCATE"] as const

const Match = ({ criteria, id }: { readonly id: string; readonly criteria: Criteria }) => {
  const { data, error } = useQuery(matchQuery(id, criteria))
  if (error !== null) return <FieldError>{reasonOf(error)}</FieldError>
  if (data === undefined) return <p className="text-muted">Counting …</p>
  if (!data.isAll) {
    return <p>More than {count(mostCounted)} attempts match; how many events they are is said when it starts.</p>
  }
  return (
    <p>
      <strong className="font-semibold">{plural(data.events, "event")}</strong>{" "}
      {data.events === 1 ? "matches" : "match"} by the log. An event whose latest attempt ended otherwise is left out.
    </p>
  )
}

const Form = ({ initial, onClose, webhook }: {
  readonly webhook: Webhook
  readonly initial: Criteria
  readonly onClose: () => void
}) => {
  const queries = useQueryClient()
  const [criteria, setCriteria] = useState(initial)
  const { data: match } = useQuery(matchQuery(webhook.id, criteria))
  const start = useMutation({
    mutationFn: () => call("repair", "replay", { params: { id: webhook.id }, body: asked(criteria) }),
    onSuccess: () => queries.invalidateQueries({ queryKey: jobsQuery(webhook.id).queryKey })
  })
  const set = (change: Criteria) => setCriteria((old) => ({ ...old, ...change }))
  if (start.data !== undefined) return <Started id={webhook.id} job={start.data} onClose={onClose} />
  return (
    <div className="grid gap-4">
      <p className="text-muted">
        Sends events again whose latest attempt was made in this time and ended so, with the same bytes and ids.
      </p>
      <div className="grid gap-4 sm:grid-cols-2">
        <Field label="Outcome">
          {(control) => (
            <select
              {...control}
              className="input"
              value={criteria.outcome ?? ""}
              onChange={(event) => set({ outcome: outcomes.find(([one]) => one === event.target.value)?.[0] })}
            >
              {outcomes.map(([outcome, words]) => <option key={outcome} value={outcome}>{words}</option>)}
              <option value="">Any</option>
            </select>
          )}
        </Field>
        <Field label="Change">
          {(control) => (
            <select
              {...control}
              className="input"
              value={criteria.event_type ?? ""}
              onChange={(event) => set({ event_type: types.find((type) => type === event.target.value) })}
            >
              <option value="">Any</option>
              {types.map((type) => <option key={type}>{type}</option>)}
            </select>
          )}
        </Field>
        <Field label="From" optional>
          {(control) => (
            <input
              {...control}
              type="datetime-local"
              className="input"
              value={localTime(criteria.from)}
              onChange={(event) => set({ from: utcTime(event.target.value) })}
            />
          )}
        </Field>
        <Field label="To" optional>
          {(control) => (
            <input
              {...control}
              type="datetime-local"
              className="input"
              value={localTime(criteria.to)}
              onChange={(event) => set({ to: utcTime(event.target.value) })}
            />
          )}
        </Field>
      </div>
      <div role="status" className="rounded-lg bg-raised px-4 py-2.5">
        <Match id={webhook.id} criteria={criteria} />
      </div>
      {!webhook.active && <p className="text-warn">The webhook is not active: nothing is sent until it is enabled.</p>}
      {start.isError && <FieldError>{reasonOf(start.error)}</FieldError>}
      <div className="flex justify-end gap-2">
        <Button onClick={onClose}>Cancel</Button>
        <Button
          look="primary"
          busy={start.isPending}
          disabled={match?.isAll === true && match.events === 0}
          onClick={() => start.mutate()}
        >
          {match?.isAll === true && match.events > 0 ? `Replay ${plural(match.events, "event")}` : "Replay"}
        </Button>
      </div>
    </div>
  )
}

/** Sends many events again: what it is about is counted first, how far it is shown then. */
export const ReplayDialog = ({ initial, onClose, open, webhook }: {
  readonly webhook: Webhook
  readonly open: boolean
  readonly initial: Criteria
  readonly onClose: () => void
}) => (
  <Modal open={open} onClose={onClose} title="Replay many">
    <Form webhook={webhook} initial={initial} onClose={onClose} />
  </Modal>
)
