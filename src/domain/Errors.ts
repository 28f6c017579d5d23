import { Schema } from "effect"

/** No such webhook, or an id that cannot be one. */
export class WebhookNotFound extends Schema.TaggedError<WebhookNotFound>()("WebhookNotFound", {
  id: Schema.String
}) {}

/** The webhook is not as the caller's condition says: it was changed since, by somebody else perhaps. */
export class WebhookChanged extends Schema.TaggedError<WebhookChanged>()("WebhookChanged", {
  id: Schema.String
}) {}

/** No such log entry of that webhook (or its time of retention has passed). */
export class LogEntryNotFound extends Schema.TaggedError<LogEntryNotFound>()("LogEntryNotFound", {
  id: Schema.String
}) {}

/** No such event, or its time of retention has passed. */
export class EventNotFound extends Schema.TaggedError<EventNotFound>()("EventNotFound", {
  id: Schema.String
}) {}

/** No such bulk replay or recovery of that webhook. */
export class JobNotFound extends Schema.TaggedError<JobNotFound>()("JobNotFound", {
  id: Schema.String
}) {}

/** There are too many events to answer in time. Temporary, or a matter of asking for less. */
export class TookTooLong extends Schema.TaggedError<TookTooLong>()("TookTooLong", {
  detail: Schema.String
}) {}

/** The event is not one that the webhook is to try again (or an id that cannot be one). */
export class EventNotWaiting extends Schema.TaggedError<EventNotWaiting>()("EventNotWaiting", {
  id: Schema.String
}) {}

/**
 * The table cannot be watched: it does not exist, is no ordinary or partitioned table, belongs to the system or to
 * Truss Webhooks, or to a role that ours is not a member of, or may have no triggers of ours. `detail` says which and
 * what to do.
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

/** One fault of what was asked. `path` is dotted (`filter.0.op`), and empty when the whole is meant. */
export const Fault = Schema.Struct({
  path: Schema.String,
  message: Schema.String
}).annotate({ identifier: "Fault" })
export type Fault = typeof Fault.Type

/** Values of a filter that are none of their columns' types, or operators that those types do not have. */
export class InvalidFilter extends Schema.TaggedError<InvalidFilter>()("InvalidFilter", {
  faults: Schema.Array(Fault)
}) {}

/** The table does not have what was asked of it: a column, or a primary key. */
export class TableMismatch extends Schema.TaggedError<TableMismatch>()("TableMismatch", {
  faults: Schema.Array(Fault)
}) {}

/** The URL's host is an address that must not be reached, or leads to such ones only. `detail` says which kind. */
export class UrlNotAllowed extends Schema.TaggedError<UrlNotAllowed>()("UrlNotAllowed", {
  detail: Schema.String
}) {}

/** The webhook's receiver is a function of another process: this one cannot call it. Nothing was done. */
export class NoSubscriber extends Schema.TaggedError<NoSubscriber>()("NoSubscriber", {
  url: Schema.String
}) {
  override get message() {
    return `this process does not have the function ${this.url}: ask one that has`
  }
}

/** As many follow a webhook's log here, or logs, as may. Temporary. */
export class TooManySubscribers extends Schema.TaggedError<TooManySubscribers>()("TooManySubscribers", {
  detail: Schema.String
}) {}

/** This process cannot encrypt what is to be stored: its keys are not those of the database. Nothing was changed. */
export class SecretsUnavailable extends Schema.TaggedError<SecretsUnavailable>()("SecretsUnavailable", {
  detail: Schema.String
}) {}

/**
 * The database does not answer, or not within the seconds that a page or an entry may take. Temporary: everything that
 * meets it tries again.
 */
export class DatabaseUnavailable extends Schema.TaggedError<DatabaseUnavailable>()("DatabaseUnavailable", {
  detail: Schema.String,
  timeoutSeconds: Schema.optionalKey(Schema.Finite)
}) {}
