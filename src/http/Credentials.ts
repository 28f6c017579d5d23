import type { HttpServerRequest } from "effect/http"

type Request = HttpServerRequest.HttpServerRequest

/** The cookie of a session that an API key was traded for. */
export const sessionCookie = "truss_session"

/** The API key that a request shows in one of its headers. */
export const apiKeyOf = ({ headers }: Request): string | undefined =>
  headers["apikey"] || headers["x-api-key"] || /^bearer +(\S.*)$/i.exec(headers["authorization"] ?? "")?.[1]

/** A cookie's value as it was sent; of several with the name the first, which browsers send for the longest path. */
export const cookieOf = ({ headers }: Request, name: string): string | undefined => {
  for (const pair of (headers["cookie"] ?? "").split(";")) {
    const text = pair.trim()
    if (text.startsWith(`${name}=`)) return text.slice(name.length + 1)
  }
  return undefined
}
