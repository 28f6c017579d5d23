import { Effect } from "effect"
import { InvalidParameter } from "../domain/Errors.ts"
import { isWebhookId } from "../domain/Webhook.ts"

/** Cursors of lists that are ordered by `created_at` and `id`, a UUID. */

/** `created_at` in whole microseconds, which is what a cursor remembers. */
export const positionOf = (createdAt: string) => `(extract(epoch FROM ${createdAt}) * 1000000)::int8::text`

/** The row value of a cursor, given the parameters with its two parts. */
export const atPosition = (position: string, id: string) =>
  `(timestamptz 'epoch' + ${position}::int8 * interval '1 microsecond', ${id}::uuid)`

export const notACursor = () => new InvalidParameter({ path: "cursor", message: "is not a cursor of this list" })

export const encodeCursor = (row: { readonly position: string; readonly id: string }): string =>
  Buffer.from(`${row.position} ${row.id}`).toString("base64url")

/** The position and the id that a cursor stands for. */
export const decodeCursor = (cursor: string): Effect.Effect<readonly [string, string], InvalidParameter> => {
  const match = /^(\d{1,17}) (.{36})$/.exec(Buffer.from(cursor, "base64url").toString())
  return match !== null && isWebhookId(match[2]!) ? Effect.succeed([match[1]!, match[2]]) : Effect.fail(notACursor())
}
