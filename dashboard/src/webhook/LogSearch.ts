/** The filters of the deliveries, and the one that is open, as the address carries them. */
export interface LogSearch {
  readonly outcome?: "success" | "retrying" | "failed"
  readonly event_type?: "INSERT" | "UPDATE" | "DELETE" | "TRUNCATE" | "TEST"
  readonly status_code?: number
  readonly event_id?: string
  readonly from?: string
  readonly to?: string
  readonly delivery?: string
}

const outcomes = ["success", "retrying", "failed"] as const
const types = ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "TEST"] as const

const text = (value: unknown): string | undefined =>
  typeof value === "string" || typeof value === "number" ? String(value) || undefined : undefined

export const parseLogSearch = (search: Readonly<Record<string, unknown>>): LogSearch => {
  const status = Number(search["status_code"])
  const found = {
    outcome: outcomes.find((one) => one === search["outcome"]),
    event_type: types.find((one) => one === search["event_type"]),
    status_code: Number.isInteger(status) && status >= 100 && status <= 599 ? status : undefined,
    event_id: text(search["event_id"]),
    from: text(search["from"]),
    to: text(search["to"]),
    delivery: text(search["delivery"])
  }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined))
}
