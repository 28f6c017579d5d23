/** What other services embed: the whole of Truss Webhooks as one layer, from option values. */
export { type EgressAllow, parseEgressAllow } from "./domain/EgressAllow.ts"
export { layerService, layerServices, NoApiKey, type ServiceOptions, Unprotected } from "./Service.ts"
export type { EgressOptions } from "./services/Egress.ts"
export { type EncryptionKey, type EncryptionKeys, parseEncryptionKeys } from "./services/EncryptionKey.ts"
export { EncryptionKeyRefused } from "./services/KeyAdmission.ts"
export { MigrationFailed } from "./services/Migrations.ts"
