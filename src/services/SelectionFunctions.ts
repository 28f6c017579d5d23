/**
 * The functions that say whether an event fires a webhook with `columns` or `filter`. They read the stored body, so the
 * answer about an event is the same whenever it is asked, whatever became of the row since.
 */
import { type Filter, type FilterCondition, isScalar, ordered } from "../domain/Filter.ts"
import { identifier, literal } from "./Quoting.ts"

/** A column as conditions compare it. */
export interface SelectableColumn {
  readonly name: string
  /** As people know it: `numeric(10,2)`. */
  readonly declared: string
  /**
   * `typed` compares as `type`, `json` for equality as jsonb, `text` as the text in the body, `enum` as that, and by the
   * order of its labels.
   */
  readonly comparison: "typed" | "json" | "text" | "enum"
  /**
   * What to cast to, quoted: a type of PostgreSQL's own, so that no cast, CHECK or operator of other people's runs as us.
   * Of a domain the type below it, of an enum text.
   */
  readonly type: string
  /** Of an enum its own type, quoted; else null. */
  readonly enum_type: string | null
  /** Quoted; null for the database's own. */
  readonly collation: string | null
  readonly virtual: boolean
}

/** What a webhook selects by. */
export interface SelectionRules {
  readonly columns: ReadonlyArray<string> | null
  readonly filter: Filter | null
}

/** The name of a webhook's function inside the schema `truss`. */
export const bareFunctionName = (id: string): string => `select_${id.replaceAll("-", "")}`

/** The columns that rules name, each once. */
export const namedColumns = ({ columns, filter }: SelectionRules): ReadonlyArray<string> => [
  ...new Set([...columns ?? [], ...(filter ?? []).map(({ column }) => column)])
]

const isDocument = (text: string): boolean => {
  if (!/^\s*[[{]/.test(text)) return false
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/**
 * The values that a condition's column is compared with, as text to cast. JSON is compared with the value as it stands,
 * or with the document that a string spells: only a string keeps every digit.
 */
export const operands = ({ op, value }: FilterCondition, column: SelectableColumn): ReadonlyArray<string> => {
  const values = op === "in" ? value as ReadonlyArray<unknown> : value === undefined ? [] : [value]
  return values.filter((value) => value !== null).flatMap((value) => {
    if (column.comparison !== "json") return [isScalar(value) ? String(value) : JSON.stringify(value)]
    const json = JSON.stringify(value)
    return typeof value === "string" && isDocument(value) ? [json, value] : [json]
  })
}

/** `ARRAY[…]::type[]` of literals. */
export const typedArray = (values: ReadonlyArray<string>, type: string): string =>
  `ARRAY[${values.map(literal).join(", ")}]::${type}[]`

/**
 * How conditions see a column: `now` and `old` are the JSON of rows, and a column that is not in them is NULL. A body
 * that was reduced to its key is `truncated` and says nothing about other columns: nothing is dropped on a guess.
 */
const inRow = (column: SelectableColumn) => {
  const key = literal(column.name)
  // A string inside JSON may hold what text cannot, so JSON is never unquoted.
  const value = column.comparison === "json" ? `nullif((now -> ${key})::text, 'null')` : `(now ->> ${key})`
  const collation = column.collation === null ? "" : ` COLLATE ${column.collation}`
  const isThere = `(now -> ${key}) IS NOT NULL`
  const isLeftOut = `truncated AND (now -> ${key}) IS NULL`
  return {
    value,
    compared: column.comparison === "text" || column.comparison === "enum"
      ? value
      : `${value}::${column.type}${collation}`,
    isThereOrLeftOut: `(${isThere} OR truncated)`,
    isLeftOut,
    differs: `((now -> ${key})::text IS DISTINCT FROM (old -> ${key})::text OR ${isLeftOut})`
  }
}

// By `enum_range` and the type's output function: a cast from or to an enum may be its owner's code.
const enumLabels = (type: string): string =>
  `string_to_array(array_to_string(enum_range(NULL::${type}), E'\\x01'), E'\\x01')`

/** A value's place in its column's order. */
const ranked = (value: string, { enum_type, type }: SelectableColumn): string =>
  enum_type === null ? `${value}::${type}` : `array_position(${enumLabels(enum_type)}, ${value}::text)`

const symbols = { lt: "<", lte: "<=", gt: ">", gte: ">=" } as const

const holds = (condition: FilterCondition, column: SelectableColumn | undefined): string => {
  if (column === undefined) return "false"
  const { compared, differs, isLeftOut, isThereOrLeftOut, value } = inRow(column)
  const values = operands(condition, column)
  const array = typedArray(values, column.type)
  switch (condition.op) {
    case "eq":
    case "in":
      return values.length === 0 ? "false" : `coalesce(${compared} = ANY (${array}), ${isLeftOut})`
    case "neq":
      return values.length === 0
        ? `(${value} IS NOT NULL OR ${isLeftOut})`
        : `CASE WHEN ${value} IS NULL THEN ${isThereOrLeftOut} ELSE ${compared} <> ALL (${array}) END`
    case "is_null":
      return `(${value} IS NULL AND ${isThereOrLeftOut})`
    case "not_null":
      return `(${value} IS NOT NULL OR ${isLeftOut})`
    case "changed":
      return `CASE WHEN event = 'UPDATE' THEN ${differs} ELSE ${isThereOrLeftOut} END`
    default:
      return values.length === 0 || column.comparison === "json"
        ? "false"
        : `coalesce(${column.enum_type === null ? compared : ranked(value, column)} ${symbols[condition.op]} ${
          ranked(literal(values[0]!), column)
        }, ${isLeftOut})`
  }
}

/** So many columns are compared one by one: each reads both rows from their start. */
const fewColumns = 8

const someDiffers = (columns: ReadonlyArray<SelectableColumn>): string => {
  if (columns.length <= fewColumns) {
    return ["false", ...columns.map((column) => inRow(column).differs)].join("\n      OR ")
  }
  const names = columns.map(({ name }) => identifier(name))
  const record = names.map((name) => `${name} json`).join(", ")
  return `EXISTS (
      SELECT FROM json_to_record(given.now) AS n (${record}), json_to_record(given.old) AS o (${record})
      WHERE ${names.map((name) => `n.${name}::text IS DISTINCT FROM o.${name}::text`).join(" OR ")}
    ) OR truncated AND EXISTS (
      SELECT FROM unnest(${typedArray(columns.map(({ name }) => name), "text")}) c WHERE (given.now -> c) IS NULL
    )`
}

const isTemporal = ({ comparison, type }: SelectableColumn): boolean =>
  comparison === "typed" && /^pg_catalog\."?(?:date|time|interval|ts)/.test(type)

// Each costs every event about a microsecond, so they are set only where the reading of a value depends on them.
const settingsOf = (columns: ReadonlyArray<SelectableColumn>): string =>
  "SET search_path = pg_catalog, pg_temp" + (columns.some(isTemporal)
    ? ` SET "TimeZone" = 'UTC' SET "DateStyle" = 'ISO, MDY' SET "IntervalStyle" = 'postgres'`
    : "")

/**
 * One function as it should stand: what `pg_proc.prosrc` holds, and how to make it so. A column that the table does not
 * have is in `missing`; its condition does not hold. A body with a value that is none of the column's type (which was
 * another one then) does not fire either.
 */
export const selectionFunction = (name: string, rules: SelectionRules, table: ReadonlyArray<SelectableColumn>) => {
  const { columns, filter } = rules
  const there = new Map(table.map((column) => [column.name, column]))
  const named = namedColumns(rules)
  const settings = settingsOf(named.flatMap((column) => there.get(column) ?? []))
  const watched = (columns ?? []).flatMap((column) => there.get(column) ?? [])
  const conditions = (filter ?? []).map((condition) => holds(condition, there.get(condition.column)))
  // Expressions without a query: PL/pgSQL evaluates them without starting an executor for each event.
  const source = `
-- ${settings}
<<given>>
DECLARE
  now json;
  old json;
  truncated boolean := body LIKE '%,"truncated":true}';
BEGIN
  IF event NOT IN ('INSERT', 'UPDATE', 'DELETE') THEN
    RETURN NULL;
  END IF;
  now := body::json -> CASE WHEN event = 'DELETE' THEN 'old_row' ELSE 'row' END;
  IF event = 'UPDATE' THEN
    old := body::json -> 'old_row';
    IF NOT (${columns === null ? "true" : someDiffers(watched)}) THEN
      RETURN 'columns';
    END IF;
  END IF;
  RETURN CASE WHEN ${["true", ...conditions].join("\n    AND ")} THEN NULL ELSE 'filter' END;
EXCEPTION WHEN data_exception THEN
  RETURN 'filter';
END`
  return {
    source,
    missing: named.filter((column) => !there.has(column)),
    create: `CREATE OR REPLACE FUNCTION truss.${name}(event truss.event_type, body text) RETURNS text
LANGUAGE plpgsql STABLE
${settings}
AS ${literal(source)}`
  }
}

/** Whether a condition's operator and value make sense for its column's type at all; if not, the fault. */
export const faultOf = (
  { op, value }: FilterCondition,
  column: SelectableColumn
): { readonly member: "op" | "value"; readonly message: string } | undefined => {
  if (column.comparison === "json") {
    return ordered.has(op)
      ? { member: "op", message: `${op} needs an order, which type ${column.declared} has not` }
      : undefined
  }
  const values = op === "in" ? value as ReadonlyArray<unknown> : [value]
  if (!values.every((value) => value === undefined || isScalar(value))) {
    return { member: "value", message: `is no value of the column's type ${column.declared}` }
  }
  if (column.comparison === "text") return undefined
  if (
    !/^pg_catalog\.float[48]$/.test(column.type) &&
    values.some((value) => Number.isInteger(value) && !Number.isSafeInteger(value))
  ) {
    return { member: "value", message: "write a number beyond 2^53 as a string: JSON readers round it" }
  }
  // PostgreSQL reads these as the time at which the function happens to be planned.
  return isTemporal(column) &&
      values.some((value) => /\b(?:now|today|tomorrow|yesterday)\b/i.test(String(value)))
    ? { member: "value", message: "must be a fixed time" }
    : undefined
}
