/** What other programs embed: Truss Webhooks whole or in parts, as layers from option values, or by promises. */
export { LogEntry } from "./domain/Attempt.ts"
export type { Change } from "./domain/Change.ts"
export { type EgressAllow, parseEgressAllow } from "./domain/EgressAllow.ts"
export { defaults, Webhook, WebhookCreate, WebhookPatch } from "./domain/Webhook.ts"
export { Principal } from "./http/api/Access.ts"
export * as Problems from "./http/api/Problems.ts"
export { type ClientOptions, TrussClient } from "./http/Client.ts"
export { layerMountedApi, type MountedApiOptions } from "./http/MountedApi.ts"
export {
  type DeliveryOptions,
  layerDelivery,
  layerDeliveryBeside,
  layerService,
  layerServices,
  NoApiKey,
  type ServiceOptions,
  Unprotected
} from "./Service.ts"
export type { DatabaseOptions } from "./services/Database.ts"
export { deliveryOutcomes } from "./services/DeliveryOutcomes.ts"
export type { EgressOptions } from "./services/Egress.ts"
export { type EncryptionKey, type EncryptionKeys, parseEncryptionKeys } from "./services/EncryptionKey.ts"
export { EncryptionKeyRefused } from "./services/KeyAdmission.ts"
export { MigrationFailed } from "./services/Migrations.ts"
export {
  InvalidWebhook,
  NameNotUnique,
  Registrar,
  type SubscriptionInput,
  type WebhookInput
} from "./services/Registrar.ts"
export { AlreadySubscribed, type Attempted, Subscribers } from "./services/Subscribers.ts"
export { subscribe } from "./services/Subscription.ts"
export { Webhooks } from "./services/Webhooks.ts"
export {
  createTrussWebhooks,
  type HandedOver,
  type TrussWebhooks,
  TrussWebhooksError,
  type TrussWebhooksOptions
} from "./TrussWebhooks.ts"
