import { isForeign } from "./Ahead.ts"
import { pageBytes } from "./EventPageQuery.ts"
import { afterStates, statesOf, type Subject } from "./EventStates.ts"

/**
 * The last attempts of a webhook ($1) at events after $2 up to $3, by the log up to $4, that match the criteria of a bulk
 * replay, $5–$8.
 */
const lastAttempts = `
  SELECT * FROM (
    SELECT DISTINCT ON (a.event_seq, a.event_at) a.event_seq, a.event_at, a.event_slot, a.table_id, a.event_type,
      a.nonce, a.outcome, a.created_at
    FROM truss.attempts a
    WHERE a.webhook_id = $1::uuid AND a.event_seq > $2::int8 AND a.event_seq <= $3::int8 AND a.seq <= $4::int8
      AND a.event_type <> 'TEST'
    ORDER BY a.event_seq, a.event_at, a.seq DESC
  ) l
  WHERE ($5::timestamptz IS NULL OR l.created_at >= $5) AND ($6::timestamptz IS NULL OR l.created_at < $6)
    AND ($7::text IS NULL OR l.outcome = $7::text::truss.outcome)
    AND ($8::text IS NULL OR l.event_type = $8::text::truss.event_type)`

/** Of one webhook, numbers become visible in their order: the highest that is seen has all before it. */
const logBoundary = `(SELECT coalesce(max(a.seq), 0) FROM truss.attempts a WHERE a.webhook_id = $1::uuid)`

/** Adds a job for what the CTE `m` holds; none of it is a job that is done. */
const insertJob = (kind: "replay" | "recover", criteria: string) => `
  INSERT INTO truss.jobs (webhook_id, kind, state, criteria, log_boundary, seen, after_seq, matched)
  SELECT $1::uuid, '${kind}', CASE WHEN count(*) = 0 THEN 'done' ELSE 'running' END, ${criteria}, ${logBoundary},
    pg_current_snapshot(), coalesce(min(m.seq) - 1, 0), count(*) FROM m
  RETURNING id::text AS job_id, matched::float8 AS matched`

/** Creates a bulk replay; `last_seq` is the position of its last event. */
export const createReplay = `
  WITH m AS (
    SELECT l.event_seq AS seq FROM (${lastAttempts}) l WHERE l.event_slot IN (SELECT slot FROM truss.slots)
  )
  ${
  insertJob(
    "replay",
    "json_build_object('from', $5::text, 'to', $6::text, 'outcome', $7::text, 'event_type', $8::text, 'last_seq', max(m.seq))"
  )
}`

/** Creates a recovery; its criteria say once and for all what the cursor had ahead of it. */
export const createRecovery = (subject: Subject) => `
  WITH ${statesOf(subject)}, m AS (SELECT seq FROM states WHERE state = 'never_attempted')
  ${
  insertJob(
    "recover",
    `json_build_object('since', $4::text, 'table_id', $2::int4, 'types', $3::text, 'asked', $8::text::json,
      'ahead', $9::text::json, 'last_seq', max(m.seq))`
  )
}`

/** The job that is first in line for the part $2, and its webhook. */
export const runningJob = (selects: string, slots: string) => `
  SELECT j.id::text AS id, j.kind, j.criteria::text AS criteria, j.log_boundary::text AS log_boundary,
    j.seen::text AS seen, coalesce(p.after_seq, j.after_seq)::float8 AS after_seq, w.table_id, ${selects} AS selects, ${slots} AS slots
  FROM truss.jobs j JOIN truss.webhooks w ON w.id = j.webhook_id
    LEFT JOIN truss.job_parts p ON p.job_id = j.id AND p.part = $2
  WHERE j.webhook_id = $1::uuid AND j.state = 'running' AND p.finished IS NOT TRUE ORDER BY j.created_at, j.id LIMIT 1`

/** Where the next $4 attempts, or events, end that a page is looked for in. */
export const replayWindow = `
  SELECT max(event_seq)::float8 AS upto, count(*)::float8 AS seen FROM (
    SELECT a.event_seq FROM truss.attempts a
    WHERE a.webhook_id = $1::uuid AND a.event_seq > $2::int8 AND a.event_seq <= $3::int8 ORDER BY a.event_seq LIMIT $4
  ) a`

export const recoveryWindow = `
  SELECT max(seq)::float8 AS upto, count(*)::float8 AS seen FROM (
    SELECT e.seq FROM truss.events e
    WHERE e.table_id = $1::int4 AND e.seq > $2::int8 AND e.seq <= $3::int8 ORDER BY e.seq LIMIT $4
  ) e`

const page = (limit: string, columns: string) => `
  sized AS (
    SELECT p.*, count(*) OVER () AS total,
      sum(octet_length(p.body)) OVER (ORDER BY p.seq) - octet_length(p.body) AS before
    FROM page p
  )
  SELECT ${columns}, e.table_id, e.replay_of::float8 AS replay_of, e.total::float8 AS total FROM sized e
  WHERE e.before < ${pageBytes} ORDER BY e.seq LIMIT ${limit}`

const itsEvent = (from: string) => `
  CROSS JOIN LATERAL (SELECT * FROM truss.events e WHERE ${from} LIMIT 1) e`

/** Whether an event is for the part that asks; parameters from `first` on say which: columns of the key, parts, part. */
const isForPart = (first: number) =>
  `truss.part_of(e.event_type, e.body, $${first}::text::text[], $${first + 1}::int4, false) = $${first + 2}::int4`

/**
 * A page of a replay, at most $9 events. What was attempted since the job was created was sent by it, or by somebody
 * else; what is due goes out by itself.
 */
export const replayPage = (columns: string, split: boolean) => `
  WITH page AS MATERIALIZED (
    SELECT e.slot, e.seq, e.created_at, e.event_type, e.body, e.table_id, l.nonce AS replay_of
    FROM (${lastAttempts}) l ${
  itsEvent("e.slot = l.event_slot AND e.table_id = l.table_id AND e.seq = l.event_seq AND e.created_at = l.event_at")
}
    WHERE NOT EXISTS (SELECT FROM truss.attempts b WHERE b.webhook_id = $1::uuid AND b.event_seq = l.event_seq
        AND b.event_at = l.event_at AND b.seq > $4::int8)
      AND NOT EXISTS (SELECT FROM truss.due d
        WHERE d.webhook_id = $1::uuid AND d.event_seq = l.event_seq AND d.event_slot = l.event_slot)
      AND ${split ? isForPart(10) : "true"}
    ORDER BY e.seq LIMIT $9 + 1
  ), ${page("$9", columns)}`

/** A page of a recovery, of what was visible in a snapshot when it was created. */
export const recoveryPage = (subject: Subject, columns: string, split: boolean) => `
  WITH ${statesOf(subject)}, page AS MATERIALIZED (
    SELECT e.slot, e.seq, e.created_at, e.event_type, e.body, e.table_id, NULL::int8 AS replay_of
    FROM (
      SELECT * FROM states e
      WHERE e.state = 'never_attempted'
        AND (${isForeign} OR pg_visible_in_snapshot(e.xid, $${afterStates}::text::pg_snapshot))
      ${split ? "" : `ORDER BY e.seq LIMIT $${afterStates + 1} + 1`}
    ) l ${itsEvent("e.slot = l.slot AND e.table_id = $2::int4 AND e.seq = l.seq AND e.created_at = l.created_at")}
    ${split ? `WHERE ${isForPart(afterStates + 2)} ORDER BY e.seq LIMIT $${afterStates + 1} + 1` : ""}
  ), ${page(`$${afterStates + 1}`, columns)}`
