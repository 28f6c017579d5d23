/**
 * Array literals of PostgreSQL, for parameters that carry one batch as columns: `unnest($1::bigint[], $2::text[])`.
 * A literal costs one string a column; the client's own array encoding refuses nulls and looks at every element.
 */

/** `{1,2,NULL}` for numbers, booleans, times and ids: values whose text needs no quotes. */
export const plain = (values: ReadonlyArray<number | bigint | boolean | string | null>): string => {
  let text = "{"
  for (let i = 0; i < values.length; i++) text += (i === 0 ? "" : ",") + (values[i] ?? "NULL")
  return text + "}"
}

const special = /["\\]/g

/** `{"a","b\"c",NULL}` for any text. */
export const texts = (values: ReadonlyArray<string | null>): string => {
  let literal = "{"
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? null
    literal += (i === 0 ? "" : ",") + (value === null ? "NULL" : `"${value.replace(special, "\\$&")}"`)
  }
  return literal + "}"
}
