import { Effect } from "effect"
import type { HttpServerRequest } from "effect/http"
import { Forbidden, UnsupportedMediaType } from "./api/Problems.ts"
import { isJson } from "./RequestBody.ts"

type Request = HttpServerRequest.HttpServerRequest

const loopback = /^(?:(?:[a-z0-9-]+\.)*localhost\.?|127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}|\[::1\])(?::\d{1,5})?$/i

/** Refuses who does not reach the service by a loopback name: a DNS name that was rebound to this machine does not. */
export const requireLoopbackName = ({ headers }: Request): Effect.Effect<void, Forbidden> =>
  loopback.test(headers["host"] ?? "")
    ? Effect.void
    : Effect.fail(
      new Forbidden({
        detail: "Without authentication the API answers only to localhost: set TRUSS_AUTH=required to use another name"
      })
    )

/**
 * Whether a browser says that a page of another origin made the request. `Sec-Fetch-Site` is out of reach of any page,
 * and true behind a proxy that changes `Host`; older browsers, and all on plain HTTP, send `Origin` with every change.
 * What has none of them is no browser.
 */
const isForeign = ({ headers }: Request): boolean => {
  const site = headers["sec-fetch-site"]
  if (site === "same-origin") return false
  if (site !== undefined && site !== "none") return true
  const source = headers["origin"] ?? headers["referer"]
  if (source === undefined) return false
  const from = URL.parse(source)
  return from === null || from.host !== URL.parse(`${from.protocol}//${headers["host"]}`)?.host
}

const hasBody = ({ headers }: Request) =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0

/**
 * For changes that a browser would be let make whoever's page asks for them, by its cookie or from this machine: refuses
 * those of other origins' pages, and bodies that a page may send anywhere without asking, such as a form's.
 */
export const requireOwnPage = Effect.fnUntraced(function*(request: Request) {
  if (isForeign(request)) {
    return yield* new Forbidden({ detail: "Another site's page may not change anything here" })
  }
  const contentType = request.headers["content-type"]
  if (hasBody(request) && (contentType === undefined || !isJson(contentType))) {
    return yield* new UnsupportedMediaType({ detail: "The body must be sent as application/json" })
  }
})
