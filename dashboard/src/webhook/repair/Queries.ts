import { queryOptions } from "@tanstack/react-query"
import { type Answer, call } from "../../api/Client.ts"

export type Job = Answer<"repair", "jobs">["data"][number]

/** The newest bulk replays and recoveries, often while one runs. */
export const jobsQuery = (id: string) =>
  queryOptions({
    queryKey: ["jobs", id],
    queryFn: ({ signal }) => call("repair", "jobs", { params: { id }, query: { limit: 5 }, signal }),
    refetchInterval: ({ state }) => state.data?.data.some((job) => job.state === "running") === true ? 700 : 15_000
  })

/** How many events since then were never attempted: exactly those that a recovery sends. */
export const missingQuery = (id: string, since: string) =>
  queryOptions({
    queryKey: ["reconcile", id, since],
    queryFn: ({ signal }) => call("repair", "reconcile", { params: { id }, query: { from: new Date(since) }, signal }),
    retry: false
  })

/** What a bulk replay is narrowed down to; times in UTC. */
export interface Criteria {
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly outcome?: "success" | "retrying" | "failed" | undefined
  readonly event_type?: "INSERT" | "UPDATE" | "DELETE" | "TRUNCATE" | undefined
}

/** As the API takes them. */
export const asked = ({ event_type, from, outcome, to }: Criteria) => ({
  ...(from !== undefined && { from: new Date(from) }),
  ...(to !== undefined && { to: new Date(to) }),
  ...(outcome !== undefined && { outcome }),
  ...(event_type !== undefined && { event_type })
})

/** So many attempts are looked at before a replay; it counts exactly when it starts. */
export const mostCounted = 500

/**
 * How many events the criteria match by the log. The API has no dry run: an event that was attempted again later, with
 * another result, is counted here and left out by the replay.
 */
export const matchQuery = (id: string, criteria: Criteria) =>
  queryOptions({
    queryKey: ["match", id, criteria],
    queryFn: async ({ signal }) => {
      const page = await call("logs", "list", {
        params: { id },
        query: { limit: mostCounted, ...asked(criteria) },
        signal
      })
      const events = page.data.filter(({ event_type }) => event_type !== "TEST").map(({ event_id }) => event_id)
      return { events: new Set(events).size, isAll: page.next_cursor === null }
    },
    retry: false
  })

/** When the last delivery was given up; null if none was. */
export const lastFailureQuery = (id: string) =>
  queryOptions({
    queryKey: ["last-failure", id],
    queryFn: async ({ signal }) => {
      const { data } = await call("logs", "list", { params: { id }, query: { outcome: "failed", limit: 1 }, signal })
      return data[0]?.created_at ?? null
    },
    refetchInterval: 10_000
  })
