/** Sends one body as a signed POST; rejects unless the endpoint answers 200. */
export type Deliver = (body: string) => Promise<void>

/** Another way from a committed row to a signed POST, as its users would build it. */
export interface Contender {
  readonly name: string
  /** Its documented way to be sure that a delivery is not lost. */
  readonly durable: boolean
  /** In a process of its own: installs what it needs in the database and delivers until closed. */
  readonly start: (databaseUrl: string, deliver: Deliver) => Promise<{ readonly close: () => Promise<unknown> }>
  /** Makes the trigger on `orders`, once the process has installed what it needs. */
  readonly trigger: ReadonlyArray<string>
  /** Gives one row with `left`: whether something is still to be stored. None when nothing is stored. */
  readonly left?: string
  /** What keeps later rounds from being slower than the first, between turns. */
  readonly tidy?: ReadonlyArray<string>
}

/** The expression for the body that the service sends for a row, as JSON. */
export const eventOf = (row: string) =>
  `json_build_object('event', 'INSERT', 'schema', 'public', 'table', 'orders', 'row', row_to_json(${row}),
    'old_row', NULL, 'timestamp', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))`

/** A trigger function in PL/pgSQL and its trigger on `orders`. */
export const insertTrigger = (each: "ROW" | "STATEMENT", statements: string): ReadonlyArray<string> => [
  `CREATE FUNCTION order_inserted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    ${statements}
    RETURN NULL;
  END $$`,
  `CREATE TRIGGER order_inserted AFTER INSERT ON orders ${
    each === "STATEMENT" ? "REFERENCING NEW TABLE AS inserted" : ""
  } FOR EACH ${each} EXECUTE FUNCTION order_inserted()`
]
