import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer } from "effect"
import type { SqlError } from "effect/sql"
import type { AuditAction, AuditRecord } from "../domain/Audit.ts"
import type { DatabaseUnavailable, InvalidParameter } from "../domain/Errors.ts"
import type { WebhookId } from "../domain/Webhook.ts"
import { decodeNumber, encodeNumber } from "./PageCursor.ts"
import { pageRead } from "./PageRead.ts"

/** Who asks for what is done now; set by whoever lets a request in. */
export const Actor = Context.Reference<string>("truss/services/Actor", { defaultValue: () => "api" })

/** What the service does by itself is done by this one. */
export const ownActor = "truss-webhooks"

export interface AuditEntry {
  readonly action: AuditAction
  /** Null for what is about no webhook. */
  readonly webhookId: WebhookId | null
  /** Never a secret or the value of a header: the table is kept for ever. */
  readonly detail: Readonly<Record<string, string | number | boolean | null | ReadonlyArray<string>>>
}

/** What was recorded, newest first. */
export interface AuditPage {
  readonly data: ReadonlyArray<AuditRecord>
  readonly next_cursor: string | null
}

interface Row extends Omit<AuditRecord, "at"> {
  readonly at: Date
}

/** Who changed what, when: append-only. */
export class Audit extends Context.Service<Audit, {
  /** Adds an entry for the current `Actor`, in the caller's transaction: there is none of what was not done. */
  record(entry: AuditEntry): Effect.Effect<void, SqlError.SqlError>
  list(
    query: { readonly limit: number; readonly cursor?: string | undefined }
  ): Effect.Effect<AuditPage, InvalidParameter | DatabaseUnavailable>
}>()("truss/services/Audit") {
  static readonly layer = Layer.effect(
    Audit,
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const inTime = pageRead(sql)
      const insert = (actor: string, { action, detail, webhookId }: AuditEntry) =>
        sql`INSERT INTO truss.audit (actor, action, webhook_id, detail)
          VALUES (${actor}, ${action}, ${webhookId}::text::uuid, ${JSON.stringify(detail)}::text::json)`

      const list = Effect.fn("Audit.list")(function*({ cursor, limit }: {
        readonly limit: number
        readonly cursor?: string | undefined
      }) {
        const before = cursor === undefined ? undefined : yield* decodeNumber("audit", cursor)
        const rows = yield* sql<Row>`
          SELECT id::text, at, actor, action, webhook_id::text, detail FROM truss.audit a
          WHERE id < coalesce(${before === undefined ? null : String(before)}::text::int8, 9223372036854775807)
          ORDER BY a.id DESC LIMIT ${limit + 1}`
        const page = rows.slice(0, limit)
        const last = page.at(-1)
        return {
          data: page.map((row) => ({ ...row, at: row.at.toISOString() })),
          next_cursor: rows.length > page.length && last !== undefined ? encodeNumber("audit", Number(last.id)) : null
        }
      }, inTime)

      return Audit.of({
        list,
        record: (entry) => Effect.flatMap(Actor, (actor) => Effect.asVoid(insert(actor, entry)))
      })
    })
  )
}
