import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query"
import { useNavigate, useParams } from "@tanstack/react-router"
import { useState } from "react"
import { callTagged } from "../../api/Client.ts"
import { Problem } from "../../api/Problem.ts"
import { Button } from "../../parts/Button.tsx"
import { Page } from "../../parts/Page.tsx"
import { Failed, Loading } from "../../parts/States.tsx"
import { toasts } from "../../parts/Toasts.tsx"
import { WritersPage } from "../../shell/ReadOnly.tsx"
import { type Webhook, webhookQuery } from "../Queries.ts"
import { type Draft, draftOf, patchOf } from "./Draft.ts"
import { Form } from "./Form.tsx"

interface Save {
  readonly draft: Draft
  readonly types: ReadonlyMap<string, string>
}

const isConflict = (error: Error | null) => error instanceof Problem && error.status === 412

const Conflict = ({ onOverwrite, onReload }: { readonly onOverwrite: () => void; readonly onReload: () => void }) => (
  <div role="alert" className="grid gap-3 rounded-lg border border-warn-fill bg-warn-soft px-4 py-3 text-warn">
    <p>
      <strong className="font-semibold">Somebody else changed this webhook while you did.</strong>{" "}
      Nothing of yours was saved yet. You can look at theirs, which drops your changes, or save yours: only the fields
      that you changed are replaced.
    </p>
    <div className="flex flex-wrap gap-2">
      <Button onClick={onReload}>Load theirs</Button>
      <Button onClick={onOverwrite}>Save mine</Button>
    </div>
  </div>
)

const Loaded = ({ before, onReload, tag }: {
  readonly before: Webhook
  readonly tag: string | undefined
  readonly onReload: () => void
}) => {
  const navigate = useNavigate()
  const queries = useQueryClient()
  const [initial] = useState(() => draftOf(before))
  const back = () => void navigate({ to: "/webhooks/$id", params: { id: before.id } })
  const save = useMutation({
    mutationFn: ({ draft, ifMatch, types }: Save & { readonly ifMatch: string | undefined }) =>
      callTagged("webhooks", "patch", { params: { id: before.id }, body: patchOf(initial, draft, types), ifMatch }),
    onSuccess: (answer) => {
      queries.setQueryData(webhookQuery(before.id).queryKey, answer)
      void queries.invalidateQueries({ queryKey: ["webhooks"] })
      toasts.add({ title: `${answer.value.name} is saved` })
      back()
    }
  })
  return (
    <>
      {isConflict(save.error) && save.variables !== undefined && (
        <Conflict
          onReload={onReload}
          onOverwrite={() => save.mutate({ ...save.variables, ifMatch: undefined })}
        />
      )}
      <Form
        initial={initial}
        save="Save the changes"
        busy={save.isPending}
        error={isConflict(save.error) ? null : save.error}
        secret={before.has_secret
          ? (
            <p className="text-muted">
              Deliveries are signed. A new secret is made on the webhook's page: “Rotate secret”.
            </p>
          )
          : (
            <p className="text-muted">
              Deliveries are not signed. A secret is made on the webhook's page: “Rotate secret”.
            </p>
          )}
        onSave={(draft, types) => save.mutate({ draft, types, ifMatch: tag })}
        onCancel={back}
      />
    </>
  )
}

const Found = () => {
  const { id } = useParams({ from: "/webhooks/$id/edit" })
  const [round, setRound] = useState(0)
  const found = useQuery({
    queryKey: ["edit", id, round],
    queryFn: ({ signal }) => callTagged("webhooks", "get", { params: { id }, signal }),
    staleTime: Infinity,
    gcTime: 0,
    refetchOnWindowFocus: false
  })
  return (
    <Page title={found.data === undefined ? "Edit webhook" : `Edit ${found.data.value.name}`}>
      {found.data !== undefined
        ? <Loaded key={round} before={found.data.value} tag={found.data.tag} onReload={() => setRound(round + 1)} />
        : found.isError
        ? (
          <div className="card">
            <Failed error={found.error} onRetry={() => void found.refetch()} />
          </div>
        )
        : (
          <div className="card">
            <Loading what="the webhook" />
          </div>
        )}
    </Page>
  )
}

/** Changes a webhook; what it was when the form opened decides what a save may replace. */
export const Edit = () => (
  <WritersPage title="Edit webhook">
    <Found />
  </WritersPage>
)
