import { infiniteQueryOptions, useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query"
import { Plus } from "lucide-react"
import { type FormEvent, useState } from "react"
import { type Answer, call } from "../api/Client.ts"
import { Problem, reasonOf } from "../api/Problem.ts"
import { Badge } from "../parts/Badge.tsx"
import { Button } from "../parts/Button.tsx"
import { Confirm } from "../parts/Confirm.tsx"
import { Copy } from "../parts/Copy.tsx"
import { Field, FieldError } from "../parts/Field.tsx"
import { Modal } from "../parts/Modal.tsx"
import { Empty, Failed, Loading } from "../parts/States.tsx"
import { Time } from "../parts/Time.tsx"
import { tellFailure } from "../parts/Toasts.tsx"
import { ForWriters } from "../shell/ReadOnly.tsx"
import { Section } from "./Section.tsx"

type ApiKey = Answer<"keys", "list">["data"][number]
type Scope = ApiKey["scope"]

const keysQuery = infiniteQueryOptions({
  queryKey: ["keys"],
  queryFn: ({ pageParam, signal }) =>
    call("keys", "list", { query: { limit: 100, ...(pageParam !== undefined && { cursor: pageParam }) }, signal }),
  initialPageParam: undefined as string | undefined,
  getNextPageParam: (page) => page.next_cursor ?? undefined
})

const NewKey = ({ onClose }: { readonly onClose: () => void }) => {
  const queries = useQueryClient()
  const [name, setName] = useState("")
  const [scope, setScope] = useState<Scope>("read")
  const create = useMutation({
    mutationFn: () => call("keys", "create", { body: { name: name.trim(), scope } }),
    onSuccess: () => queries.invalidateQueries({ queryKey: ["keys"] })
  })
  if (create.data !== undefined) {
    return (
      <div className="grid gap-4">
        <p>The key of {create.data.name}, shown this once: only its hash is stored.</p>
        <div className="flex items-center gap-2 rounded-md bg-raised px-3 py-2">
          <code className="min-w-0 flex-1 font-mono break-all">{create.data.key}</code>
          <Copy text={create.data.key} label="Copy the key" />
        </div>
        <Button look="primary" onClick={onClose}>I have it</Button>
      </div>
    )
  }
  const faults = create.error instanceof Problem ? create.error.faults : []
  const fault = faults.find(({ path }) => path === "name")?.message
  const submit = (event: FormEvent) => {
    event.preventDefault()
    create.mutate()
  }
  return (
    <form className="grid gap-4" onSubmit={submit}>
      <Field label="Name" error={fault} hint="Who uses it: it stands in the audit.">
        {(control) => (
          <input
            {...control}
            className="input"
            autoComplete="off"
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
        )}
      </Field>
      <Field label="Scope">
        {(control) => (
          <select
            {...control}
            className="input"
            value={scope}
            onChange={(event) => setScope(event.target.value === "write" ? "write" : "read")}
          >
            <option value="read">read: looks at everything</option>
            <option value="write">write: changes things, too</option>
          </select>
        )}
      </Field>
      {create.isError && fault === undefined && <FieldError>{reasonOf(create.error)}</FieldError>}
      <Button type="submit" look="primary" busy={create.isPending}>Make the key</Button>
    </form>
  )
}

const Row = ({ apiKey, onRevoke }: { readonly apiKey: ApiKey; readonly onRevoke: () => void }) => (
  <li className="flex flex-wrap items-center gap-x-4 gap-y-1 border-t border-line px-4 py-2.5 first:border-t-0">
    <span className="font-medium wrap-anywhere">{apiKey.name}</span>
    <Badge tone="plain">{apiKey.scope}</Badge>
    <code className="font-mono text-[0.93rem] text-muted">{apiKey.prefix}…</code>
    <span className="ml-auto text-[0.93rem] text-muted">
      {apiKey.last_used_at === null ? "never used" : (
        <>
          used <Time at={apiKey.last_used_at} style="ago" />
        </>
      )}
    </span>
    <ForWriters>
      <Button look="danger" onClick={onRevoke} aria-label={`Revoke ${apiKey.name}`}>Revoke</Button>
    </ForWriters>
  </li>
)

/** The API keys: made, shown once, revoked. */
export const Keys = () => {
  const queries = useQueryClient()
  const pages = useInfiniteQuery(keysQuery)
  const [making, setMaking] = useState(false)
  const [revoking, setRevoking] = useState<ApiKey>()
  const revoke = useMutation({
    mutationFn: (id: string) => call("keys", "revoke", { params: { id } }),
    onSettled: () => queries.invalidateQueries({ queryKey: ["keys"] }),
    onSuccess: () => setRevoking(undefined),
    onError: tellFailure("The key was not revoked")
  })
  const keys = pages.data?.pages.flatMap(({ data }) => data)
  return (
    <Section
      title="API keys"
      action={
        <ForWriters>
          <Button onClick={() => setMaking(true)}>
            <Plus size={16} aria-hidden /> New key
          </Button>
        </ForWriters>
      }
    >
      {keys === undefined
        ? pages.isError
          ? <Failed error={pages.error} onRetry={() => void pages.refetch()} />
          : <Loading what="the keys" lines={2} />
        : keys.length === 0
        ? (
          <Empty title="No keys yet">
            Programs send one to the API; where sign-in is required, people use one, too.
          </Empty>
        )
        : (
          <ul>
            {keys.map((key) => <Row key={key.id} apiKey={key} onRevoke={() => setRevoking(key)} />)}
          </ul>
        )}
      {pages.hasNextPage && (
        <div className="border-t border-line p-3 text-center">
          <Button busy={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()}>Show more</Button>
        </div>
      )}
      <Modal open={making} onClose={() => setMaking(false)} title="New API key">
        <NewKey onClose={() => setMaking(false)} />
      </Modal>
      <Confirm
        open={revoking !== undefined}
        title={`Revoke ${revoking?.name ?? "the key"}?`}
        action="Revoke the key"
        busy={revoke.isPending}
        onClose={() => setRevoking(undefined)}
        onConfirm={() => revoking !== undefined && revoke.mutate(revoking.id)}
      >
        Whoever uses it is refused from then on, and signed out. This cannot be undone.
      </Confirm>
    </Section>
  )
}
