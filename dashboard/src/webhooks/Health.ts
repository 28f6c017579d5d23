import type { Tone } from "../parts/Badge.tsx"
import { plural } from "../parts/Numbers.ts"
import type { Webhook } from "./Queries.ts"

/** How a webhook does: a word, the reason in sentences, and how soon somebody should look (0 needs nobody). */
export interface Health {
  readonly tone: Tone
  readonly word: string
  readonly reason: string
  readonly urgency: number
}

/** Whose fault it is: ours, that of an endpoint that answers, or of whatever keeps answers from coming. */
export type Fault = "us" | "them" | "way"

/** So many waiting events are more than a moment's. */
const behindFrom = 1_000

/** Whether attempts fail, and nobody can say yet why no answer came. */
export const isUnanswered = ({ active, fail_count, last_status_code }: Webhook): boolean =>
  active && fail_count > 0 && last_status_code === null

export const faultOf = (webhook: Webhook): Fault | undefined => {
  if (webhook.disabled_reason === "table_missing") return "us"
  if (webhook.disabled_reason === "gone") return "them"
  if (webhook.disabled_reason === "paused" || webhook.fail_count === 0) return undefined
  return webhook.last_status_code === null && webhook.subscriber === null ? "way" : "them"
}

const lastAnswer = ({ last_status_code, subscriber }: Webhook, explanation: string | undefined): string =>
  last_status_code === null
    ? subscriber !== null
      ? "The function failed or took too long."
      : explanation ?? "No answer came: the endpoint is down, too slow or out of reach."
    : `The endpoint answered ${last_status_code}.`

const disabled = (webhook: Webhook, explanation: string | undefined): Health => {
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
        reason: `${lastAnswer(webhook, explanation)} Every attempt failed for so long that the service disabled the ` +
          "webhook. Enable it when it is mended.",
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

/** `explanation`: why no answer came to the last attempt, where that is known. */
export const healthOf = (webhook: Webhook, explanation?: string): Health => {
  if (!webhook.active) return disabled(webhook, explanation)
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
      reason: `${plural(webhook.fail_count, "failure")} in a row. ${
        lastAnswer(webhook, explanation)
      } Only probes go out.${waiting}`,
      urgency: 100
    }
  }
  if (webhook.fail_count > 0) {
    return {
      tone: "warn",
      word: "Failing",
      reason: `${plural(webhook.fail_count, "failure")} in a row. ${lastAnswer(webhook, explanation)}${waiting}`,
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
