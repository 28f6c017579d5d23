import { keepPreviousData, useQuery } from "@tanstack/react-query"
import { explanationOf } from "../webhook/Result.tsx"
import { type Health, healthOf, isUnanswered } from "./Health.ts"
import { lastErrorQuery, type Webhook } from "./Queries.ts"

/** How a webhook does; where no answer came, the log is asked why. */
export const useHealth = (webhook: Webhook): Health => {
  const { data } = useQuery({
    ...lastErrorQuery(webhook),
    enabled: isUnanswered(webhook),
    placeholderData: keepPreviousData
  })
  return healthOf(
    webhook,
    data === undefined || data === null ? undefined : explanationOf({ error: data, status_code: null })
  )
}
