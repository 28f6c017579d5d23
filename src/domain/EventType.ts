import { Schema } from "effect"

/** What a webhook can ask for. */
export const ChangeType = Schema.Literals(["INSERT", "UPDATE", "DELETE", "TRUNCATE"])
export type ChangeType = typeof ChangeType.Type

/** What a delivery can carry: a change, or the synthetic event of `POST /webhooks/{id}/test`. */
export const EventType = Schema.Literals([...ChangeType.literals, "TEST"])
export type EventType = typeof EventType.Type
