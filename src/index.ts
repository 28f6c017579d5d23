/** What other services embed: the whole of Truss Webhooks as one layer, from option values. */
export { layerService, layerServices, NoApiKey, type ServiceOptions, Unprotected } from "./Service.ts"
export { MigrationFailed } from "./services/Migrations.ts"
