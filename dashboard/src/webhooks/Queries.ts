import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query"
import { type Answer, call, callTagged } from "../api/Client.ts"
import type { ListSearch } from "./ListSearch.ts"

export type Webhook = Answer<"webhooks", "get">
export type Stats = Answer<"stats", "get">
export type StatsWindow = "1h" | "24h" | "7d"

/** Pages of webhooks, by cursor. */
export const listQuery = ({ active, table }: Omit<ListSearch, "q">) =>
  infiniteQueryOptions({
    queryKey: ["webhooks", { active, table }],
    queryFn: ({ pageParam, signal }) =>
      call("webhooks", "list", {
        query: {
          // The first page is there at once, the rest in few requests.
          limit: pageParam === undefined ? 100 : 500,
          ...(pageParam !== undefined && { cursor: pageParam }),
          ...(table !== undefined && { table }),
          ...(active !== undefined && { active })
        },
        signal
      }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    refetchInterval: 10_000
  })

/** A webhook with its entity tag. */
export const webhookQuery = (id: string) =>
  queryOptions({
    queryKey: ["webhook", id],
    queryFn: ({ signal }) => callTagged("webhooks", "get", { params: { id }, signal }),
    refetchInterval: 5_000
  })

export const statsQuery = (id: string, window: StatsWindow) =>
  queryOptions({
    queryKey: ["stats", id, window],
    queryFn: ({ signal }) => call("stats", "get", { params: { id }, query: { window }, signal }),
    staleTime: 20_000,
    refetchInterval: window === "7d" ? 120_000 : 30_000
  })

/** All webhooks together. */
export const totalsQuery = (window: StatsWindow) =>
  queryOptions({
    queryKey: ["stats", window],
    queryFn: ({ signal }) => call("stats", "all", { query: { window }, signal }),
    staleTime: 20_000,
    refetchInterval: window === "7d" ? 120_000 : 30_000
  })

/** Why no answer came to the webhook's last attempt, as the log has it. */
export const lastErrorQuery = ({ fail_count, id }: Webhook) =>
  queryOptions({
    queryKey: ["last-error", id, fail_count],
    queryFn: async ({ signal }) =>
      (await call("logs", "list", { params: { id }, query: { limit: 1 }, signal })).data[0]?.error ?? null,
    staleTime: Infinity
  })
