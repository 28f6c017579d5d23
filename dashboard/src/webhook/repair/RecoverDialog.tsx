import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query"
import { useState } from "react"
import { call } from "../../api/Client.ts"
import { reasonOf } from "../../api/Problem.ts"
import { Button } from "../../parts/Button.tsx"
import { Field, FieldError } from "../../parts/Field.tsx"
import { localTime, utcTime } from "../../parts/LocalTime.ts"
import { Modal } from "../../parts/Modal.tsx"
import { plural } from "../../parts/Numbers.ts"
import type { Webhook } from "../../webhooks/Queries.ts"
import { jobsQuery, missingQuery } from "./Queries.ts"
import { Started } from "./Started.tsx"

const Form = ({ onClose, webhook }: { readonly webhook: Webhook; readonly onClose: () => void }) => {
  const queries = useQueryClient()
  const [since, setSince] = useState(() => new Date(Date.now() - 86_400_000).toISOString())
  const counted = useQuery(missingQuery(webhook.id, since))
  const start = useMutation({
    mutationFn: () => call("repair", "recover", { params: { id: webhook.id }, body: { since: new Date(since) } }),
    onSuccess: () => queries.invalidateQueries({ queryKey: jobsQuery(webhook.id).queryKey })
  })
  if (start.data !== undefined) return <Started id={webhook.id} job={start.data} onClose={onClose} />
  const missing = counted.data?.never_attempted
  return (
    <div className="grid gap-4">
      <p className="text-muted">
        Sends the changes that were never attempted: the webhook was paused, or the table was watched before it.
      </p>
      <Field label="Changes since">
        {(control) => (
          <input
            {...control}
            type="datetime-local"
            className="input"
            required
            value={localTime(since)}
            onChange={(event) => setSince((old) => utcTime(event.target.value) ?? old)}
          />
        )}
      </Field>
      <div role="status" className="rounded-lg bg-raised px-4 py-2.5">
        {counted.isError ? <FieldError>{reasonOf(counted.error)}</FieldError> : missing === undefined
          ? <p className="text-muted">Counting …</p>
          : (
            <p>
              <strong className="font-semibold">{plural(missing, "event")}</strong> {missing === 1 ? "was" : "were"}
              {" "}
              never attempted, of {plural(counted.data?.matched ?? 0, "event")} in this time.
            </p>
          )}
      </div>
      {!webhook.active && <p className="text-warn">The webhook is not active: nothing is sent until it is enabled.</p>}
      {start.isError && <FieldError>{reasonOf(start.error)}</FieldError>}
      <div className="flex justify-end gap-2">
        <Button onClick={onClose}>Cancel</Button>
        <Button look="primary" busy={start.isPending} disabled={missing === 0} onClick={() => start.mutate()}>
          {missing === undefined || missing === 0 ? "Recover" : `Send ${plural(missing, "event")}`}
        </Button>
      </div>
    </div>
  )
}

/** Sends what was never attempted, counted first. */
export const RecoverDialog = ({ onClose, open, webhook }: {
  readonly webhook: Webhook
  readonly open: boolean
  readonly onClose: () => void
}) => (
  <Modal open={open} onClose={onClose} title="Recover what was never sent">
    <Form webhook={webhook} onClose={onClose} />
  </Modal>
)
