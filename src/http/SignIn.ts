import { Context, Effect, Layer, Redacted } from "effect"
import type { HttpServerRequest } from "effect/http"
import { ApiKeys, type KeyOwner } from "../services/ApiKeys.ts"
import { Kratos, kratosCookie, type KratosIdentity, type KratosRefused } from "../services/Kratos.ts"
import { Sessions } from "../services/Sessions.ts"
import type { Principal } from "./api/Access.ts"
import { type Forbidden, Unavailable } from "./api/Problems.ts"
import { apiKeyOf, cookieOf, sessionCookie } from "./Credentials.ts"
import { asProblems } from "./DomainProblems.ts"
import { requireLoopbackName } from "./OwnPage.ts"

type Request = HttpServerRequest.HttpServerRequest

export interface SignInOptions {
  /** Whether `/api` is open to this machine or needs credentials, as `/v1` always does. */
  readonly auth: "open" | "required"
  /** The public URL of an Ory Kratos whose sessions are let in. */
  readonly kratosUrl?: string | undefined
}

/** Who a request comes from. `detail` says why it is nobody, for people. */
export type Visitor =
  | {
    readonly _tag: "Known"
    readonly principal: Principal["Service"]
    /** Whether a browser adds the credentials by itself, whoever's page makes the request. */
    readonly isAmbient: boolean
  }
  | { readonly _tag: "Stranger"; readonly detail: string; readonly lacksFactor: boolean }

const local = { id: "name:local", name: "local", actor: "local", scope: "write" } as const

const ofKey = ({ id, name, scope }: KeyOwner): Principal["Service"] => ({
  id: id === null ? `name:${name}` : `key:${id}`,
  name,
  actor: name,
  scope
})

// The identity chooses its name: only with its id does it say who it was.
const ofIdentity = ({ id, name }: KratosIdentity): Principal["Service"] => ({
  id: `kratos:${id}`,
  name: name ?? id,
  actor: name === undefined ? `kratos:${id}` : `${name} (kratos:${id})`,
  scope: "write"
})

const known = (principal: Principal["Service"], isAmbient: boolean): Visitor => ({
  _tag: "Known",
  principal,
  isAmbient
})

const stranger = (detail: string, lacksFactor = false): Visitor => ({ _tag: "Stranger", detail, lacksFactor })

const refused = ({ reason }: KratosRefused) =>
  reason === "second_factor"
    ? stranger("The session needs a second factor: sign in with it", true)
    : stranger("The session is not valid (any more): sign in again")

/** Who asks, by the rules of a prefix. */
export class SignIn extends Context.Service<SignIn, {
  readonly mode: "open" | "kratos" | "api_key"
  /** By an API key in a header, and by nothing else. */
  byKey(request: Request): Effect.Effect<Visitor, Unavailable>
  /** As `/api` has it. A key in a header counts before cookies do, and if it is not valid, they do not. */
  identify(request: Request): Effect.Effect<Visitor, Forbidden | Unavailable>
  /** Where a browser signs in, if not with an API key. */
  loginUrl(visitor: Visitor): string | null
}>()("truss/http/SignIn") {
  static readonly layer = (options: SignInOptions) =>
    Layer.effect(
      SignIn,
      Effect.gen(function*() {
        const keys = yield* ApiKeys
        const sessions = yield* Sessions
        const kratosUrl = options.auth === "open" ? undefined : options.kratosUrl
        const kratos = kratosUrl === undefined
          ? undefined
          : Context.get(yield* Layer.build(Kratos.layer(kratosUrl)), Kratos)

        const byKey = Effect.fnUntraced(function*(request: Request) {
          const key = apiKeyOf(request)
          if (key === undefined) return stranger("Send an API key as apikey, x-api-key or Authorization: Bearer")
          const owner = yield* asProblems(keys.verify(Redacted.make(key)))
          return owner === undefined ? stranger("The API key is not valid") : known(ofKey(owner), false)
        })

        const byKratos = (service: Kratos["Service"], cookie: string) =>
          service.check(Redacted.make(cookie)).pipe(
            Effect.map((identity) => known(ofIdentity(identity), true)),
            Effect.catchTag("KratosRefused", (error) => Effect.succeed(refused(error))),
            Effect.catchTag(
              "KratosUnavailable",
              () =>
                Effect.fail(new Unavailable({ detail: "The session cannot be checked: Ory Kratos does not answer" }))
            )
          )

        const bySession = Effect.fnUntraced(function*(request: Request) {
          const token = cookieOf(request, sessionCookie)
          const owner = token === undefined ? undefined : yield* asProblems(sessions.verify(Redacted.make(token)))
          if (owner !== undefined) return known(ofKey(owner), true)
          const cookie = kratos && cookieOf(request, kratosCookie)
          if (kratos !== undefined && cookie !== undefined) return yield* byKratos(kratos, cookie)
          return stranger(
            token === undefined
              ? "Sign in, or send an API key as apikey, x-api-key or Authorization: Bearer"
              : "The session has ended: sign in again"
          )
        })

        return SignIn.of({
          mode: options.auth === "open" ? "open" : kratos === undefined ? "api_key" : "kratos",
          byKey,
          identify: (request) =>
            options.auth === "open"
              ? Effect.as(requireLoopbackName(request), known(local, true))
              : apiKeyOf(request) === undefined
              ? bySession(request)
              : byKey(request),
          loginUrl: (visitor) => {
            if (kratosUrl === undefined) return null
            const url = `${kratosUrl}/self-service/login/browser`
            return visitor._tag === "Stranger" && visitor.lacksFactor ? `${url}?aal=aal2` : url
          }
        })
      })
    )
}
