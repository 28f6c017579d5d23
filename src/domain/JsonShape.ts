/** What PostgreSQL's values are in JSON, as `row_to_json` writes them: in deliveries, that is. */
export type JsonShape =
  | { readonly _tag: "Boolean" }
  | { readonly _tag: "Integer" }
  /** Written as a number, but for these, which are strings: JSON has no such numbers. */
  | { readonly _tag: "Decimal"; readonly specials: ReadonlyArray<"NaN" | "Infinity" | "-Infinity"> }
  | { readonly _tag: "Text"; readonly format: TextFormat | null }
  /** Any JSON, null included. */
  | { readonly _tag: "Any" }
  | { readonly _tag: "Choice"; readonly labels: ReadonlyArray<string> }
  /** An array. Items may be null, but not the arrays in an array of more dimensions. */
  | { readonly _tag: "List"; readonly item: JsonShape; readonly nullable: boolean }
  /** A composite value; each of its fields may be null. */
  | { readonly _tag: "Fields"; readonly fields: ReadonlyArray<{ readonly name: string; readonly shape: JsonShape }> }

/** A type with its modifier, and how many dimensions were declared where it is an array. */
export interface TypeUse {
  readonly type: number
  readonly modifier: number
  readonly dimensions: number
}

/** A type as the catalog shows it, as far as its JSON depends on it. */
export interface CatalogType {
  readonly oid: number
  /** What a domain stands for. */
  readonly base: TypeUse | null
  /** The type of an array's items. */
  readonly item: number | null
  readonly fields: ReadonlyArray<TypeUse & { readonly name: string }> | null
  readonly labels: ReadonlyArray<string> | null
  /** Whether somebody made a cast to `json`, which `row_to_json` then calls. */
  readonly castToJson: boolean
}

/** Types that look alike as text, with an example of each; `now` is in ISO 8601, UTC. */
const textExamples = {
  bytea: () => "\\x",
  cidr: () => "0.0.0.0/32",
  date: (now: string) => now.slice(0, 10),
  inet: () => "0.0.0.0",
  interval: () => "00:00:00",
  money: () => "$0.00",
  time: (now: string) => now.slice(11, -1),
  timestamp: (now: string) => now.slice(0, -1),
  timestamptz: (now: string) => `${now.slice(0, -1)}+00:00`,
  timetz: (now: string) => `${now.slice(11, -1)}+00`,
  uuid: () => "00000000-0000-0000-0000-000000000000"
} as const

/** What a text is the text of. */
export type TextFormat = keyof typeof textExamples

const text = { _tag: "Text", format: null } as const
const as = (format: TextFormat): JsonShape => ({ _tag: "Text", format })
const infinities = ["Infinity", "-Infinity"] as const

/** The types that `row_to_json` knows by their `oid`, and those whose text says more than that it is one. */
const builtIn: Readonly<Record<number, JsonShape>> = {
  16: { _tag: "Boolean" },
  17: as("bytea"),
  20: { _tag: "Integer" },
  21: { _tag: "Integer" },
  23: { _tag: "Integer" },
  114: { _tag: "Any" },
  650: as("cidr"),
  700: { _tag: "Decimal", specials: ["NaN", ...infinities] },
  701: { _tag: "Decimal", specials: ["NaN", ...infinities] },
  790: as("money"),
  869: as("inet"),
  1082: as("date"),
  1083: as("time"),
  1114: as("timestamp"),
  1184: as("timestamptz"),
  1186: as("interval"),
  1266: as("timetz"),
  2950: as("uuid"),
  3802: { _tag: "Any" }
}

const numeric = 1700

/**
 * The shape of a use of a type, from all types that it is made of: by the rules of PostgreSQL's `json_categorize_type`.
 * A type cannot contain itself.
 */
export const shapeOf = (types: ReadonlyMap<number, CatalogType>) => {
  const of = ({ dimensions, modifier, type: oid }: TypeUse): JsonShape => {
    // A numeric of a given precision takes no infinity.
    if (oid === numeric) {
      return { _tag: "Decimal", specials: modifier < 0 ? ["NaN", ...infinities] : ["NaN"] }
    }
    const known = builtIn[oid]
    if (known !== undefined) return known
    const type = types.get(oid)
    if (type === undefined) return text
    if (type.base !== null) return of(type.base)
    if (type.item !== null) {
      const row: JsonShape = { _tag: "List", item: of({ type: type.item, modifier, dimensions: 0 }), nullable: true }
      return Array.from({ length: Math.max(0, dimensions - 1) }).reduce<JsonShape>(
        (item) => ({ _tag: "List", item, nullable: false }),
        row
      )
    }
    if (type.fields !== null) {
      return { _tag: "Fields", fields: type.fields.map((field) => ({ name: field.name, shape: of(field) })) }
    }
    if (type.castToJson) return { _tag: "Any" }
    return type.labels === null ? text : { _tag: "Choice", labels: type.labels }
  }
  return of
}

/** A value of that shape. */
export const exampleOf = (shape: JsonShape, now: string): unknown => {
  switch (shape._tag) {
    case "Boolean":
      return false
    case "Integer":
    case "Decimal":
      return 0
    case "Text":
      return shape.format === null ? "test" : textExamples[shape.format](now)
    case "Any":
      return {}
    case "Choice":
      return shape.labels[0] ?? null
    case "List":
      return []
    case "Fields":
      return Object.fromEntries(shape.fields.map(({ name, shape }) => [name, exampleOf(shape, now)]))
  }
}
