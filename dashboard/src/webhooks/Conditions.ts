import type { Webhook } from "./Queries.ts"

type Condition = NonNullable<Webhook["filter"]>[number]

/** The operators of filters, in words that stand between a column and a value. */
export const operators: ReadonlyArray<readonly [Condition["op"], string]> = [
  ["eq", "is"],
  ["neq", "is not"],
  ["lt", "is less than"],
  ["lte", "is at most"],
  ["gt", "is more than"],
  ["gte", "is at least"],
  ["in", "is one of"],
  ["is_null", "is null"],
  ["not_null", "is not null"],
  ["changed", "changed"]
]

const inWords = ({ column, op, ...rest }: Condition): string => {
  const value = "value" in rest ? ` ${JSON.stringify(rest.value)}` : ""
  return `${column} ${operators.find(([one]) => one === op)![1]}${value}`
}

/** Which of the table's changes do not fire, and what holds deliveries back; empty where nothing does. */
export const conditionsOf = ({ columns, filter, ordering, rate_limit }: Webhook): string => {
  const text = [
    ...(filter === null ? [] : [`only when ${filter.map(inWords).join(" and ")}`]),
    ...(columns === null ? [] : [`updates only of ${columns.join(", ")}`]),
    ...(ordering === "none" ? [] : [ordering === "row" ? "in order by row" : "one at a time, in order"]),
    ...(rate_limit === null ? [] : [`at most ${rate_limit} a second`])
  ].join("; ")
  return text === "" ? "" : `${text[0]!.toUpperCase()}${text.slice(1)}.`
}
