/** A change as it is delivered: the type of `truss-webhooks/verify`, which imports nothing. */
export type Change<Row = Record<string, unknown>> =
  & {
    readonly schema: string
    readonly table: string
    /** When the change was made, ISO 8601 in UTC. */
    readonly timestamp: string
    /** The body was over the limit: the rows hold no more than the primary key. */
    readonly truncated?: true
  }
  & (
    | { readonly event: "INSERT" | "TEST"; readonly row: Row; readonly old_row: null }
    | { readonly event: "UPDATE"; readonly row: Row; readonly old_row: Row }
    | { readonly event: "DELETE"; readonly row: null; readonly old_row: Row }
    | { readonly event: "TRUNCATE"; readonly row: null; readonly old_row: null }
  )
