import { Effect } from "effect"
import { InvalidParameter } from "../domain/Errors.ts"
import { isWebhookId } from "../domain/Webhook.ts"

/** Cursors name the list that they are of, so that none is taken for a position in another one. */
const notACursor = () => new InvalidParameter({ path: "cursor", message: "is not a cursor of this list" })

const encode = (list: string, position: string): string => Buffer.from(`${list}\0${position}`).toString("base64url")

/** The parts of a position that a cursor of this list stands for: as many as there are. No part has a NUL in it. */
const decode = (list: string, cursor: string): ReadonlyArray<string> => {
  const [name, ...parts] = Buffer.from(cursor, "base64url").toString().split("\0")
  return name === list && encode(list, parts.join("\0")) === cursor ? parts : []
}

/** Of lists that are ordered by two texts. */
export const encodeNames = (list: string, names: readonly [string, string]): string => encode(list, names.join("\0"))

export const decodeNames = (
  list: string,
  cursor: string
): Effect.Effect<readonly [string, string], InvalidParameter> => {
  const [first = "", second = "", ...more] = decode(list, cursor)
  return first === "" || second === "" || more.length > 0 ? Effect.fail(notACursor()) : Effect.succeed([first, second])
}

/** Of lists that are ordered by a whole number. */
export const encodeNumber = (list: string, position: number): string => encode(list, position.toString(36))

export const decodeNumber = (list: string, cursor: string): Effect.Effect<number, InvalidParameter> => {
  const [text = "", ...more] = decode(list, cursor)
  const position = Number.parseInt(text, 36)
  return Number.isSafeInteger(position) && position >= 0 && position.toString(36) === text && more.length === 0
    ? Effect.succeed(position)
    : Effect.fail(notACursor())
}

/** Of lists that are ordered by `created_at` and `id`, a UUID. */
export const encodeCursor = (list: string, row: { readonly position: string; readonly id: string }): string =>
  encode(list, `${row.position}\0${row.id}`)

/** The position and the id that a cursor stands for. */
export const decodeCursor = (
  list: string,
  cursor: string
): Effect.Effect<readonly [string, string], InvalidParameter> =>
  Effect.filterOrFail(
    decodeNames(list, cursor),
    ([position, id]) => /^\d{1,17}$/.test(position) && isWebhookId(id),
    notACursor
  )

/** `created_at` in whole microseconds, which is what a cursor remembers. */
export const positionOf = (createdAt: string) => `(extract(epoch FROM ${createdAt}) * 1000000)::int8::text`

/** The row value of a cursor, given the parameters with its two parts. */
export const atPosition = (position: string, id: string) =>
  `(timestamptz 'epoch' + ${position}::int8 * interval '1 microsecond', ${id}::uuid)`
