import { useMutation, useQueryClient } from "@tanstack/react-query"
import { useNavigate } from "@tanstack/react-router"
import { useState } from "react"
import { call } from "../../api/Client.ts"
import { Problem } from "../../api/Problem.ts"
import { Button } from "../../parts/Button.tsx"
import { Copy } from "../../parts/Copy.tsx"
import { Modal } from "../../parts/Modal.tsx"
import { Page } from "../../parts/Page.tsx"
import { WritersPage } from "../../shell/ReadOnly.tsx"
import type { Webhook } from "../Queries.ts"
import { bodyOf, type Draft, emptyDraft, faultAt } from "./Draft.ts"
import { Form } from "./Form.tsx"
import { newSecret } from "./Secret.ts"
import { SecretField } from "./SecretField.tsx"

/** The last time that the secret is seen. */
const Created = ({ onDone, secret, webhook }: {
  readonly webhook: Webhook
  readonly secret: string
  readonly onDone: () => void
}) => (
  <Modal open title={`${webhook.name} is created`} onClose={onDone}>
    <div className="grid gap-4">
      <p>Its signing secret is shown this once. Keep it where the receiver finds it.</p>
      <div className="flex items-center gap-2 rounded-md bg-raised px-3 py-2">
        <code className="min-w-0 flex-1 font-mono break-all">{secret}</code>
        <Copy text={secret} label="Copy the secret" />
      </div>
      <Button look="primary" onClick={onDone}>I have it</Button>
    </div>
  </Modal>
)

const New = () => {
  const navigate = useNavigate()
  const queries = useQueryClient()
  const [secret, setSecret] = useState(newSecret)
  const open = (webhook: Webhook) => void navigate({ to: "/webhooks/$id", params: { id: webhook.id } })
  const create = useMutation({
    mutationFn: ({ draft, types }: { readonly draft: Draft; readonly types: ReadonlyMap<string, string> }) =>
      call("webhooks", "create", {
        body: { ...bodyOf(draft, types), active: true, secret: secret === "" ? null : secret }
      }),
    onSuccess: (webhook) => {
      void queries.invalidateQueries({ queryKey: ["webhooks"] })
      if (secret === "") open(webhook)
    }
  })
  const faults = create.error instanceof Problem ? create.error.faults : []
  return (
    <Page title="New webhook">
      <Form
        initial={emptyDraft}
        save="Create the webhook"
        busy={create.isPending}
        error={create.error}
        secret={<SecretField secret={secret} error={faultAt(faults, "secret")} onChange={setSecret} />}
        onSave={(draft, types) => create.mutate({ draft, types })}
        onCancel={() => void navigate({ to: "/webhooks" })}
      />
      {create.data !== undefined && secret !== "" && (
        <Created
          webhook={create.data}
          secret={secret}
          onDone={() => open(create.data)}
        />
      )}
    </Page>
  )
}

/** Makes a webhook. */
export const Create = () => (
  <WritersPage title="New webhook">
    <New />
  </WritersPage>
)
