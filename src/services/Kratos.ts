import {
  Cache,
  Clock,
  Context,
  Duration,
  Effect,
  Exit,
  Layer,
  Option,
  Redacted,
  Schema,
  Semaphore,
  Stream
} from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { createHash } from "node:crypto"

/** The cookie with Ory Kratos's session. */
export const kratosCookie = "ory_kratos_session"

/** Who a session of Kratos's is of. */
export interface KratosIdentity {
  readonly id: string
  /** The e-mail address or user name, where the identity has one: what its owner chose, so no proof of anything. */
  readonly name: string | undefined
}

/** Kratos does not vouch for the session: there is none (any more), or it lacks the second factor that is required. */
export class KratosRefused extends Schema.TaggedError<KratosRefused>()("KratosRefused", {
  reason: Schema.Literals(["no_session", "second_factor"])
}) {}

/** Kratos could not be asked, or gave no answer that means something. Temporary. */
export class KratosUnavailable extends Schema.TaggedError<KratosUnavailable>()("KratosUnavailable", {
  detail: Schema.String
}) {}

const timeoutMs = 3_000
const keptMs = 30_000
/** Sessions whose answers are kept. */
const capacity = 4_096
/** Questions to Kratos at the same time: more wait, for no longer than an answer may take. */
const maxAsking = 32
/** Bytes of an answer: a session with its devices and traits is some kilobytes. */
const maxAnswer = 65_536

/** https://www.ory.com/docs/kratos/reference/api#tag/frontend/operation/toSession */
const Session = Schema.fromJsonString(Schema.Struct({
  active: Schema.Boolean,
  expires_at: Schema.optionalKey(Schema.NullOr(Schema.DateTimeUtcFromString)),
  identity: Schema.Struct({
    id: Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,128}$/)),
    traits: Schema.optionalKey(Schema.Unknown)
  })
}))
const decodeSession = Schema.decodeUnknownEffect(Session)

/** Characters that are seen: none that would turn a line of the audit around or end it. */
const visible = /^[^\p{C}\p{Zl}\p{Zp}]{1,200}$/u
const decodeTraits = Schema.decodeUnknownOption(
  Schema.Struct({ email: Schema.optionalKey(Schema.Unknown), username: Schema.optionalKey(Schema.Unknown) })
)
const nameOf = (traits: unknown): string | undefined => {
  const { email, username } = Option.getOrElse(
    decodeTraits(traits),
    (): { email?: unknown; username?: unknown } => ({})
  )
  return [email, username].find((name) => typeof name === "string" && visible.test(name)) as string | undefined
}

/** What a cookie's value may consist of (RFC 6265), so that nothing else reaches Kratos with it. */
const cookieValue = /^[\x21-\x2b\x2d-\x3a\x3c-\x7e]{1,4096}$/

/** What is presented, for the lookup of a digest that is not known yet. */
class Presented extends Context.Service<Presented, Redacted.Redacted>()("truss/services/Kratos/Presented") {}

const unavailable = (detail: string) => new KratosUnavailable({ detail })

/** Sessions of Ory Kratos, as its `/sessions/whoami` knows them. */
export class Kratos extends Context.Service<Kratos, {
  /** Whose session the cookie's value stands for. An answer is kept for 30 seconds, a refusal is not kept. */
  check(cookie: Redacted.Redacted): Effect.Effect<KratosIdentity, KratosRefused | KratosUnavailable>
}>()("truss/services/Kratos") {
  /** `url` is Kratos's public one. */
  static readonly layerNoDeps = (url: string) =>
    Layer.effect(
      Kratos,
      Effect.gen(function*() {
        const client = HttpClient.withScope(yield* HttpClient.HttpClient)
        const asking = yield* Semaphore.make(maxAsking)
        const whoami = `${url.replace(/\/+$/, "")}/sessions/whoami`

        const request = (cookie: Redacted.Redacted) =>
          client.get(whoami, {
            headers: { accept: "application/json", cookie: `${kratosCookie}=${Redacted.value(cookie)}` }
          }).pipe(
            Effect.flatMap((response) =>
              response.status !== 200
                ? Effect.succeed({ status: response.status, text: "" })
                : Stream.limitBytes(response.stream, maxAnswer, () => Stream.empty).pipe(
                  Stream.decodeText,
                  Stream.mkString,
                  Effect.map((text) => ({ status: 200, text }))
                )
            ),
            Effect.scoped,
            // A connection that was kept for too long is noticed by using it.
            Effect.retry({ times: 1 }),
            Effect.mapError(() => unavailable("does not answer")),
            asking.withPermits(1),
            Effect.timeoutOrElse({
              duration: timeoutMs,
              orElse: () => Effect.fail(unavailable(`does not answer within ${timeoutMs} ms`))
            })
          )

        const ask = Effect.fn("Kratos.whoami")(function*(cookie: Redacted.Redacted) {
          const askedAt = yield* Clock.currentTimeMillis
          const { status, text } = yield* request(cookie)
          if (status === 401) return yield* new KratosRefused({ reason: "no_session" })
          if (status === 403) return yield* new KratosRefused({ reason: "second_factor" })
          if (status !== 200) return yield* unavailable(`answers ${status}`)
          // What was cut off is no JSON.
          const session = yield* Effect.mapError(decodeSession(text), () => unavailable("answers with no session"))
          const until = Math.min(askedAt + keptMs, session.expires_at?.epochMilliseconds ?? Infinity)
          const leftMs = until - (yield* Clock.currentTimeMillis)
          if (!session.active || leftMs <= 0) return yield* new KratosRefused({ reason: "no_session" })
          return { identity: { id: session.identity.id, name: nameOf(session.identity.traits) }, leftMs }
        })

        // A line when it begins to fail and one when it has recovered, however often it is asked.
        let failing = false
        const told = <A, E extends KratosRefused | KratosUnavailable>(effect: Effect.Effect<A, E>) =>
          Effect.onExit(effect, (exit) => {
            const error = Exit.isFailure(exit) ? Option.getOrUndefined(Exit.findErrorOption(exit)) : undefined
            const fails = error?._tag === "KratosUnavailable"
            if (fails === failing || Exit.hasInterrupts(exit)) return Effect.void
            failing = fails
            return fails
              ? Effect.logWarning(`KRATOS_PUBLIC_URL: ${whoami} ${error.detail}: sessions cannot be checked`)
              : Effect.logInfo(`KRATOS_PUBLIC_URL: ${whoami} answers again`)
          })

        const known = yield* Cache.makeWith(
          (_digest: string) => Effect.flatMap(Presented, (cookie) => told(ask(cookie))),
          {
            capacity,
            requireServicesAt: "lookup",
            timeToLive: (exit) => Exit.isSuccess(exit) ? Duration.millis(exit.value.leftMs) : Duration.zero
          }
        )

        const check = Effect.fnUntraced(function*(cookie: Redacted.Redacted) {
          const value = Redacted.value(cookie)
          if (!cookieValue.test(value)) return yield* new KratosRefused({ reason: "no_session" })
          const digest = createHash("sha256").update(value).digest("base64")
          const { identity } = yield* Effect.provideService(Cache.get(known, digest), Presented, cookie)
          return identity
        })

        return Kratos.of({ check })
      })
    )

  static readonly layer = (url: string): Layer.Layer<Kratos> =>
    Kratos.layerNoDeps(url).pipe(
      Layer.provide(FetchHttpClient.layer),
      Layer.provide(Layer.succeed(FetchHttpClient.RequestInit, { redirect: "manual", cache: "no-store" })),
      Layer.provide(Layer.succeed(HttpClient.TracerDisabledWhen, () => true))
    )
}
