import { Schema, SchemaTransformation } from "effect"
import { OpenApi } from "effect/http-api"

// oxlint-disable-next-line no-control-regex
const control = /[\u0000-\u001f\u007f]/

/** An id in a path. Ids are opaque: one that cannot be an id is one that is not found. */
export const PathId = Schema.String.check(Schema.isPattern(/^[\w.~-]{1,100}$/))

/** A text in a query that the database can be asked about. */
export const QueryText = Schema.String.check(Schema.makeFilter((text) => {
  if (text.length === 0) return "must not be empty"
  if (text.length > 512) return "must have at most 512 characters"
  return control.test(text) || !text.isWellFormed() ? "must not contain control characters" : undefined
}, { toJsonSchema: () => ({ minLength: 1, maxLength: 512 }) }))

const digits = (minimum: number, maximum: number) =>
  Schema.String.check(
    Schema.makeFilter((text) =>
      /^\d{1,9}$/.test(text) && Number(text) >= minimum && Number(text) <= maximum
        ? undefined
        : `must be a whole number from ${minimum} to ${maximum}`
    )
  )

/** A whole number in a query, in plain digits. */
export const QueryInteger = (minimum: number, maximum: number) =>
  digits(minimum, maximum).pipe(
    Schema.decodeTo(Schema.Int, SchemaTransformation.transform({ decode: Number, encode: String }))
  )

/** `true` or `false` in a query. */
export const QueryBoolean = Schema.String.check(
  Schema.makeFilter((text) => text === "true" || text === "false" ? undefined : "must be true or false")
).pipe(
  Schema.decodeTo(Schema.Boolean, SchemaTransformation.transform({ decode: (text) => text === "true", encode: String }))
)

const timePattern =
  /^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(?:([Zz])|([+ -])(\d{2}:?\d{2}))?)?$/

/** The years 1 to 9999: PostgreSQL has no year 0, and ISO 8601 no fifth digit. */
const [earliest, latest] = [-62_135_596_800_000, 253_402_300_799_999]

/** UTC is meant where no offset is given; a `+` that nobody encoded arrives as a space. */
const parseTime = (text: string): Date | undefined => {
  const match = timePattern.exec(text)
  if (match === null) return undefined
  const [, day = "", time = "00:00", , sign, offset] = match
  const zone = sign === undefined ? "Z" : `${sign === " " ? "+" : sign}${offset!.slice(0, 2)}:${offset!.slice(-2)}`
  const midnight = new Date(`${day}T00:00:00Z`)
  // V8 and JavaScriptCore disagree about 30 February; neither is to be asked.
  if (Number.isNaN(midnight.getTime()) || !midnight.toISOString().startsWith(day)) return undefined
  const date = new Date(`${day}T${time}${zone}`)
  return date.getTime() >= earliest && date.getTime() <= latest ? date : undefined
}

/** An ISO 8601 time or day in a query, UTC unless it says otherwise. */
export const QueryTime = Schema.String.check(
  Schema.makeFilter(
    (text) => parseTime(text) === undefined ? "must be an ISO 8601 time, such as 2025-01-15T10:00:00Z" : undefined,
    { toJsonSchema: () => ({ anyOf: [{ format: "date-time" }, { format: "date" }] }) }
  )
).pipe(
  Schema.decodeTo(
    Schema.Date,
    SchemaTransformation.transform({
      decode: (text) => parseTime(text)!,
      encode: (date) => date.toISOString()
    })
  )
)

/** How many entries a page has: 1 to 500, and `defaultLimit` unless said. */
export const Limit = QueryInteger(1, 500)
export const defaultLimit = 50

/** For endpoints whose body may be left out: says so in the API's description, where every body is required else. */
export const optionalBody = OpenApi.annotations({
  transform: (operation) => ({ ...operation, requestBody: { ...operation["requestBody"], required: false } })
})
