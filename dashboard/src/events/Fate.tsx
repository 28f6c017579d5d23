import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query"
import { Link } from "@tanstack/react-router"
import { useState } from "react"
import { type Answer, call } from "../api/Client.ts"
import { Badge, type Tone } from "../parts/Badge.tsx"
import { Button } from "../parts/Button.tsx"
import { Confirm } from "../parts/Confirm.tsx"
import { milliseconds } from "../parts/Numbers.ts"
import { Time } from "../parts/Time.tsx"
import { tellFailure } from "../parts/Toasts.tsx"
import { ForWriters } from "../shell/ReadOnly.tsx"
import { Result } from "../webhook/Result.tsx"
import { webhookQuery } from "../webhooks/Queries.ts"

type EventFate = Answer<"events", "get">["webhooks"][number]

const states: Readonly<Record<EventFate["state"], readonly [Tone, string]>> = {
  delivered: ["good", "Delivered"],
  failed: ["bad", "Given up"],
  pending: ["warn", "Pending"],
  not_sent: ["plain", "Not sent"]
}

/** Why it is so, for people. */
export const reasonOf = ({ attempts, reason, state }: Pick<EventFate, "attempts" | "reason" | "state">): string => {
  switch (reason) {
    case "event_type":
      return "The webhook does not ask for this kind of change."
    case "before_webhook":
      return "The change was made before the webhook was, or before it asked for this kind."
    case "columns":
      return "None of the columns changed that the webhook is about."
    case "filter":
      return "The webhook's filter does not hold for the row."
    case "paused":
      return state === "pending"
        ? "The webhook is paused: it goes on when it is enabled."
        : "The webhook was paused when the change was made. “Recover what was never sent” sends it."
    case "no_subscriber":
      return "The process that delivers does not have the function: it waits for one that has."
    case "circuit_open":
      return "The endpoint fails everything: one probe at a time goes out until it answers."
    case "waiting_for_row":
      return "It waits for an earlier change that did not get through: the order is kept."
    case null:
      return state === "delivered"
        ? "The endpoint took it."
        : state === "failed"
        ? attempts.at(-1)?.error === "skipped"
          ? "Somebody let the webhook go on without it."
          : "All attempts failed. A replay sends it again."
        : attempts.length === 0
        ? "It is to be sent."
        : "The last attempt failed: it is tried again."
  }
}

/** Gives an event up that waits, or that others wait for. */
const Skip = ({ eventId, webhookId }: { readonly eventId: string; readonly webhookId: string }) => {
  const queries = useQueryClient()
  const [asking, setAsking] = useState(false)
  const skip = useMutation({
    mutationFn: () => call("logs", "skip", { params: { id: webhookId, eventId }, body: {} }),
    onSettled: () => queries.invalidateQueries({ queryKey: ["event", eventId] }),
    onSuccess: () => setAsking(false),
    onError: tellFailure("It was not skipped")
  })
  return (
    <>
      <Button onClick={() => setAsking(true)}>Skip</Button>
      <Confirm
        open={asking}
        title="Go on without this event?"
        action="Skip the event"
        busy={skip.isPending}
        onClose={() => setAsking(false)}
        onConfirm={() => skip.mutate()}
      >
        It is not sent any more, and what waits for it goes on. It can be replayed later, out of order.
      </Confirm>
    </>
  )
}

/** What became of an event for one webhook, and why. */
export const Fate = ({ eventId, fate }: { readonly eventId: string; readonly fate: EventFate }) => {
  const webhook = useQuery(webhookQuery(fate.webhook_id)).data?.value
  const [tone, word] = states[fate.state]
  const isHolding = fate.state === "pending" &&
    (fate.reason === "waiting_for_row" ||
      (fate.attempts.length > 0 && webhook !== undefined && webhook.ordering !== "none"))
  return (
    <li className="grid gap-2 border-t border-line px-4 py-3 first:border-t-0">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
        <Link
          to="/webhooks/$id"
          params={{ id: fate.webhook_id }}
          className="font-medium wrap-anywhere underline-offset-4 hover:underline"
        >
          {webhook?.name ?? fate.webhook_id}
        </Link>
        <Badge tone={tone}>{word}</Badge>
        {isHolding && (
          <span className="ml-auto">
            <ForWriters>
              <Skip eventId={eventId} webhookId={fate.webhook_id} />
            </ForWriters>
          </span>
        )}
      </div>
      <p className="text-muted">
        {reasonOf(fate)}
        {fate.next_attempt_at !== null && (
          <>
            {" "}The next attempt is due <Time at={fate.next_attempt_at} style="ago" />.
          </>
        )}
      </p>
      {fate.attempts.length > 0 && (
        <ol className="overflow-hidden rounded-lg border border-line">
          {fate.attempts.map((attempt) => (
            <li
              key={attempt.id}
              className="relative flex flex-wrap items-center gap-x-4 gap-y-1 border-t border-line px-3 py-2 first:border-t-0 hover:bg-raised"
            >
              <Link
                to="/webhooks/$id"
                params={{ id: fate.webhook_id }}
                search={{ delivery: attempt.id }}
                data-row
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
      )}
    </li>
  )
}
