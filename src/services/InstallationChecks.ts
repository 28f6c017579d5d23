/** What `doctor` asks of the schema `truss` and of what happens there. */
import { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { migrations } from "../../migrations/index.ts"
import { fail, type Finding, note, ok, spoken } from "../domain/Finding.ts"
import { lacksSubscriber } from "../domain/InProcess.ts"
import { mayNeed } from "./Ahead.ts"
import { backlog, backlogLimit, oldestPending } from "./Backlog.ts"
import { Capture } from "./Capture.ts"
import { dispatcherSession } from "./DispatcherLock.ts"
import { slotDays } from "./Partitions.ts"
import type { Check } from "./ServerChecks.ts"

const startIt = "start the service (truss-webhooks serve)"

/** How many lines one check says at most of as many webhooks or tables. */
const mostLines = 20

const shortened = (check: string, findings: ReadonlyArray<Finding>): ReadonlyArray<Finding> =>
  findings.length <= mostLines
    ? findings
    : [...findings.slice(0, mostLines), note(check, `and ${findings.length - mostLines} more like these`)]

/** The version of the schema against this program's. */
export const checkSchema: Check = Effect.gen(function*() {
  const check = "schema"
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql<{ there: boolean }>`SELECT to_regclass('truss.migrations') IS NOT NULL AS there`
  if (!row!.there) {
    return [note(check, "the schema truss is not there yet", `${startIt}, or run truss-webhooks migrate`)]
  }
  const [applied] = yield* sql<{ last: number | null }>`SELECT max(migration_id)::int AS last FROM truss.migrations`
  const known = Math.max(...Object.keys(migrations).map((name) => Number.parseInt(name, 10)))
  const last = applied!.last ?? 0
  if (last === known) return [ok(check, `version ${last}`)]
  return [
    last > known
      ? fail(check, `version ${last}, and this program knows ${known}`, "use a newer version of the program")
      : fail(check, `version ${last}, and this program needs ${known}`, "run truss-webhooks migrate")
  ]
})

const clonesQuery = `
  SELECT g.tgrelid::regclass::text AS table, g.tgname::text AS name
  FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
  WHERE p.pronamespace = 'truss'::regnamespace AND g.tgparentid <> 0 AND g.tgenabled NOT IN ('O', 'A')
  ORDER BY 1, 2`

/** The triggers of every watched table, and the privilege to look after them. */
export const checkTriggers: Check<PgClient.PgClient | Capture> = Effect.gen(function*() {
  const check = "triggers"
  const sql = yield* PgClient.PgClient
  const capture = yield* Capture
  const faults = yield* capture.inspect
  const clones = yield* sql.unsafe<{ table: string; name: string }>(clonesQuery)
  const found = [
    ...faults.map(({ detail, reason, table }) => {
      switch (reason) {
        case "triggers":
          return fail(
            check,
            `${table}: ${detail}: changes are not captured`,
            `${startIt}: it mends triggers within 30 s. For what was written meanwhile there are no events`
          )
        case "not_found":
          return fail(check, `${table}: ${detail}`, "make it again, or delete its webhooks")
        default:
          return fail(reason === "not_owner" ? "privileges" : check, `${table}: ${detail}`, "or delete its webhooks")
      }
    }),
    ...clones.map(({ name, table }) =>
      fail(
        check,
        `${table}: trigger ${name} is disabled: changes of this partition are not captured`,
        `ALTER TABLE ${table} ENABLE TRIGGER "${name}"`
      )
    )
  ]
  return found.length === 0
    ? [ok(check, "those of every watched table are there and enabled")]
    : shortened(check, found)
})

const slotsQuery = `
  SELECT s.slot, extract(epoch FROM now() - s.opened_at)::float8 AS age, n.opened_at IS NULL AS newest,
    extract(epoch FROM now() - n.opened_at)::float8 - $1::float8 * 86400 AS past,
    to_regclass('truss.events_' || s.slot) IS NOT NULL AND to_regclass('truss.attempts_' || s.slot) IS NOT NULL AS stands,
    ARRAY(
      SELECT w.name FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id
      WHERE EXISTS (SELECT FROM truss.due d WHERE d.webhook_id = w.id AND d.event_slot = s.slot)
        OR w.active AND (s.closed_xid IS NULL OR ${mayNeed("s.closed_xid")})
          AND EXISTS (SELECT FROM truss.events e WHERE e.slot = s.slot AND e.table_id = w.table_id)
      ORDER BY w.name LIMIT 4
    ) AS needed_by
  FROM truss.slots s
  CROSS JOIN LATERAL (SELECT min(n.opened_at) AS opened_at FROM truss.slots n WHERE n.slot > s.slot) n
  ORDER BY s.slot`

const functionsQuery = `
  SELECT count(*)::int AS old FROM pg_proc
  WHERE pronamespace = 'truss'::regnamespace AND proname ~ '^capture_[0-9]+_[a-z]+$'
    AND strpos(prosrc, 'INSERT INTO truss.events_' || $1::text || ' (') = 0`

interface Slot {
  readonly slot: number
  readonly age: number
  readonly newest: boolean
  readonly past: number | null
  readonly stands: boolean
  readonly needed_by: ReadonlyArray<string>
}

/** The service looks after the partitions every ten minutes; so much later it has not. */
const graceSeconds = 3_600

const checkSlot =
  (retentionDays: number) => ({ age, needed_by, newest, past, slot, stands }: Slot): ReadonlyArray<Finding> => {
    const check = "retention"
    if (!stands) {
      return [fail(
        check,
        `the tables of partition ${slot} are not all there`,
        newest
          ? `run truss-webhooks migrate, or ${startIt}`
          : `${startIt}: it forgets a partition that somebody dropped`
      )]
    }
    if (newest) {
      const behind = age - slotDays(retentionDays) * 86_400
      if (behind <= graceSeconds) return []
      return [
        fail(
          check,
          `no partition was opened for ${spoken(age)}: the one that is written to grows`,
          `${startIt}, or see its log`
        )
      ]
    }
    if (past === null || past <= graceSeconds) return []
    const names = needed_by.slice(0, 3).map((name) => JSON.stringify(name)).join(", ") +
      (needed_by.length > 3 ? ", …" : "")
    const detail = `partition ${slot} is ${spoken(past)} past its retention of ${retentionDays} days`
    return [
      needed_by.length === 0
        ? fail(
          check,
          `${detail}, and no webhook needs it`,
          `${startIt}, or see its log: it drops such a partition within 10 minutes`
        )
        : fail(
          check,
          `${detail}: ${names} still ${needed_by.length === 1 ? "has" : "have"} to deliver events from it`,
          "mend their endpoints, or delete or pause those webhooks: the disk fills until then"
        )
    ]
  }

/** Whether events are kept for as long as they should be, and no longer. `retentionDays` in whole days. */
export const checkRetention = (retentionDays: number): Check =>
  Effect.gen(function*() {
    const check = "retention"
    const sql = yield* PgClient.PgClient
    const slots = yield* sql.unsafe<Slot>(slotsQuery, [retentionDays])
    const newest = slots.at(-1)
    if (newest === undefined) {
      return [fail(check, "there is no partition to write events to", "run truss-webhooks migrate")]
    }
    const [functions] = yield* sql.unsafe<{ old: number }>(functionsQuery, [String(newest.slot)])
    const found = [
      ...slots.flatMap(checkSlot(retentionDays)),
      ...(functions!.old === 0 ? [] : [
        fail(
          check,
          `${functions!.old} capture functions write to a partition other than ${newest.slot}, the newest`,
          startIt
        )
      ])
    ]
    return found.length === 0
      ? [ok(check, `${slots.length} partitions for ${retentionDays} days`)]
      : shortened(check, found)
  })

const webhooksQuery = `
  SELECT w.id::text AS id, w.name, w.active, w.disabled_reason AS reason, c.opened_at IS NOT NULL AS open,
    ${lacksSubscriber} AS lacks_subscriber, c.fail_count::float8 AS failures, c.last_status_code AS status,
    extract(epoch FROM clock_timestamp() - c.failing_since)::float8 AS failing,
    CASE WHEN w.active THEN extract(epoch FROM clock_timestamp() - ${oldestPending})::float8 END AS oldest
  FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id ORDER BY w.created_at, w.id`

const backlogQuery = `
  SELECT w.id::text AS id, ${backlog} AS backlog FROM truss.webhooks w JOIN truss.cursors c ON c.webhook_id = w.id
  WHERE w.id = ANY ($1::text::uuid[])`

interface WebhookRow {
  readonly id: string
  readonly name: string
  readonly active: boolean
  readonly reason: string | null
  readonly open: boolean
  readonly lacks_subscriber: boolean
  readonly failures: number
  readonly status: number | null
  readonly failing: number | null
  readonly oldest: number | null
}

const named = ({ id, name }: WebhookRow) => `${JSON.stringify(name)} (${id})`

const answered = ({ status }: WebhookRow) => status === null ? "no answer came" : `it last answered ${status}`

const whyDisabled: Readonly<Record<string, readonly [detail: string, todo: string]>> = {
  gone: [
    "its endpoint answered 410 Gone",
    "correct its url or delete it; then set active to true, and recover what was missed"
  ],
  failing: ["its endpoint failed for too long", "mend the endpoint, set active to true, and recover what was missed"],
  table_missing: ["its table is not there", "make the table again, or delete the webhook"]
}

const checkDisabled = (rows: ReadonlyArray<WebhookRow>): ReadonlyArray<Finding> => {
  const check = "disabled webhooks"
  const found = rows.flatMap((row) => {
    const why = row.reason === null ? undefined : whyDisabled[row.reason]
    return why === undefined ? [] : [fail(check, `${named(row)}: ${why[0]}`, why[1])]
  })
  const paused = rows.filter((row) => !row.active && row.reason === "paused").length
  return found.length === 0 ? [ok(check, paused === 0 ? "none" : `none, ${paused} paused by hand`)] : found
}

const checkCircuits = (rows: ReadonlyArray<WebhookRow>): ReadonlyArray<Finding> => {
  const check = "circuits"
  const open = rows.filter((row) => row.open && row.active)
  return open.length === 0 ? [ok(check, "all closed")] : open.map((row) =>
    fail(
      check,
      `${named(row)} is open: ${row.failures} attempts failed in a row` +
        (row.failing === null ? "" : `, for ${spoken(row.failing)}`) + `; ${answered(row)}`,
      `see its log (GET /webhooks/${row.id}/logs) and mend the endpoint: deliveries go on when a probe succeeds`
    )
  )
}

/** An event that waits for longer than this, in seconds, is a backlog. */
const oldSeconds = 300

const checkBacklog = (rows: ReadonlyArray<WebhookRow>): Check =>
  Effect.gen(function*() {
    const check = "backlog"
    const sql = yield* PgClient.PgClient
    const behind = rows.filter(({ oldest }) => (oldest ?? 0) > oldSeconds)
    if (behind.length === 0) return [ok(check, `nothing waits for over ${spoken(oldSeconds)}`)]
    const shown = behind.slice(0, mostLines)
    const counts = yield* sql.unsafe<{ id: string; backlog: number }>(backlogQuery, [
      `{${shown.map(({ id }) => id).join()}}`
    ])
    const countOf = new Map(counts.map(({ backlog, id }) => [id, backlog]))
    const found = behind.map((row) => {
      const count = countOf.get(row.id) ?? 0
      const events = count === 1
        ? "1 event waits"
        : `${count === backlogLimit ? `${count} events or more` : `${count} events`} wait`
      return fail(
        check,
        `${named(row)}: ${events}, the oldest for ${spoken(row.oldest ?? 0)}`,
        row.lacks_subscriber
          ? "the process that delivers does not have its function: let the program that has it deliver, and no other"
          : row.failures > 0
          ? `mend its endpoint (${answered(row)})`
          : "see that the service runs, that no earlier event holds its order up, and raise concurrency or rate_limit"
      )
    })
    return found
  })

/** What each webhook is up to: disabled, circuit open, behind. */
export const checkWebhooks: Check = Effect.gen(function*() {
  const sql = yield* PgClient.PgClient
  const rows = yield* sql.unsafe<WebhookRow>(webhooksQuery)
  return [
    ...shortened("disabled webhooks", checkDisabled(rows)),
    ...shortened("circuits", checkCircuits(rows)),
    ...shortened("backlog", yield* checkBacklog(rows))
  ]
})

const leaderQuery = `
  SELECT (SELECT count(*)::int FROM truss.webhooks WHERE active) AS active, l.pid,
    extract(epoch FROM clock_timestamp() - b.beat)::float8 AS silent,
    (SELECT count(*)::int FROM truss.runners WHERE beat > clock_timestamp() - interval '10 seconds') AS runners,
    (SELECT count(*)::int FROM truss.cluster_runners WHERE beat > clock_timestamp() - interval '5 seconds') AS sharing
  FROM (SELECT) one LEFT JOIN (${dispatcherSession}) l ON true LEFT JOIN truss.leader b ON b.pid = l.pid`

interface LeaderRow {
  readonly active: number
  readonly pid: number | null
  readonly silent: number | null
  readonly runners: number
  /** Of a cluster. */
  readonly sharing: number
}

/** Whoever delivers says every second that it lives; a standby ends its session after six seconds of silence. */
const silentSeconds = 6

/** Whether a process delivers, and lives. */
export const checkLeader: Check = Effect.gen(function*() {
  const check = "service"
  const sql = yield* PgClient.PgClient
  const [row] = yield* sql.unsafe<LeaderRow>(leaderQuery)
  const { active, pid, runners, sharing, silent } = row!
  if (sharing > 0) return [ok(check, `${sharing} ${sharing === 1 ? "runner delivers" : "runners share the webhooks"}`)]
  if (pid === null) {
    return [
      active === 0
        ? note(check, "no process delivers, and no webhook is active", startIt)
        : fail(
          check,
          `no process delivers, and ${active === 1 ? "1 webhook is" : `${active} webhooks are`} active`,
          startIt
        )
    ]
  }
  if (silent === null || silent > silentSeconds) {
    return [
      fail(
        check,
        `the process that delivers (its session is ${pid}) has said nothing${
          silent === null ? " yet" : ` for ${spoken(silent)}`
        }`,
        "see whether it is frozen or cut off, and restart it; a standby takes its place by itself"
      )
    ]
  }
  return [
    ok(check, runners > 1 ? `one process delivers, ${runners - 1} stand by` : "one process delivers, none stands by")
  ]
})
