import { Context, Effect, Schema, type Scope, Tracer } from "effect"
import type { Change } from "../domain/Change.ts"
import { inProcessUrl } from "../domain/InProcess.ts"
import { Registrar, type SubscriptionInput } from "./Registrar.ts"
import { type AlreadySubscribed, type Attempted, Subscribers } from "./Subscribers.ts"
import type { VersionedWebhook } from "./Webhooks.ts"

type Failure = AlreadySubscribed | Effect.Error<ReturnType<Registrar["Service"]["attach"]>>

/** A change, and the attempt that it came by. */
type Handler<A, E, R> = (change: A, attempted: Attempted) => Effect.Effect<void, E, R>

const parse = (body: string): unknown => JSON.parse(body)

const decoder = <A, RD>(payload: Schema.ConstraintDecoder<A, RD> | undefined) => {
  if (payload === undefined) return (body: string) => Effect.sync(() => parse(body) as A)
  const decode = Schema.decodeUnknownEffect(payload, { errors: "all" })
  return (body: string) => decode(parse(body))
}

/**
 * A function of this program as the receiver of a webhook, without HTTP and with every guarantee of one: each change is
 * given to it until it succeeds or its attempts are used up, by the webhook's `ordering`, `concurrency`, `timeout_ms` and
 * so on, and every attempt is in the log. The webhook is known by its name and made or changed as `Registrar.register`
 * does. The function is there until the scope ends; without it, in whichever process delivers, events wait.
 *
 * `payload` decodes the change; what does not fit is a failed attempt. Without one, numbers beyond 2^53 lose digits in
 * the change, and `body` has them all. A change can come twice: `id` tells.
 */
export const subscribe: {
  <A, RD, E, R>(
    input: SubscriptionInput & { readonly payload: Schema.ConstraintDecoder<A, RD> },
    handler: Handler<A, E, R>
  ): Effect.Effect<VersionedWebhook, Failure, R | RD | Registrar | Subscribers | Scope.Scope>
  <E, R>(
    input: SubscriptionInput,
    handler: Handler<Change, E, R>
  ): Effect.Effect<VersionedWebhook, Failure, R | Registrar | Subscribers | Scope.Scope>
} = Effect.fn("subscribe")(function*<A, RD, E, R>(
  { payload, ...input }: SubscriptionInput & { readonly payload?: Schema.ConstraintDecoder<A, RD> },
  handler: Handler<A, E, R>
) {
  const registrar = yield* Registrar
  const subscribers = yield* Subscribers
  // An attempt is no part of what subscribed: it has a span of its own, or none.
  const context = Context.omit(Tracer.ParentSpan)(yield* Effect.context<R | RD>()) as Context.Context<R | RD>
  const decode = decoder(payload)
  const handle = (attempted: Attempted) =>
    Effect.flatMap(decode(attempted.body), (change) => handler(change, attempted)).pipe(
      Effect.provideContext(context)
    )
  // It is there before the webhook is looked at again.
  yield* subscribers.add(inProcessUrl(input.name), input.name, handle)
  return yield* registrar.attach(input)
})
