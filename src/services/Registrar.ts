import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, PubSub, Schema } from "effect"
import type { WebhookNotFound } from "../domain/Errors.ts"
import { inProcessUrl } from "../domain/InProcess.ts"
import { Subscription, SubscriptionPatch } from "../domain/Subscription.ts"
import { WebhookCreate, type WebhookId, WebhookPatch } from "../domain/Webhook.ts"
import { orUnavailable } from "./Database.ts"
import { Secrets } from "./Secrets.ts"
import { WebhookChanges } from "./WebhookChanges.ts"
import { type VersionedWebhook, Webhooks } from "./Webhooks.ts"

/** A webhook as `POST /webhooks` takes it: what has a default may be left out. */
export type WebhookInput = typeof WebhookCreate.Encoded

/** A webhook whose receiver is a function: what an endpoint alone has is left out. */
export type SubscriptionInput = typeof Subscription.Encoded

/** There are several webhooks of this name, so it cannot be said which one is meant. */
export class NameNotUnique extends Schema.TaggedError<NameNotUnique>()("NameNotUnique", {
  name: Schema.String,
  ids: Schema.Array(Schema.String)
}) {
  override get message() {
    return `several webhooks are named ${JSON.stringify(this.name)} (${
      this.ids.join(", ")
    }): rename or delete all but one`
  }
}

/** The webhook does not fit: `message` says what is wrong with which field. */
export class InvalidWebhook extends Schema.TaggedError<InvalidWebhook>()("InvalidWebhook", {
  detail: Schema.String
}) {
  override get message() {
    return this.detail
  }
}

const parseOptions = { errors: "all", onExcessProperty: "error" } as const

const decode = <A, I>(schema: Schema.Codec<A, I>, input: unknown) =>
  Effect.mapError(
    Schema.decodeUnknownEffect(schema)(input, parseOptions),
    ({ message }) => new InvalidWebhook({ detail: message })
  )

interface Row {
  readonly id: WebhookId
  readonly headers: string
  readonly secret: string | null
}

const same = (a: unknown, b: unknown): boolean =>
  a === b || (typeof a === "object" && typeof b === "object" && a !== null && b !== null &&
    Object.keys(a).length === Object.keys(b).length &&
    Object.entries(a).every(([key, value]) => key in b && same(value, (b as Record<string, unknown>)[key])))

type Failure =
  | NameNotUnique
  | InvalidWebhook
  | Effect.Error<ReturnType<Webhooks["Service"]["create"]>>
  | Exclude<Effect.Error<ReturnType<Webhooks["Service"]["patch"]>>, WebhookNotFound>

/** Webhooks that stand in a program's code: each is known by its name. */
export class Registrar extends Context.Service<Registrar, {
  /**
   * Makes the webhook of this name, or makes the one that is there what is said here; what is left out stays as it is.
   * Nothing is written when nothing differs, so every process may do this whenever it starts.
   */
  register(input: WebhookInput): Effect.Effect<VersionedWebhook, Failure>
  /** The same for a webhook that delivers to the function of its name in this process. */
  attach(input: SubscriptionInput): Effect.Effect<VersionedWebhook, Failure>
}>()("truss/services/Registrar") {
  static readonly layer = Layer.effect(
    Registrar,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const webhooks = yield* Webhooks
      const secrets = yield* Secrets
      const changes = yield* WebhookChanges

      // Whoever renamed a function's webhook did not make another function of it.
      const named = (name: string) =>
        sql<Row>`SELECT id::text, headers::text, secret FROM truss.webhooks
          WHERE name = ${name} OR url = ${inProcessUrl(name)} ORDER BY created_at LIMIT 10`

      /** What is asked for and is not so yet. */
      const difference = Effect.fnUntraced(function*(row: Row, wanted: WebhookPatch) {
        const stored: Readonly<Record<string, unknown>> = {
          ...(yield* webhooks.get(row.id)),
          ...(yield* secrets.open(row.id, { ...row, previous_secret: null, previous_secret_until: null }))
        }
        return Object.fromEntries(
          Object.entries(wanted).filter(([key, value]) => !same(stored[key], value))
        ) as WebhookPatch
      })

      const settle = Effect.fnUntraced(function*(wanted: WebhookCreate, said: WebhookPatch) {
        yield* sql`SELECT pg_advisory_xact_lock(hashtext('truss.registrar'), hashtext(${wanted.name}))`
        const [row, ...more] = yield* named(wanted.name)
        if (row === undefined) return yield* webhooks.create(wanted)
        if (more.length > 0) {
          return yield* new NameNotUnique({ name: wanted.name, ids: [row, ...more].map(({ id }) => id) })
        }
        const changed = yield* difference(row, said)
        return Object.keys(changed).length === 0
          ? yield* webhooks.get(row.id)
          : yield* webhooks.patch(row.id, changed)
      })

      const stand = Effect.fnUntraced(
        function*(wanted: WebhookCreate, said: WebhookPatch) {
          const webhook = yield* sql.withTransaction(settle(wanted, said))
          // What Webhooks told was before the commit of this transaction.
          yield* PubSub.publish(changes, webhook.id)
          return webhook
        },
        Effect.catchTag("WebhookNotFound", Effect.die),
        orUnavailable
      )

      const register = Effect.fn("Registrar.register")(function*(input: WebhookInput) {
        return yield* stand(yield* decode(WebhookCreate, input), yield* decode(WebhookPatch, input))
      })

      const attach = Effect.fn("Registrar.attach")(function*(input: SubscriptionInput) {
        const wanted = yield* decode(Subscription, input)
        const url = inProcessUrl(wanted.name)
        return yield* stand({ ...wanted, url, headers: {} }, { ...yield* decode(SubscriptionPatch, input), url })
      })

      return Registrar.of({ register, attach })
    })
  )
}
