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
          limit: 100,
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
