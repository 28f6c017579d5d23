import { queryOptions } from "@tanstack/react-query"
import { send } from "../api/Client.ts"
import { Problem } from "../api/Problem.ts"

/** How this service lets people in, and who is in. */
export interface Session {
  readonly mode: "open" | "kratos" | "api_key"
  readonly principal: { readonly name: string; readonly scope: "read" | "write" } | null
  readonly login_url: string | null
}

const open: Session = { mode: "open", principal: { name: "local", scope: "write" }, login_url: null }

/** Whether some request was answered with 401: a service without sessions is not open then. */
let wasRefused = false

const ask = async (): Promise<Session> => {
  try {
    return await (await send("GET /session", {})).json() as Session
  } catch (error) {
    // A service without sessions has no such route: whether it is open shows with the first 401.
    if (error instanceof Problem && error.status === 404) return wasRefused ? ended(undefined) : open
    if (error instanceof Problem && error.status === 401) return { ...open, mode: "api_key", principal: null }
    throw error
  }
}

export const sessionQuery = queryOptions({ queryKey: ["session"], queryFn: ask, staleTime: Infinity, retry: false })

/** The session after some request was answered with 401. */
export const ended = (session: Session | undefined): Session => ({
  mode: session?.mode === "kratos" ? "kratos" : "api_key",
  login_url: session?.login_url ?? null,
  principal: null
})

/** Remembers that a request was answered with 401, which may come before the session does. */
export const refuse = (session: Session | undefined): Session => {
  wasRefused = true
  return ended(session)
}

export const signIn = (apiKey: string) => send("POST /session", { body: { api_key: apiKey } })
export const signOut = () => send("DELETE /session", {})
