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

const isScalar = (value: unknown) =>
  value === null || typeof value === "string" || typeof value === "number" || typeof value === "boolean"

const faultOf = (op: FilterOp, value: unknown): string | undefined => {
  if (withoutValue.has(op)) return value === undefined ? undefined : `${op} takes no value`
  if (op === "in") {
    return Array.isArray(value) && value.length > 0 && value.length <= 1000 && value.every(isScalar)
      ? undefined
      : "in takes a list of 1 to 1000 strings, numbers, booleans or nulls"
  }
  return isScalar(value) ? undefined : `${op} takes a string, a number, a boolean or null`
}

/** One condition on a column of `row`, or of `old_row` for DELETE. Values compare by the column's type. */
export const FilterCondition = Schema.Struct({
  column: Schema.String.check(
    Schema.makeFilter((name) =>
      name.length > 0 && name.length <= 63 && !name.includes("\0") && name.isWellFormed()
        ? undefined
        : "must be the name of a column"
    )
  ),
  op: FilterOp,
  value: Schema.optionalKey(Schema.Unknown)
}).check(Schema.makeFilter(({ op, value }) => {
  const fault = faultOf(op, value)
  return fault === undefined ? undefined : { path: ["value"], issue: fault }
})).annotate({ identifier: "FilterCondition" })
export type FilterCondition = typeof FilterCondition.Type

/** Conditions that must all hold. */
export const Filter = Schema.Array(FilterCondition).check(
  Schema.makeFilter((conditions) =>
    conditions.length >= 1 && conditions.length <= 50 ? undefined : "must have 1 to 50 conditions, or be null"
  )
)
export type Filter = typeof Filter.Type
