/** What is known of a column's type: `typcategory` and `typname` of `pg_type`, below a domain, and an enum's values. */
export interface ExampleType {
  readonly category: string
  readonly name: string
  readonly labels: ReadonlyArray<string>
}

/** `time` is in ISO 8601, UTC. */
const ofName = (time: string): ReadonlyMap<string, unknown> =>
  new Map<string, unknown>([
    ["bytea", "\\x"],
    ["cidr", "0.0.0.0/32"],
    ["date", time.slice(0, 10)],
    ["inet", "0.0.0.0"],
    ["interval", "00:00:00"],
    ["json", {}],
    ["jsonb", {}],
    ["money", "$0.00"],
    ["time", time.slice(11, -1)],
    ["timestamp", time.slice(0, -1)],
    ["timestamptz", `${time.slice(0, -1)}+00:00`],
    ["timetz", `${time.slice(11, -1)}+00`],
    ["uuid", "00000000-0000-0000-0000-000000000000"]
  ])

/** An example of each type as a row of a table shows it; null for what has no obvious one. */
export const exampleValues = (types: ReadonlyArray<ExampleType>, time: string): ReadonlyArray<unknown> => {
  const named = ofName(time)
  return types.map(({ category, labels, name }) => {
    if (named.has(name)) return named.get(name)
    switch (category) {
      case "A":
        return []
      case "B":
        return false
      case "E":
        return labels[0] ?? null
      case "N":
        return 0
      case "S":
        return "test"
      default:
        return null
    }
  })
}
