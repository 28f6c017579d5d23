/**
 * How a webhook with `partitions` is split: each part is an entity of its own with a position of its own, and has the
 * events of the rows whose primary key hashes to it.
 */
import { WebhookId } from "./Webhook.ts"

export interface Layout {
  /** How many parts. */
  readonly n: number
  /** The columns of the primary key by which it is split. */
  readonly key: ReadonlyArray<string>
  /** Whether an event that is about rows of several parts has to wait for all, and all for it. */
  readonly ordered: boolean
}

/** What `truss.part_of` says of an event about rows of several parts. */
export const severalParts = -1

/** The entity that delivers a part of a webhook; the first one has the webhook's own name. */
export const entityOf = (id: WebhookId, part: number): string => part === 0 ? id : `${id}.${part}`

/** The webhook of an entity, and its part. */
export const partOf = (entity: string): { readonly id: WebhookId; readonly part: number } => {
  const [id = "", part = "0"] = entity.split(".")
  return { id: WebhookId.make(id), part: Number(part) }
}

/** A part's share of what is allowed to the webhook as a whole; at least 1, since there are no more parts than that. */
export const shareOf = (total: number, part: number, n: number): number =>
  Math.floor(total / n) + (part < total % n ? 1 : 0)
