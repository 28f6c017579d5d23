import { useMutation, useQueryClient } from "@tanstack/react-query"
import { useState } from "react"
import { call } from "../api/Client.ts"
import { reasonOf } from "../api/Problem.ts"
import { Button } from "../parts/Button.tsx"
import { Copy } from "../parts/Copy.tsx"
import { Field, FieldError } from "../parts/Field.tsx"
import { Modal } from "../parts/Modal.tsx"
import { Time } from "../parts/Time.tsx"
import { type Webhook, webhookQuery } from "../webhooks/Queries.ts"

const overlaps = [[0, "Not at all"], [3_600, "An hour"], [86_400, "A day"], [604_800, "7 days"]] as const

/** Makes a new secret; both sign until the receiver had time to learn it. */
export const RotateDialog = ({ onClose, open, webhook }: {
  readonly webhook: Webhook
  readonly open: boolean
  readonly onClose: () => void
}) => {
  const queries = useQueryClient()
  const [overlap, setOverlap] = useState(86_400)
  const rotate = useMutation({
    mutationFn: () => call("webhooks", "rotate", { params: { id: webhook.id }, body: { overlap_seconds: overlap } }),
    onSuccess: () => queries.invalidateQueries({ queryKey: webhookQuery(webhook.id).queryKey })
  })
  const close = () => {
    rotate.reset()
    onClose()
  }
  return (
    <Modal open={open} onClose={close} title={webhook.has_secret ? "Rotate the secret" : "Make a secret"}>
      {rotate.data === undefined
        ? (
          <div className="grid gap-4">
            <p className="text-muted">A new secret is generated and shown once.</p>
            {webhook.has_secret && (
              <Field label="The old one signs, too, for" hint="So long the receiver may check with either.">
                {(control) => (
                  <select
                    {...control}
                    className="input"
                    value={overlap}
                    onChange={(event) => setOverlap(Number(event.target.value))}
                  >
                    {overlaps.map(([seconds, words]) => <option key={seconds} value={seconds}>{words}</option>)}
                  </select>
                )}
              </Field>
            )}
            {rotate.isError && <FieldError>{reasonOf(rotate.error)}</FieldError>}
            <Button look="primary" busy={rotate.isPending} onClick={() => rotate.mutate()}>Make the new secret</Button>
          </div>
        )
        : (
          <div className="grid gap-4">
            <p>Keep it where the receiver finds it: it is never shown again.</p>
            <div className="flex items-center gap-2 rounded-md bg-raised px-3 py-2">
              <code className="min-w-0 flex-1 font-mono break-all">{rotate.data.secret}</code>
              <Copy text={rotate.data.secret} label="Copy the secret" />
            </div>
            {rotate.data.previous_valid_until !== null && (
              <p className="text-muted">
                The old one signs until <Time at={rotate.data.previous_valid_until} />.
              </p>
            )}
            <Button look="primary" onClick={close}>I have it</Button>
          </div>
        )}
    </Modal>
  )
}
