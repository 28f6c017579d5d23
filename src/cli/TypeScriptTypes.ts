import type { JsonShape } from "../domain/JsonShape.ts"
import type { TableShape } from "../services/TableShape.ts"

const quoted = (text: string) => JSON.stringify(text).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029")

/** Names come from whoever made the table: nothing of them may end a comment. */
const commented = (text: string) => text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").replaceAll("*/", "* /").trim()

const isIdentifier = (name: string) => /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name)

// In an object literal a plain `__proto__` is the prototype.
const key = (name: string) => name === "__proto__" ? `["__proto__"]` : isIdentifier(name) ? name : quoted(name)

const member = (of: string, name: string) => isIdentifier(name) ? `${of}.${name}` : `${of}[${quoted(name)}]`

/** `order_lines` as `OrderLines`; what cannot stand in a name of TypeScript is left out. */
export const typeNameOf = (table: string): string => {
  const words = table.split(/[^\p{ID_Continue}]+|_+/u).filter((word) => word !== "")
  const name = words.map((word) => word.replace(/^./u, (first) => first.toUpperCase())).join("")
  return /^\p{ID_Start}/u.test(name) ? name : `Table${name}`
}

const block = (indent: string, lines: ReadonlyArray<string>, separator = "") =>
  lines.length === 0 ? "{}" : `{\n${lines.map((line) => `${indent}  ${line}`).join(`${separator}\n`)}\n${indent}}`

const nullableType = (shape: JsonShape, indent: string) =>
  shape._tag === "Any" ? "Json" : `${typeOf(shape, indent)} | null`

const typeOf = (shape: JsonShape, indent: string): string => {
  switch (shape._tag) {
    case "Boolean":
      return "boolean"
    case "Integer":
      return "number"
    case "Decimal":
      return ["number", ...shape.specials.map(quoted)].join(" | ")
    case "Text":
      return "string"
    case "Any":
      return "Json"
    case "Choice":
      return shape.labels.length === 0 ? "never" : shape.labels.map(quoted).join(" | ")
    case "List":
      return `ReadonlyArray<${(shape.nullable ? nullableType : typeOf)(shape.item, indent)}>`
    case "Fields":
      return block(
        indent,
        shape.fields.map(({ name, shape }) => `readonly ${key(name)}: ${nullableType(shape, `${indent}  `)}`)
      )
  }
}

const nullableSchema = (shape: JsonShape, indent: string) =>
  shape._tag === "Any" ? "Schema.Json" : `Schema.NullOr(${schemaOf(shape, indent)})`

const literals = (values: ReadonlyArray<string>) =>
  values.length === 1 ? `Schema.Literal(${quoted(values[0]!)})` : `Schema.Literals([${values.map(quoted).join(", ")}])`

const schemaOf = (shape: JsonShape, indent: string): string => {
  switch (shape._tag) {
    case "Boolean":
      return "Schema.Boolean"
    case "Integer":
      return "Schema.Number"
    case "Decimal":
      return `Schema.Union([Schema.Number, ${literals(shape.specials)}])`
    case "Text":
      return "Schema.String"
    case "Any":
      return "Schema.Json"
    case "Choice":
      return shape.labels.length === 0 ? "Schema.Never" : literals(shape.labels)
    case "List":
      return `Schema.Array(${(shape.nullable ? nullableSchema : schemaOf)(shape.item, indent)})`
    case "Fields":
      return `Schema.Struct(${
        block(
          indent,
          shape.fields.map(({ name, shape }) => `${key(name)}: ${nullableSchema(shape, `${indent}  `)}`),
          ","
        )
      })`
  }
}

const usesJson = (shape: JsonShape): boolean => {
  switch (shape._tag) {
    case "Any":
      return true
    case "List":
      return usesJson(shape.item)
    case "Fields":
      return shape.fields.some((field) => usesJson(field.shape))
    default:
      return false
  }
}

/** What is to be written. */
export interface TypesOptions {
  readonly schema: string
  readonly table: string
  readonly shape: TableShape
  /** What the names of the types begin with. */
  readonly name: string
  /** Whether there is an Effect Schema beside the types. */
  readonly withSchema: boolean
}

/** What becomes of a row where the body would be too large, and which events there are. */
const bodies = [
  ["INSERT", true, false],
  ["UPDATE", true, true],
  ["DELETE", false, true]
] as const

const typesOf = ({ name, schema, shape, table }: TypesOptions): string => {
  const label = commented(`${schema}.${table}`)
  const json = `
type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }
`
  const columns = shape.columns.map(({ name, nullable, shape, type }) =>
    `readonly ${key(name)}: ${nullable ? nullableType(shape, "  ") : typeOf(shape, "  ")} // ${commented(type)}`
  )
  const keys = shape.primaryKey.map(quoted).join(" | ")
  const change = (event: string, row: string | null, oldRow: string | null, truncated: string) =>
    `    | { readonly event: ${event}; readonly row: ${row}; readonly old_row: ${oldRow}; readonly ${truncated} }`
  return `${shape.columns.some(({ shape }) => usesJson(shape)) ? json : ""}
/** A row of ${label}. */
export interface ${name}Row ${block("", columns)}

/** What is sent of a row where the body would be over the limit: its primary key. */
export type ${name}Key = ${keys === "" ? "{}" : `Pick<${name}Row, ${keys}>`}

/** The body of a delivery: a change of ${label}. */
export type ${name}Change =
  & { readonly schema: ${quoted(schema)}; readonly table: ${quoted(table)}; readonly timestamp: string }
  & (
${
    [
      ...bodies.map(([event, row, oldRow]) =>
        change(
          event === "INSERT" ? `"INSERT" | "TEST"` : quoted(event),
          row ? `${name}Row` : null,
          oldRow ? `${name}Row` : null,
          "truncated?: never"
        )
      ),
      change(`"TRUNCATE"`, null, null, "truncated?: never"),
      ...bodies.map(([event, row, oldRow]) =>
        change(quoted(event), row ? `${name}Key` : null, oldRow ? `${name}Key` : null, "truncated: true")
      )
    ].join("\n")
  }
  )
`
}

const schemasOf = ({ name, schema, shape, table }: TypesOptions): string => {
  const columns = shape.columns.map(({ name, nullable, shape }) =>
    `${key(name)}: ${nullable ? nullableSchema(shape, "  ") : schemaOf(shape, "  ")}`
  )
  const keys = shape.primaryKey.map((column) => `${key(column)}: ${member(`${name}Row.fields`, column)}`)
  const change = (event: string, row: string, oldRow: string, rest: string) =>
    `  Schema.Struct({ event: ${event}, row: ${row}, old_row: ${oldRow}, ...${rest} })`
  const rowOr = (is: boolean, row: string) => is ? row : "Schema.Null"
  return `
export const ${name}Row = Schema.Struct(${block("", columns, ",")}) satisfies Schema.Codec<${name}Row>

export const ${name}Key = Schema.Struct(${block("", keys, ",")}) satisfies Schema.Codec<${name}Key>

const reduced = {
  schema: Schema.Literal(${quoted(schema)}),
  table: Schema.Literal(${quoted(table)}),
  timestamp: Schema.String,
  truncated: Schema.Literal(true)
}
const whole = { ...reduced, truncated: Schema.optionalKey(Schema.Never) }

export const ${name}Change: Schema.Codec<${name}Change> = Schema.Union([
${
    [
      ...bodies.map(([event, row, oldRow]) =>
        change(
          event === "INSERT" ? literals(["INSERT", "TEST"]) : literals([event]),
          rowOr(row, `${name}Row`),
          rowOr(oldRow, `${name}Row`),
          "whole"
        )
      ),
      change(literals(["TRUNCATE"]), "Schema.Null", "Schema.Null", "whole"),
      ...bodies.map(([event, row, oldRow]) =>
        change(literals([event]), rowOr(row, `${name}Key`), rowOr(oldRow, `${name}Key`), "reduced")
      )
    ].join(",\n")
  }
])
`
}

/** The module that `truss-webhooks types` prints. */
export const typeScriptTypes = (options: TypesOptions): string =>
  [
    `// Made by truss-webhooks types from the table ${
      commented(`${options.schema}.${options.table}`)
    }: make it again ` +
    "when the table changes.\n// A delivery's body after JSON.parse, which takes the digits beyond 2^53 from numbers.\n",
    options.withSchema ? "import { Schema } from \"effect\"\n" : "",
    typesOf(options),
    options.withSchema ? schemasOf(options) : ""
  ].join("").trimEnd()
