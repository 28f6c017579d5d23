import { Schema } from "effect"

/** No such webhook, or an id that cannot be one. */
export class WebhookNotFound extends Schema.TaggedError<WebhookNotFound>()("WebhookNotFound", {
  id: Schema.String
}) {}

/** No such log entry of that webhook (or its time of retention has passed). */
export class LogEntryNotFound extends Schema.TaggedError<LogEntryNotFound>()("LogEntryNotFound", {
  id: Schema.String
}) {}

/**
 * The table cannot be watched: it does not exist, is no ordinary or partitioned table, belongs to the system or to
 * Truss Webhooks, or to a role that ours is not a member of. `detail` says which and what to do.
 */
export class TableNotWatchable extends Schema.TaggedError<TableNotWatchable>()("TableNotWatchable", {
  reason: Schema.Literals(["not_found", "not_a_table", "system_table", "own_table", "not_owner", "foreign_partition"]),
  detail: Schema.String
}) {}

/** Others held the table's lock for longer than we wait. Nothing was changed; the same request may work later. */
export class TableLocked extends Schema.TaggedError<TableLocked>()("TableLocked", {
  detail: Schema.String
}) {}

/** A cursor or another parameter that fits its schema and still means nothing. */
export class InvalidParameter extends Schema.TaggedError<InvalidParameter>()("InvalidParameter", {
  path: Schema.String,
  message: Schema.String
}) {}

/** The database does not answer. Temporary: everything that meets it tries again. */
export class DatabaseUnavailable extends Schema.TaggedError<DatabaseUnavailable>()("DatabaseUnavailable", {
  detail: Schema.String
}) {}
