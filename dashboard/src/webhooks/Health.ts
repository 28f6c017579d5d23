import type { Tone } from "../parts/Badge.tsx"
import { count, plural } from "../parts/Numbers.ts"
import type { Webhook } from "./Queries.ts"

/** How a webhook does: a word, the reason in a sentence, and how soon somebody should look (0 needs nobody). */
export interface Health {
  readonly tone: Tone
  readonly word: string
  readonly reason: string
  readonly urgency: number
}

/** So many waiting events are more than a moment's. */
const behindFrom = 1_000

/** Whose fault it seems to be: theirs when they answer, the network's when nobody does. */
const lastAnswer = ({ last_status_code, subscriber }: Webhook): string =>
  last_status_code === null
    ? subscriber !== null
      ? "the function failed or took too long"
      : "no answer came: the endpoint is down, too slow or out of reach"
    : `the endpoint answered ${last_status_code}`

const disabled = (webhook: Webhook): Health => {
  switch (webhook.disabled_reason) {
    case "gone":
      return {
        tone: "bad",
        word: "Gone",
        reason: "The endpoint answered 410, so the service disabled the webhook. Give it another address or delete it.",
        urgency: 90
      }
    case "failing":
      return {
        tone: "bad",
        word: "Disabled",
        reason: "Every attempt failed for so long that the service disabled the webhook. Enable it when it is mended.",
        urgency: 95
      }
    case "table_missing":
      return {
        tone: "bad",
        word: "Table missing",
        reason: `The table ${webhook.table_schema}.${webhook.table_name} does not exist any more.`,
        urgency: 85
      }
    default:
      return { tone: "plain", word: "Paused", reason: "Paused: nothing is sent until it is enabled.", urgency: 10 }
  }
}

export const healthOf = (webhook: Webhook): Health => {
  if (!webhook.active) return disabled(webhook)
  const waiting = webhook.backlog === 0
    ? ""
    : ` ${plural(webhook.backlog, "event")} ${webhook.backlog === 1 ? "waits" : "wait"}.`
  if (webhook.subscriber === "missing") {
    return {
      tone: "bad",
      word: "No subscriber",
      reason: `The process that delivers does not have the function ${webhook.url}.${waiting}`,
      urgency: 98
    }
  }
  if (webhook.circuit !== "closed") {
    return {
      tone: "bad",
      word: "Circuit open",
      reason: `${count(webhook.fail_count)} failures in a row; ${lastAnswer(webhook)}. Only probes go out.${waiting}`,
      urgency: 100
    }
  }
  if (webhook.fail_count > 0) {
    return {
      tone: "warn",
      word: "Failing",
      reason: `${plural(webhook.fail_count, "failure")} in a row; ${lastAnswer(webhook)}.${waiting}`,
      urgency: 70 + Math.min(9, webhook.fail_count)
    }
  }
  if (webhook.backlog >= behindFrom) {
    return { tone: "warn", word: "Behind", reason: `Changes come faster than they are taken.${waiting}`, urgency: 60 }
  }
  if (webhook.last_delivery_at === null) {
    return {
      tone: "plain",
      word: "Waiting",
      reason: `Waits for the first change of ${webhook.table_schema}.${webhook.table_name}.${waiting}`,
      urgency: 0
    }
  }
  return { tone: "good", word: "Healthy", reason: `Deliveries arrive.${waiting}`, urgency: 0 }
}
