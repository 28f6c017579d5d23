/** The typed client, fit for browsers: `truss-webhooks/client`. */
export { LogEntry } from "./domain/Attempt.ts"
export { defaults, Webhook, WebhookCreate, WebhookPatch } from "./domain/Webhook.ts"
export * as Problems from "./http/api/Problems.ts"
export { type ClientOptions, TrussClient } from "./http/Client.ts"
