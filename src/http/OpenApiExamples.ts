const webhookId = "0198f3a2-5c1e-7b44-9c1a-2f6f0a4d9e11"
const eventId = "evt_h3ox0jtcoo_3k_1_2"
const logId = "dlv_3k_2f9c1x0a"
const jobId = "7d0f2b1c-93a4-4e57-8f0c-5a1f3b2c4d5e"
const at = "2025-01-15T10:00:00.123Z"

const payload = {
  event: "INSERT",
  schema: "public",
  table: "orders",
  row: { id: 1, total: 12.5 },
  old_row: null,
  timestamp: at
}

const webhookCreate = {
  name: "orders to the warehouse",
  table_name: "orders",
  events: ["INSERT", "UPDATE"],
  url: "https://warehouse.example.com/hooks/orders",
  secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  filter: [{ column: "total", op: "gte", value: 10 }]
}

const webhook = {
  id: webhookId,
  name: "orders to the warehouse",
  table_schema: "public",
  table_name: "orders",
  events: ["INSERT", "UPDATE"],
  url: "https://warehouse.example.com/hooks/orders",
  headers: { authorization: "***" },
  active: true,
  columns: null,
  filter: [{ column: "total", op: "gte", value: 10 }],
  ordering: "none",
  rate_limit: null,
  concurrency: 16,
  partitions: 1,
  timeout_ms: 15_000,
  max_attempts: 8,
  has_secret: true,
  fail_count: 0,
  disabled_reason: null,
  circuit: "closed",
  subscriber: null,
  next_probe_at: null,
  backlog: 0,
  last_delivery_at: at,
  last_status_code: 200,
  created_at: at,
  updated_at: at
}

const logEntry = {
  id: logId,
  webhook_id: webhookId,
  event_id: eventId,
  event_type: "INSERT",
  attempt: 1,
  payload,
  status_code: 200,
  response_body: "ok",
  latency_ms: 12.4,
  error: null,
  outcome: "success",
  next_attempt_at: null,
  replay_of: null,
  created_at: at
}

const apiKey = {
  id: "b1f7c0de-3f0e-4a37-9d52-6a1c0c6b8f10",
  name: "deploy",
  scope: "write",
  prefix: "truss_sk_Zk3vQ1x",
  created_at: at,
  last_used_at: null
}

const table = {
  table_schema: "public",
  table_name: "orders",
  kind: "table",
  columns: [{ name: "id", type: "integer", nullable: false }, { name: "total", type: "numeric", nullable: true }],
  primary_key: ["id"],
  estimated_rows: 1200,
  watchable: true,
  reason: null
}

const page = (entry: object) => ({ data: [entry], next_cursor: null })

const problem = (status: number, type: string, title: string, detail: string, more: object = {}) => ({
  type: `urn:truss:problem:${type}`,
  title,
  status,
  detail,
  ...more
})

/** The examples of the API's description, by the name of the schema that they are of; a test validates each. */
export const examples: Readonly<Record<string, unknown>> = {
  WebhookCreate: webhookCreate,
  WebhookPatch: { active: false },
  Webhook: webhook,
  WebhookPage: page(webhook),
  TestResult: { log_id: logId, status_code: 200, response_body: "ok", latency_ms: 12.4, error: null },
  NoOptions: {},
  SecretRotation: { overlap_seconds: 3600 },
  RotatedSecret: { secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", previous_valid_until: at },
  PreviewRequest: { table_name: "orders", filter: [{ column: "total", op: "gte", value: 10 }] },
  PreviewResult: { considered: 1000, would_fire: 12, samples: [payload] },
  LogEntry: logEntry,
  LogPage: page(logEntry),
  EventHistory: {
    id: eventId,
    event_type: "INSERT",
    table_schema: "public",
    table_name: "orders",
    committed_at: at,
    payload,
    webhooks: [{
      webhook_id: webhookId,
      state: "delivered",
      reason: null,
      attempts: [logEntry],
      next_attempt_at: null
    }]
  },
  ReplayRequest: { from: "2025-01-15T00:00:00Z", outcome: "failed" },
  RecoverRequest: { since: "2025-01-15T00:00:00Z" },
  CreatedJob: { job_id: jobId, matched: 12 },
  JobList: page({ id: jobId, kind: "replay", state: "running", matched: 12, done: 3, created_at: at }),
  Reconciliation: {
    matched: 12,
    delivered: 10,
    failed: 1,
    pending: 1,
    filtered: 0,
    never_attempted: 0,
    complete_through: at,
    gap: null
  },
  Stats: {
    buckets: [{ at, success: 41, retrying: 1, failed: 0, p50_ms: 12.4, p95_ms: 31, p99_ms: 80.2 }],
    totals: { success: 41, retrying: 1, failed: 0 },
    backlog: 0,
    oldest_pending_seconds: null
  },
  TableList: page(table),
  SessionCreate: { api_key: "truss_sk_Zk3vQ1xYb0Jt7m2nR5cW8eL1aU4dS6hK9fG3pV0oXiM" },
  SessionState: { mode: "api_key", principal: { name: "deploy", scope: "write" }, login_url: null },
  ApiKeyCreate: { name: "deploy", scope: "write" },
  CreatedApiKey: { ...apiKey, key: "truss_sk_Zk3vQ1xYb0Jt7m2nR5cW8eL1aU4dS6hK9fG3pV0oXiM" },
  KeyList: page(apiKey),
  AuditList: page({
    id: "42",
    at,
    actor: "deploy",
    action: "webhook.updated",
    webhook_id: webhookId,
    detail: { fields: ["active"] }
  }),
  Cluster: {
    runners: [{
      id: "5e0a2c8e-8d0f-4d0e-9b52-0c9d8f7e6a51",
      address: "127.0.0.1:8787",
      role: "active",
      started_at: at,
      webhooks: 1,
      lag_seconds: 0
    }],
    handovers: []
  },
  BadRequestProblem: problem(400, "bad-request", "Bad Request", "The request does not fit: name: is required", {
    errors: [{ path: "name", message: "is required" }]
  }),
  UnauthorizedProblem: problem(401, "unauthorized", "Unauthorized", "The API key is not valid"),
  ForbiddenProblem: problem(403, "forbidden", "Forbidden", "This API key may only read"),
  NotFoundProblem: problem(404, "not-found", "Not Found", "There is no such webhook"),
  LockedProblem: problem(409, "table-locked", "Table Locked", "public.orders is locked by others"),
  StillRunningProblem: problem(
    409,
    "still-running",
    "Still Running",
    "The first request with this Idempotency-Key still runs: ask again"
  ),
  PreconditionFailedProblem: problem(
    412,
    "precondition-failed",
    "Precondition Failed",
    "The webhook is not what the condition says: read it again"
  ),
  ContentTooLargeProblem: problem(413, "content-too-large", "Content Too Large", "The body is over 1 MiB"),
  UriTooLongProblem: problem(414, "uri-too-long", "URI Too Long", "Path and query are over 8192 characters"),
  UnsupportedMediaTypeProblem: problem(
    415,
    "unsupported-media-type",
    "Unsupported Media Type",
    "The body must be application/json, in UTF-8, not compressed"
  ),
  NotWatchableProblem: problem(
    422,
    "table-not-watchable",
    "Table Not Watchable",
    "public.orders does not exist",
    { reason: "not_found" }
  ),
  MismatchProblem: problem(422, "table-mismatch", "Table Mismatch", "public.orders has no column total", {
    errors: [{ path: "filter.0.column", message: "public.orders has no column total" }]
  }),
  UrlForbiddenProblem: problem(422, "url-not-allowed", "URL Not Allowed", "10.0.0.1 must not be reached", {
    errors: [{ path: "url", message: "10.0.0.1 must not be reached" }]
  }),
  IdempotencyKeyReusedProblem: problem(
    422,
    "idempotency-key-reused",
    "Idempotency Key Reused",
    "This Idempotency-Key was used for another path or body: every request needs a key of its own"
  ),
  InternalErrorProblem: problem(
    500,
    "internal",
    "Internal Server Error",
    "Something went wrong here; the log of the service says what"
  ),
  UnavailableProblem: problem(503, "unavailable", "Service Unavailable", "The database does not answer"),
  TooManySubscribersProblem: problem(
    503,
    "too-many-subscribers",
    "Too Many Subscribers",
    "100 clients follow this log here already: ask again later, or another process"
  )
}

/** The beginning of a stream with one entry. */
export const streamExample = `: the log as it is written\nid: ${logId}\n\n` +
  `id: ${logId}\nevent: entry\ndata: ${JSON.stringify(logEntry)}\n\n`

const parameters: Readonly<Record<string, unknown>> = {
  logId,
  eventId,
  jobId,
  limit: 50,
  cursor: "bG9ncyAwMTk4AGEx",
  table: "public.orders",
  active: true,
  partitions: false,
  event_type: "INSERT",
  outcome: "failed",
  status_code: 500,
  event_id: eventId,
  from: "2025-01-15T00:00:00Z",
  to: "2025-01-16",
  last_event_id: logId,
  window: "1h"
}

/** The example of a parameter; an `id` is that of what its path is about. */
export const exampleOfParameter = (name: string, path: string): unknown =>
  name === "id" ? path.includes("/keys/") ? apiKey.id : webhookId : parameters[name]
