import { Struct } from "effect"
import { WebhookCreate, WebhookPatch } from "./Webhook.ts"

/** A webhook whose receiver is a function: what an endpoint alone has is left out. */
export const Subscription = WebhookCreate.mapFields(Struct.omit(["url", "headers", "secret"]))

/** What of one may be said again. */
export const SubscriptionPatch = WebhookPatch.mapFields(Struct.omit(["url", "headers", "secret"]))
