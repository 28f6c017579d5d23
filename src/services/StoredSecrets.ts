import type { SigningSecrets } from "./Signing.ts"

/** What deliveries are signed by, of `truss.webhooks w`. */
export const secretColumns = `w.secret, w.previous_secret,
  (extract(epoch FROM w.previous_secret_until) * 1000)::float8 AS previous_secret_until`

/** A row with `secretColumns`. */
export interface SecretRow {
  readonly secret: string | null
  readonly previous_secret: string | null
  /** Milliseconds since 1970. */
  readonly previous_secret_until: number | null
}

export const toSecrets = (row: SecretRow): SigningSecrets => ({
  secret: row.secret,
  previousSecret: row.previous_secret === null || row.previous_secret_until === null
    ? null
    : { secret: row.previous_secret, until: row.previous_secret_until }
})
