import { Option } from "effect"
import { Flag } from "effect/cli"
import { ChangeType } from "../domain/EventType.ts"

/** A table as the API names it. */
export interface TableName {
  readonly table_schema: string
  readonly table_name: string
}

/** `orders`, `shop.orders` or `"Odd.schema"."Odd table"`. */
const pattern = /^(?:("(?:[^"]|"")+"|[^".]+)\.)?("(?:[^"]|"")+"|[^".]+)$/

const unquoted = (name: string) => name.startsWith("\"") ? name.slice(1, -1).replaceAll("\"\"", "\"") : name

const parseTable = (text: string): Option.Option<TableName> =>
  Option.map(Option.fromNullishOr(pattern.exec(text)), ([, schema, name]) => ({
    table_schema: unquoted(schema ?? "public"),
    table_name: unquoted(name!)
  }))

const parseEvents = (text: string): Option.Option<ReadonlyArray<ChangeType>> => {
  const names = new Set(text.split(",").map((name) => name.trim().toUpperCase()))
  const events = ChangeType.literals.filter((event) => names.has(event))
  return events.length === names.size ? Option.some(events) : Option.none()
}

/** `--table` */
export const tableFlag = Flag.String("table").pipe(
  Flag.filterMap(parseTable, (text) => `--table must be orders, shop.orders or "Odd schema"."Odd table", not ${text}`),
  Flag.withDescription("The table, with its schema unless that is public"),
  Flag.withMetavar("TABLE")
)

/** `--events` */
export const eventsFlag = Flag.String("events").pipe(
  Flag.filterMap(parseEvents, (text) => `--events must be some of ${ChangeType.literals.join(",")}, not ${text}`),
  Flag.withDescription(`Some of ${ChangeType.literals.join(",")}`),
  Flag.withMetavar("LIST")
)
