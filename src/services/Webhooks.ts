import { Context, type Effect } from "effect"
import type {
  DatabaseUnavailable,
  InvalidParameter,
  TableLocked,
  TableNotWatchable,
  WebhookNotFound
} from "../domain/Errors.ts"
import type { Webhook, WebhookCreate, WebhookPatch } from "../domain/Webhook.ts"

/** One page of a list, newest last for webhooks, newest first for logs. */
export interface WebhookPage {
  readonly data: ReadonlyArray<Webhook>
  readonly next_cursor: string | null
}

export interface WebhookQuery {
  readonly limit: number
  readonly cursor?: string | undefined
  /** `orders` or `public.orders`. */
  readonly table?: string | undefined
  readonly active?: boolean | undefined
}

/** The registered webhooks. Creating, changing and deleting installs and drops triggers, and tells the dispatcher. */
export class Webhooks extends Context.Service<Webhooks, {
  create(input: WebhookCreate): Effect.Effect<Webhook, TableNotWatchable | TableLocked | DatabaseUnavailable>
  list(query: WebhookQuery): Effect.Effect<WebhookPage, InvalidParameter | DatabaseUnavailable>
  get(id: string): Effect.Effect<Webhook, WebhookNotFound | DatabaseUnavailable>
  patch(
    id: string,
    input: WebhookPatch
  ): Effect.Effect<Webhook, WebhookNotFound | TableNotWatchable | TableLocked | DatabaseUnavailable>
  remove(id: string): Effect.Effect<void, WebhookNotFound | TableLocked | DatabaseUnavailable>
}>()("truss/services/Webhooks") {}
