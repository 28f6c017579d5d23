import { queryOptions } from "@tanstack/react-query"

/** Of `/health/ready`: null where all is well. `reachable` is false when nobody answers. */
export interface Health {
  readonly reachable: boolean
  readonly database: string | null
  readonly listener: string | null
}

const unreachable: Health = { reachable: false, database: null, listener: null }

const ask = async (): Promise<Health> => {
  const response = await fetch("/health/ready", { headers: { accept: "application/json" } }).catch(() => undefined)
  const body = await response?.json().catch(() => undefined) as Omit<Health, "reachable"> | undefined
  return body === undefined ? unreachable : { reachable: true, database: body.database, listener: body.listener }
}

export const isWell = (health: Health): boolean =>
  health.reachable && health.database === null && health.listener === null

/** Asks often while something is wrong, so that the banner goes when it is over. */
export const healthQuery = queryOptions({
  queryKey: ["health"],
  queryFn: ask,
  refetchInterval: ({ state }) => state.data === undefined || isWell(state.data) ? 10_000 : 2_000
})
