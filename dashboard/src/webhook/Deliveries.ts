import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query"
import { type Answer, call } from "../api/Client.ts"
import type { LogSearch } from "./LogSearch.ts"

export type LogEntry = Answer<"logs", "get">

type Filters = Omit<LogSearch, "delivery">

export const filtersOf = ({ delivery: _, ...filters }: LogSearch): Filters => filters

const dates = ({ from, to, ...rest }: Filters) => ({
  ...rest,
  ...(from !== undefined && !Number.isNaN(Date.parse(from)) && { from: new Date(from) }),
  ...(to !== undefined && !Number.isNaN(Date.parse(to)) && { to: new Date(to) })
})

/** The log, newest first; the live tail brings what comes later. */
export const logQuery = (id: string, filters: Filters) =>
  infiniteQueryOptions({
    queryKey: ["logs", id, filters],
    queryFn: ({ pageParam, signal }) =>
      call("logs", "list", {
        params: { id },
        query: { limit: 100, ...dates(filters), ...(pageParam !== undefined && { cursor: pageParam }) },
        signal
      }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    staleTime: Infinity,
    gcTime: 0,
    refetchOnWindowFocus: false
  })

export const entryQuery = (id: string, logId: string) =>
  queryOptions({
    queryKey: ["entry", id, logId],
    queryFn: ({ signal }) => call("logs", "get", { params: { id, logId }, signal }),
    staleTime: Infinity
  })

/** Every attempt at an event, newest first. */
export const attemptsQuery = (id: string, eventId: string) =>
  queryOptions({
    queryKey: ["attempts", id, eventId],
    queryFn: ({ signal }) => call("logs", "list", { params: { id }, query: { event_id: eventId, limit: 100 }, signal }),
    refetchInterval: 10_000
  })

/** Whether an entry that just came is one that the filters show. */
export const isWanted = (entry: LogEntry, { event_id, event_type, from, outcome, status_code, to }: Filters): boolean =>
  (outcome === undefined || entry.outcome === outcome) &&
  (event_type === undefined || entry.event_type === event_type) &&
  (status_code === undefined || entry.status_code === status_code) &&
  (event_id === undefined || entry.event_id === event_id) &&
  (from === undefined || entry.created_at >= new Date(from).toISOString()) &&
  (to === undefined || entry.created_at < new Date(to).toISOString())
