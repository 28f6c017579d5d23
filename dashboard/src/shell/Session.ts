import { queryOptions, useQuery } from "@tanstack/react-query"
import type { SessionState } from "../../../src/http/api/Session.ts"
import { send } from "../api/Client.ts"

/** How this service lets people in, and who is in. */
export type Session = typeof SessionState.Type

export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: async ({ signal }) => await (await send("GET /session", { signal })).json() as Session,
  staleTime: Infinity,
  retry: false
})

export const signIn = (apiKey: string) => send("POST /session", { body: { api_key: apiKey } })
export const signOut = () => send("DELETE /session", {})

/** Whether who is in may change things; what they may not is not offered. */
export const useMayChange = (): boolean => useQuery(sessionQuery).data?.principal?.scope !== "read"
