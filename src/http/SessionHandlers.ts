import { Clock, Effect, Redacted } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Sessions, sessionSeconds } from "../services/Sessions.ts"
import { Unauthorized } from "./api/Problems.ts"
import { SessionApi, SessionCreate } from "./api/Session.ts"
import { cookieOf, sessionCookie } from "./Credentials.ts"
import { asProblems } from "./DomainProblems.ts"
import { requireLoopbackName, requireOwnPage } from "./OwnPage.ts"
import { decodeBody } from "./RequestBody.ts"
import { SignIn } from "./SignIn.ts"

type Request = HttpServerRequest.HttpServerRequest

/**
 * Who guesses waits, nobody else does. A key has too much to guess in it for more: what would keep a flood of guesses out
 * would keep the owner of the key out, too.
 */
const refusalTakes = "500 millis"
const tellEveryMs = 60_000

const createBody = decodeBody(SessionCreate)

/** Whoever lies about it makes their own cookie stricter: so either sign of HTTPS is believed. */
const isSecure = ({ headers }: Request) =>
  /^https\b/i.test(headers["x-forwarded-proto"] ?? "") || (headers["origin"] ?? "").startsWith("https:")

const answer = (request: Request, token: string, maxAgeSeconds: number) =>
  HttpServerResponse.setCookieUnsafe(HttpServerResponse.empty({ status: 204 }), sessionCookie, token, {
    path: "/api",
    httpOnly: true,
    sameSite: "strict",
    secure: isSecure(request),
    maxAge: maxAgeSeconds * 1000
  })

/** Signing in and out. Not under `Access`: that is for who is in. */
export const sessionHandlers = HttpApiBuilder.group(
  SessionApi,
  "session",
  Effect.fn(function*(handlers) {
    const sessions = yield* Sessions
    const signIn = yield* SignIn

    const requireOwn = (request: Request) =>
      Effect.andThen(signIn.mode === "open" ? requireLoopbackName(request) : Effect.void, requireOwnPage(request))

    const endOf = (request: Request) => {
      const token = cookieOf(request, sessionCookie)
      return token === undefined ? Effect.void : asProblems(sessions.end(Redacted.make(token)))
    }

    let refusals = 0
    let toldAt = -Infinity
    const refuse = Effect.gen(function*() {
      refusals++
      const now = yield* Clock.currentTimeMillis
      if (now - toldAt >= tellEveryMs) {
        yield* Effect.logWarning("somebody tried to sign in with an API key that is not valid", { times: refusals })
        toldAt = now
        refusals = 0
      }
      yield* Effect.sleep(refusalTakes)
      return yield* new Unauthorized({ detail: "The API key is not valid" })
    })

    return handlers
      .handleRaw(
        "get",
        ({ request }) =>
          Effect.map(signIn.identify(request), (visitor) =>
            HttpServerResponse.jsonUnsafe({
              mode: signIn.mode,
              principal: visitor._tag === "Known"
                ? { name: visitor.principal.name, scope: visitor.principal.scope }
                : null,
              login_url: signIn.loginUrl(visitor)
            }))
      )
      .handleRaw(
        "create",
        Effect.fnUntraced(function*({ request }) {
          yield* requireOwn(request)
          const { api_key } = yield* createBody(request)
          const token = yield* asProblems(sessions.create(Redacted.make(api_key)))
          if (token === undefined) return yield* refuse
          yield* endOf(request)
          return answer(request, Redacted.value(token), sessionSeconds)
        })
      )
      .handleRaw(
        "end",
        ({ request }) => Effect.andThen(requireOwn(request), endOf(request)).pipe(Effect.as(answer(request, "", 0)))
      )
  })
)
