/**
 * What a webhook selects by `columns` and `filter`, as one SQL function for each webhook that has either. Whoever asks
 * about an event asks this function: `Cursors.page` for what is delivered, the history of an event and the
 * reconciliation for why something was not.
 */
import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { type Fault, InvalidFilter, TableMismatch } from "../domain/Errors.ts"
import type { Filter, FilterCondition } from "../domain/Filter.ts"
import type { Ordering, WebhookId } from "../domain/Webhook.ts"
import { literal } from "./Quoting.ts"
import {
  bareFunctionName,
  faultOf,
  namedColumns,
  operands,
  type SelectableColumn,
  selectionFunction,
  type SelectionRules,
  typedArray
} from "./SelectionFunctions.ts"
import { typeName, type WatchedTable } from "./WatchedTable.ts"

/** Whether the webhook `w` has `columns` or a `filter`, and with it a function. */
export const selects = "(w.columns IS NOT NULL OR w.filter IS NOT NULL)"

/**
 * The name of the SQL function that says whether an event fires a webhook with `columns` or `filter`:
 * `(event truss.event_type, body text) RETURNS text`, null if it does, else `columns` or `filter`. A webhook that has
 * neither has no function.
 */
export const selectFunctionName = (webhookId: string): string => `truss.${bareFunctionName(webhookId)}`

// Types whose order and equality are PostgreSQL's own, and whose text in JSON reads back as the same value.
const typed = "bool,int2,int4,int8,numeric,float4,float8,text,varchar,bpchar,name,char,date,time,timetz,timestamp," +
  "timestamptz,interval,uuid,inet,cidr,macaddr,macaddr8,bit,varbit,bytea,pg_lsn,int4range,int8range,numrange," +
  "daterange,tsrange,tstzrange"

// A type of an extension or a user is compared as text: its operators are other people's code.
const columnsOf = (relation: string) =>
  `(
  SELECT json_agg(json_build_object('name', a.attname, 'declared', ${typeName},
    'comparison', k.comparison, 'virtual', a.attgenerated = 'v', 'type', CASE k.comparison
      WHEN 'typed' THEN format('%I.%I', n.nspname, y.typname) WHEN 'json' THEN 'pg_catalog.jsonb'
      ELSE 'pg_catalog.text' END,
    'enum_type', CASE k.comparison WHEN 'enum' THEN format('%I.%I', n.nspname, y.typname) END,
    'collation', CASE WHEN k.comparison = 'typed' AND l.collname <> 'default'
      AND has_schema_privilege(l.collnamespace, 'USAGE')
      THEN format('%I.%I', (SELECT s.nspname FROM pg_namespace s WHERE s.oid = l.collnamespace), l.collname) END)
    ORDER BY a.attnum)
  FROM pg_attribute a
  CROSS JOIN LATERAL (
    WITH RECURSIVE below AS (
      SELECT d.* FROM pg_type d WHERE d.oid = a.atttypid
      UNION ALL
      SELECT d.* FROM below b JOIN pg_type d ON d.oid = b.typbasetype WHERE b.typtype = 'd'
    )
    SELECT * FROM below WHERE typtype <> 'd'
  ) y
  JOIN pg_namespace n ON n.oid = y.typnamespace
  LEFT JOIN pg_collation l ON l.oid = a.attcollation
  CROSS JOIN LATERAL (SELECT CASE
    WHEN y.typtype = 'c' OR y.typcategory = 'A' OR n.nspname = 'pg_catalog' AND y.typname IN ('json', 'jsonb')
    THEN 'json'
    WHEN n.nspname = 'pg_catalog' AND y.typname = ANY (string_to_array('${typed}', ',')) THEN 'typed'
    WHEN y.typtype = 'e' AND has_schema_privilege(n.oid, 'USAGE') THEN 'enum'
    ELSE 'text' END AS comparison) k
  WHERE a.attrelid = ${relation} AND a.attnum > 0 AND NOT a.attisdropped)`

/** The columns of a table that conditions can name; virtual generated ones are in no body. */
const readColumns = (sql: PgClient.PgClient, oid: number) =>
  Effect.map(
    sql.unsafe<{ columns: ReadonlyArray<SelectableColumn> | null }>(
      `SELECT ${columnsOf("$1::text::oid")} AS columns`,
      [String(oid)]
    ),
    (rows) => rows[0]?.columns ?? []
  )

// The input function alone, whatever casts there are from text.
const inputOf = (type: string) => `(SELECT r.v FROM json_to_record(json_build_object('v', v)) AS r (v ${type}))`

/** Which of these conditions have a value that PostgreSQL does not take for the column's type; by their place. */
const unfit = Effect.fnUntraced(function*(
  sql: PgClient.PgClient,
  conditions: ReadonlyArray<
    { readonly at: number; readonly condition: FilterCondition; readonly column: SelectableColumn }
  >
) {
  if (conditions.length === 0) return []
  const attempts = conditions.map(({ at, column, condition }) =>
    `BEGIN
      PERFORM ${column.enum_type === null ? `v::${column.type}` : inputOf(column.enum_type)}
      FROM unnest(${typedArray(operands(condition, column), "text")}) v;
    EXCEPTION WHEN data_exception THEN
      unfit := unfit || ${at};
    END;`
  )
  // DO returns nothing: what it found is handed over in a setting that ends with the transaction.
  const [row] = yield* sql.withTransaction(
    Effect.andThen(
      sql.unsafe(`DO ${
        literal(`DECLARE
    unfit int[] := '{}';
  BEGIN
    ${attempts.join("\n    ")}
    PERFORM pg_catalog.set_config('truss.unfit', unfit::text, true);
  END`)
      }`),
      sql<{ unfit: ReadonlyArray<number> }>`SELECT current_setting('truss.unfit')::int[] AS unfit`
    )
  )
  return row!.unfit
})

/** What may be asked of a table; absent members ask nothing. */
export interface WantedSelection {
  readonly columns?: ReadonlyArray<string> | null | undefined
  readonly filter?: Filter | null | undefined
  readonly ordering?: Ordering | undefined
}

/** Whether the table has to be looked at to know that all of this can be had. */
export const asksOfTable = ({ columns, filter, ordering }: WantedSelection): boolean =>
  (columns ?? null) !== null || (filter ?? null) !== null || ordering === "row"

/**
 * Refuses what does not go with the table: columns that it does not have, values that are none of a column's type,
 * order by row without a primary key.
 */
export const checkSelection = Effect.fn("Selection.check")(function*(
  sql: PgClient.PgClient,
  table: WatchedTable,
  wanted: WantedSelection
) {
  const lacking: Array<Fault> = []
  const wrong = new Map<number, Fault>()
  if (wanted.ordering === "row" && table.primaryKey.length === 0) {
    lacking.push({ path: "ordering", message: `row needs a primary key, which ${table.schema}.${table.name} has not` })
  }
  const rules = { columns: wanted.columns ?? null, filter: wanted.filter ?? null }
  const columns = namedColumns(rules).length === 0 ? [] : yield* readColumns(sql, table.oid)
  const byName = new Map(columns.map((column) => [column.name, column]))
  const find = (name: string, path: string) => {
    const column = byName.get(name)
    if (column !== undefined && !column.virtual) return column
    const label = `${table.schema}.${table.name}`
    const message = column === undefined
      ? `${label} has no column ${name}`
      : `the column ${name} of ${label} is virtual: it is in no delivery`
    lacking.push({ path, message })
    return undefined
  }
  rules.columns?.forEach((name, i) => find(name, `columns.${i}`))
  const conditions = (rules.filter ?? []).flatMap((condition, at) => {
    const column = find(condition.column, `filter.${at}.column`)
    const fault = column === undefined ? undefined : faultOf(condition, column)
    if (fault !== undefined) wrong.set(at, { path: `filter.${at}.${fault.member}`, message: fault.message })
    return column === undefined || fault !== undefined || column.comparison === "text"
      ? []
      : [{ at, condition, column }]
  })
  const misfits = new Set(yield* unfit(sql, conditions.filter(({ condition }) => condition.value !== undefined)))
  for (const { at, column } of conditions) {
    if (misfits.has(at)) {
      wrong.set(at, { path: `filter.${at}.value`, message: `is no value of the column's type ${column.declared}` })
    }
  }
  if (wrong.size > 0) {
    const faults = [...wrong].sort(([a], [b]) => a - b).map(([, fault]) => fault)
    return yield* new InvalidFilter({ faults })
  }
  if (lacking.length > 0) return yield* new TableMismatch({ faults: lacking })
})

/** Refuses to split what cannot be: one event at a time, or rows without a primary key to tell them by. */
export const checkPartitions = (table: WatchedTable, { ordering }: WantedSelection) => {
  const message = ordering === "strict"
    ? "only 1 goes with strict, which sends one event at a time"
    : table.primaryKey.length === 0
    ? `more than 1 needs a primary key, which ${table.schema}.${table.name} has not`
    : undefined
  return message === undefined
    ? Effect.void
    : Effect.fail(new TableMismatch({ faults: [{ path: "partitions", message }] }))
}

interface Standing {
  readonly id: WebhookId
  readonly label: string
  readonly columns: ReadonlyArray<string> | null
  readonly filter: string | null
  readonly table_columns: ReadonlyArray<SelectableColumn>
  readonly source: string | null
}

/**
 * Makes the functions of all webhooks, or of one, what their rules and their tables' columns ask for, and drops what
 * nobody needs. Locks nothing of the watched tables. Inside the caller's `withTriggerLock`.
 */
export const syncSelections = Effect.fn("Selection.sync")(function*(sql: PgClient.PgClient, only?: WebhookId) {
  const wanted = yield* sql.unsafe<Standing>(
    `SELECT w.id::text AS id, t.table_schema || '.' || t.table_name AS label, w.columns, w.filter::text AS filter,
      ${columnsOf("c.oid")} AS table_columns,
      (SELECT p.prosrc FROM pg_proc p WHERE p.pronamespace = 'truss'::regnamespace
        AND p.proname = 'select_' || replace(w.id::text, '-', '')) AS source
    FROM truss.webhooks w JOIN truss.tables t ON t.id = w.table_id
    JOIN pg_namespace n ON n.nspname = t.table_schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.table_name
    WHERE ${selects} AND ($1::text IS NULL OR w.id = $1::text::uuid)`,
    [only ?? null]
  )
  for (const { columns, filter, id, label, source, table_columns } of wanted) {
    const rules: SelectionRules = { columns, filter: filter === null ? null : JSON.parse(filter) as Filter }
    const there = (table_columns ?? []).filter((column) => !column.virtual)
    const made = selectionFunction(bareFunctionName(id), rules, there)
    if (made.source === source) continue
    yield* sql.unsafe(made.create)
    if (made.missing.length > 0) {
      yield* Effect.logWarning(
        "a webhook selects by columns that its table does not have: those conditions never hold",
        {
          webhook: id,
          table: label,
          columns: made.missing
        }
      )
    }
  }
  const unneeded = yield* sql.unsafe<{ name: string }>(
    `SELECT p.proname::text AS name FROM pg_proc p
    WHERE p.pronamespace = 'truss'::regnamespace AND p.proname ~ '^select_[0-9a-f]{32}$'
      AND ($1::text IS NULL OR p.proname = $1) AND NOT EXISTS (
        SELECT FROM truss.webhooks w WHERE 'select_' || replace(w.id::text, '-', '') = p.proname
          AND ${selects})`,
    [only === undefined ? null : bareFunctionName(only)]
  )
  for (const { name } of unneeded) yield* sql.unsafe(`DROP FUNCTION truss.${name}(truss.event_type, text)`)
})

/** Runs `use` with the name of a function for these rules that nobody else sees and that is gone afterwards. */
export const withSelection = <A, E, R>(
  sql: PgClient.PgClient,
  table: WatchedTable,
  rules: SelectionRules,
  use: (select: string) => Effect.Effect<A, E, R>
) =>
  sql.withTransaction(Effect.gen(function*() {
    const name = bareFunctionName(crypto.randomUUID())
    const columns = (yield* readColumns(sql, table.oid)).filter((column) => !column.virtual)
    yield* sql.unsafe(selectionFunction(name, rules, columns).create)
    const result = yield* use(`truss.${name}`)
    yield* sql.unsafe(`DROP FUNCTION truss.${name}(truss.event_type, text)`)
    return result
  }))
