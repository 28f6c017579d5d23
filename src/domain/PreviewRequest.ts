import { Effect, Schema } from "effect"
import { ChangeType } from "./EventType.ts"
import { WebhookCreate } from "./Webhook.ts"

const { columns, events, filter, table_name, table_schema } = WebhookCreate.fields

const every: ReadonlyArray<ChangeType> = ChangeType.literals

/** The body of `POST /webhooks/preview`: what of a webhook decides which events fire. */
export const PreviewRequest = Schema.Struct({
  table_schema,
  table_name,
  events: events.pipe(Schema.withDecodingDefaultKey(Effect.succeed(every))),
  columns,
  filter
}).annotate({ identifier: "PreviewRequest" })
export type PreviewRequest = typeof PreviewRequest.Type
