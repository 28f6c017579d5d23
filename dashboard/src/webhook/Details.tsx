import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query"
import { Link, useNavigate } from "@tanstack/react-router"
import { RotateCcw } from "lucide-react"
import type { ReactNode } from "react"
import { call } from "../api/Client.ts"
import { Button } from "../parts/Button.tsx"
import { Copy } from "../parts/Copy.tsx"
import { Modal } from "../parts/Modal.tsx"
import { milliseconds } from "../parts/Numbers.ts"
import { Failed, Loading } from "../parts/States.tsx"
import { Time } from "../parts/Time.tsx"
import { tellFailure } from "../parts/Toasts.tsx"
import { ForWriters } from "../shell/ReadOnly.tsx"
import type { Webhook } from "../webhooks/Queries.ts"
import { Answer } from "./Answer.tsx"
import { Changes } from "./Changes.tsx"
import { attemptsQuery, entryQuery, type LogEntry } from "./Deliveries.ts"
import { Request } from "./Request.tsx"
import { Result } from "./Result.tsx"

const Part = ({ children, title }: { readonly title: string; readonly children: ReactNode }) => (
  <section className="grid gap-2">
    <h3 className="font-semibold">{title}</h3>
    {children}
  </section>
)

const Facts = ({ entry }: { readonly entry: LogEntry }) => (
  <dl className="flex flex-wrap gap-x-8 gap-y-3 [&_dt]:text-[0.9rem] [&_dt]:text-muted">
    <div>
      <dt>Answer</dt>
      <dd>
        <Result of={entry} />
      </dd>
    </div>
    <div>
      <dt>Took</dt>
      <dd className="tabular-nums">{milliseconds(entry.latency_ms)}</dd>
    </div>
    <div>
      <dt>Made</dt>
      <dd>
        <Time at={entry.created_at} />
      </dd>
    </div>
    <div>
      <dt>Next attempt</dt>
      <dd>{entry.next_attempt_at === null ? "none" : <Time at={entry.next_attempt_at} style="ago" />}</dd>
    </div>
    <div className="min-w-0">
      <dt>Event</dt>
      <dd className="flex items-center gap-1 font-mono break-all">
        <Link
          to="/events/$id"
          params={{ id: entry.event_id }}
          title="What became of it, for each webhook"
          className="text-accent underline underline-offset-4"
        >
          {entry.event_id}
        </Link>
        <Copy text={entry.event_id} label="Copy the event's id" />
      </dd>
    </div>
    <div className="min-w-0">
      <dt>Delivery</dt>
      <dd className="flex items-center gap-1 font-mono break-all">
        {entry.id}
        <Copy text={entry.id} label="Copy the delivery's id" />
      </dd>
    </div>
  </dl>
)

const Attempts = ({ entry }: { readonly entry: LogEntry }) => {
  const { data } = useQuery(attemptsQuery(entry.webhook_id, entry.event_id))
  if (data === undefined) return <div className="skeleton h-10" />
  return (
    <ol className="overflow-hidden rounded-lg border border-line">
      {data.data.map((attempt) => (
        <li
          key={attempt.id}
          className="relative flex flex-wrap items-center gap-x-4 gap-y-1 border-t border-line px-3 py-2 first:border-t-0 hover:bg-raised has-aria-[current=true]:bg-raised"
        >
          <Link
            from="/webhooks/$id"
            to="/webhooks/$id"
            search={(old) => ({ ...old, delivery: attempt.id })}
            resetScroll={false}
            aria-current={attempt.id === entry.id ? "true" : undefined}
            className="font-medium before:absolute before:inset-0"
          >
            {attempt.replay_of === null ? `Attempt ${attempt.attempt}` : "Replay"}
          </Link>
          <Result of={attempt} />
          <span className="text-muted tabular-nums">{milliseconds(attempt.latency_ms)}</span>
          <span className="relative ml-auto text-muted">
            <Time at={attempt.created_at} />
          </span>
        </li>
      ))}
    </ol>
  )
}

const Side = ({ entry, title }: { readonly title: string; readonly entry: LogEntry }) => (
  <div className="grid min-w-0 content-start gap-2 rounded-lg border border-line p-3">
    <h4 className="flex items-center gap-2 font-medium">
      {title} <Result of={entry} />
    </h4>
    <p className="text-muted">
      <Time at={entry.created_at} />, {milliseconds(entry.latency_ms)}
    </p>
    <Answer entry={entry} />
  </div>
)

/** A replay sends the same bytes, so what differs is the answer. */
const Compared = ({ originalId, replay }: { readonly originalId: string; readonly replay: LogEntry }) => {
  const original = useQuery(entryQuery(replay.webhook_id, originalId))
  if (original.isError) return <p className="text-muted">The original is no longer kept.</p>
  if (original.data === undefined) return <div className="skeleton h-24" />
  return (
    <div className="grid gap-3 sm:grid-cols-2">
      <Side title="Original" entry={original.data} />
      <Side title="Replay" entry={replay} />
    </div>
  )
}

const Body = ({ entry, webhook }: { readonly entry: LogEntry; readonly webhook: Webhook }) => {
  const navigate = useNavigate({ from: "/webhooks/$id" })
  const queries = useQueryClient()
  const replay = useMutation({
    mutationFn: () => call("logs", "replay", { params: { id: entry.webhook_id, logId: entry.id }, body: {} }),
    onSuccess: (answer) => {
      queries.setQueryData(entryQuery(answer.webhook_id, answer.id).queryKey, answer)
      void queries.invalidateQueries({ queryKey: ["attempts", answer.webhook_id, answer.event_id] })
      void navigate({ search: (old) => ({ ...old, delivery: answer.id }), resetScroll: false })
    },
    onError: tellFailure("It was not replayed")
  })
  return (
    <div className="grid gap-6">
      <div className="flex flex-wrap items-start justify-between gap-4">
        <div className="min-w-0 flex-1">
          <Facts entry={entry} />
        </div>
        <ForWriters>
          <Button look="primary" busy={replay.isPending} onClick={() => replay.mutate()}>
            <RotateCcw size={15} aria-hidden /> {replay.isPending ? "Waiting for the answer" : "Replay"}
          </Button>
        </ForWriters>
      </div>
      {entry.replay_of !== null
        ? (
          <Part title="Original and replay">
            <Compared originalId={entry.replay_of} replay={entry} />
          </Part>
        )
        : (
          <Part title="Answer">
            <Answer entry={entry} />
          </Part>
        )}
      <Part title="Payload">
        <Changes payload={entry.payload.text} />
      </Part>
      <Part title="Request">
        <Request entry={entry} webhook={webhook} />
      </Part>
      <Part title="Attempts at this event">
        <Attempts entry={entry} />
      </Part>
    </div>
  )
}

/** All there is to know about one delivery, in a panel that the address opens. */
export const Details = ({ logId, webhook }: { readonly logId: string | undefined; readonly webhook: Webhook }) => {
  const navigate = useNavigate({ from: "/webhooks/$id" })
  const found = useQuery({ ...entryQuery(webhook.id, logId ?? ""), enabled: logId !== undefined })
  const close = () =>
    void navigate({
      search: ({ delivery: _, ...rest }) => rest,
      resetScroll: false
    })
  const entry = found.data
  return (
    <Modal
      open={logId !== undefined}
      onClose={close}
      place="side"
      title={entry === undefined
        ? "Delivery"
        : `${entry.event_type}, ${entry.replay_of === null ? `attempt ${entry.attempt}` : "replay"}`}
    >
      {entry !== undefined ? <Body key={entry.id} entry={entry} webhook={webhook} /> : found.isError
        ? <Failed error={found.error} onRetry={() => void found.refetch()} />
        : <Loading what="the delivery" />}
    </Modal>
  )
}
