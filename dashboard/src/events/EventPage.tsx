import { queryOptions, useQuery } from "@tanstack/react-query"
import { useNavigate, useParams } from "@tanstack/react-router"
import { ScanSearch, Search, SearchX } from "lucide-react"
import { type FormEvent, useEffect, useRef, useState } from "react"
import { type Answer, call } from "../api/Client.ts"
import { Problem } from "../api/Problem.ts"
import { Button } from "../parts/Button.tsx"
import { Copy } from "../parts/Copy.tsx"
import { Page } from "../parts/Page.tsx"
import { Empty, Failed, Loading } from "../parts/States.tsx"
import { Time } from "../parts/Time.tsx"
import { moveFocus, onKey } from "../shell/Keys.ts"
import { Changes } from "../webhook/Changes.tsx"
import { Fate } from "./Fate.tsx"

type EventHistory = Answer<"events", "get">

/** While something is pending it may change any moment. */
const eventQuery = (eventId: string) =>
  queryOptions({
    queryKey: ["event", eventId],
    queryFn: ({ signal }) => call("events", "get", { params: { eventId }, signal }),
    refetchInterval: ({ state }) =>
      state.data?.webhooks.some((fate) => fate.state === "pending") === true ? 2_000 : 15_000
  })

const LookUp = ({ id }: { readonly id: string }) => {
  const navigate = useNavigate()
  const [text, setText] = useState(id)
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => setText(id), [id])
  useEffect(() => onKey({ "/": () => field.current?.select() }), [])
  const submit = (event: FormEvent) => {
    event.preventDefault()
    const wanted = text.trim()
    if (wanted !== "") void navigate({ to: "/events/$id", params: { id: wanted } })
  }
  return (
    <search>
      <form onSubmit={submit} className="flex gap-2">
        <div className="relative min-w-0 flex-1">
          <Search size={15} aria-hidden className="absolute top-1/2 left-3 -translate-y-1/2 text-muted" />
          <input
            ref={field}
            type="search"
            className="input pl-9 font-mono"
            aria-label="Id of an event"
            placeholder="evt_…"
            spellCheck={false}
            value={text}
            onChange={(event) => setText(event.target.value)}
          />
        </div>
        <Button type="submit" look="primary">Look up</Button>
      </form>
    </search>
  )
}

const Found = ({ event }: { readonly event: EventHistory }) => {
  useEffect(() => onKey({ j: () => moveFocus("[data-row]", 1), k: () => moveFocus("[data-row]", -1) }), [])
  return (
    <>
      <dl className="card flex flex-wrap gap-x-8 gap-y-3 p-4 [&_dt]:text-[0.9rem] [&_dt]:text-muted">
        <div>
          <dt>Change</dt>
          <dd className="font-medium">{event.event_type}</dd>
        </div>
        <div className="min-w-0">
          <dt>Table</dt>
          <dd className="font-mono wrap-anywhere">{event.table_schema}.{event.table_name}</dd>
        </div>
        <div>
          <dt>Committed</dt>
          <dd>
            <Time at={event.committed_at} />
          </dd>
        </div>
        <div className="min-w-0">
          <dt>Event</dt>
          <dd className="flex items-center gap-1 font-mono break-all">
            {event.id}
            <Copy text={event.id} label="Copy the event's id" />
          </dd>
        </div>
      </dl>
      <section aria-labelledby="fates" className="card overflow-clip">
        <h2 id="fates" className="border-b border-line px-4 py-3 text-[1.07rem] font-semibold">What became of it</h2>
        {event.webhooks.length === 0
          ? <Empty title="No webhook watches this table">Those that did were deleted, and their log with them.</Empty>
          : (
            <ul>
              {event.webhooks.map((fate) => <Fate key={fate.webhook_id} eventId={event.id} fate={fate} />)}
            </ul>
          )}
      </section>
      <section aria-labelledby="change" className="card grid gap-3 p-4">
        <h2 id="change" className="text-[1.07rem] font-semibold">The change</h2>
        <Changes payload={event.payload.text} />
      </section>
    </>
  )
}

const Result = ({ id }: { readonly id: string }) => {
  const found = useQuery(eventQuery(id))
  if (found.data !== undefined) return <Found event={found.data} />
  return (
    <div className="card">
      {found.error instanceof Problem && found.error.status === 404
        ? (
          <Empty title="There is no such event" icon={<SearchX size={28} />}>
            Its id may have a slip, or it is older than what is kept (TRUSS_RETENTION).
          </Empty>
        )
        : found.isError
        ? <Failed error={found.error} onRetry={() => void found.refetch()} />
        : <Loading what="the event" />}
    </div>
  )
}

/** One change, and what became of it for each webhook of its table. */
export const EventPage = () => {
  const { id = "" } = useParams({ strict: false })
  return (
    <Page title="Events">
      <LookUp id={id} />
      {id !== "" ? <Result key={id} id={id} /> : (
        <div className="card">
          <Empty title="Look up a change" icon={<ScanSearch size={28} />}>
            Its id is <code className="font-mono">webhook-id</code>{" "}
            in the headers of a delivery, and “Event” in its details.
          </Empty>
        </div>
      )}
    </Page>
  )
}
