import { Schema } from "effect"

/** How a condition compares a column's value. */
export const FilterOp = Schema.Literals([
  "eq",
  "neq",
  "lt",
  "lte",
  "gt",
  "gte",
  "in",
  "is_null",
  "not_null",
  "changed"
])
export type FilterOp = typeof FilterOp.Type

const withoutValue: ReadonlySet<FilterOp> = new Set(["is_null", "not_null", "changed"])

/** The operators that need an order, which JSON documents and arrays do not have. */
export const ordered: ReadonlySet<FilterOp> = new Set(["lt", "lte", "gt", "gte"])

/** Whether a value is a string, a number, a boolean or null. */
export const isScalar = (value: unknown): boolean => value === null || typeof value !== "object"

const isText = (value: unknown): boolean => typeof value !== "string" || value.isWellFormed() && !value.includes("\0")

const faultOf = (op: FilterOp, value: unknown): string | undefined => {
  if (withoutValue.has(op)) return value === undefined ? undefined : `${op} takes no value`
  if (value === undefined) return `${op} takes a value`
  if (op === "in" && !(Array.isArray(value) && value.length > 0 && value.length <= 1000)) {
    return "in takes a list of 1 to 1000 values"
  }
  if (ordered.has(op) && !isScalar(value)) return `${op} takes a string, a number, a boolean or null`
  return (op === "in" ? value as ReadonlyArray<unknown> : [value]).every(isText)
    ? undefined
    : "must be well-formed Unicode without the character NUL"
}

/** One condition on a column of `row`, or of `old_row` for DELETE. Values compare by the column's type. */
export const FilterCondition = Schema.Struct({
  column: Schema.String.check(
    Schema.makeFilter((name) =>
      name.length > 0 && name.length <= 63 && !name.includes("\0") && name.isWellFormed()
        ? undefined
        : "must be the name of a column", { toJsonSchema: () => ({ minLength: 1, maxLength: 63 }) })
  ),
  op: FilterOp,
  value: Schema.optionalKey(Schema.Unknown.annotate({
    description: "Not for `is_null`, `not_null` and `changed`; a list for `in`. Numbers beyond 2^53 go in a string"
  }))
}).check(Schema.makeFilter(({ op, value }) => {
  const fault = faultOf(op, value)
  return fault === undefined ? undefined : { path: ["value"], issue: fault }
})).annotate({ identifier: "FilterCondition" })
export type FilterCondition = typeof FilterCondition.Type

/** Conditions that must all hold. */
export const Filter = Schema.Array(FilterCondition).check(
  Schema.makeFilter(
    (conditions) =>
      conditions.length >= 1 && conditions.length <= 50 ? undefined : "must have 1 to 50 conditions, or be null",
    {
      toJsonSchema: () => ({ minItems: 1, maxItems: 50 })
    }
  )
)
export type Filter = typeof Filter.Type
