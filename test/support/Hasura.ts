import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"

/** Event triggers as Hasura 2 exports them, with relationships and permissions around them. */
const tables = [
  {
    table: { name: "orders", schema: "public" },
    object_relationships: [{ name: "customer", using: { foreign_key_constraint_on: "customer_id" } }],
    select_permissions: [{ role: "user", permission: { columns: ["id", "status"], filter: {} } }],
    event_triggers: [
      {
        name: "order_created",
        definition: { enable_manual: false, insert: { columns: "*" } },
        retry_conf: { interval_sec: 10, num_retries: 3, timeout_sec: 60 },
        webhook: "{{HOOKS_URL}}/order-created",
        headers: [
          { name: "authorization", value_from_env: "HOOKS_TOKEN" },
          { name: "x-from", value: "hasura" },
          { name: "Content-Type", value: "application/json" }
        ],
        cleanup_config: { paused: true, schedule: "0 0 * * *", clear_older_than: 168, batch_size: 10000, timeout: 60 }
      },
      {
        name: "order_status",
        definition: { enable_manual: true, update: { columns: ["status", "total"] } },
        retry_conf: { interval_sec: 10, num_retries: 0, timeout_sec: 120 },
        webhook_from_env: "STATUS_URL"
      },
      {
        name: "order_gone",
        definition: { enable_manual: false, delete: { columns: "*", payload: ["id"] } },
        retry_conf: { interval_sec: 10, num_retries: 0, timeout_sec: 60 },
        webhook: "https://example.com/gone",
        request_transform: {
          version: 2,
          template_engine: "Kriti",
          method: "POST",
          body: { action: "transform", template: "{\"id\": {{$body.event.data.old.id}}}" }
        }
      },
      {
        name: "by_hand",
        definition: { enable_manual: true },
        retry_conf: { interval_sec: 10, num_retries: 0, timeout_sec: 60 },
        webhook: "https://example.com/hand"
      }
    ]
  },
  { table: { name: "lines", schema: "shop" } }
]

const configuration = {
  connection_info: { database_url: { from_env: "PG_DATABASE_URL" }, isolation_level: "read-committed" }
}

/** `{ resource_version, metadata }`, as `export_metadata` of its API answers and its console saves. */
export const hasuraExport = {
  resource_version: 42,
  metadata: { version: 3, sources: [{ name: "default", kind: "postgres", tables, configuration }] }
}

/** As Hasura 2 keeps it in its metadata database: hdb_catalog.hdb_metadata. */
export const hasuraCatalog: ReadonlyArray<string> = [
  "CREATE SCHEMA hdb_catalog",
  `CREATE TABLE hdb_catalog.hdb_metadata (
     id integer PRIMARY KEY, metadata json NOT NULL, resource_version integer NOT NULL DEFAULT 1 UNIQUE)`,
  `INSERT INTO hdb_catalog.hdb_metadata
     VALUES (1, '${JSON.stringify(hasuraExport.metadata).replaceAll("'", "''")}', 42)`
]

/** Writes a folder as `hasura metadata export` does, config v3: a file a table, included by name. */
export const writeHasuraFolder = (folder: string): void => {
  const files = join(folder, "metadata", "databases", "default", "tables")
  mkdirSync(files, { recursive: true })
  writeFileSync(join(folder, "metadata", "version.yaml"), "version: 3\n")
  writeFileSync(
    join(folder, "metadata", "databases", "databases.yaml"),
    `- name: default
  kind: postgres
  configuration:
    connection_info:
      database_url:
        from_env: PG_DATABASE_URL
      isolation_level: read-committed
      use_prepared_statements: false
  tables: "!include default/tables/tables.yaml"
`
  )
  writeFileSync(join(files, "tables.yaml"), "- \"!include public_orders.yaml\"\n- \"!include shop_lines.yaml\"\n")
  writeFileSync(join(files, "shop_lines.yaml"), "table:\n  name: lines\n  schema: shop\n")
  writeFileSync(
    join(files, "public_orders.yaml"),
    `table:
  name: orders
  schema: public
object_relationships:
  - name: customer
    using:
      foreign_key_constraint_on: customer_id
event_triggers:
  - name: order_created
    definition:
      enable_manual: false
      insert:
        columns: '*'
    retry_conf:
      interval_sec: 10
      num_retries: 3
      timeout_sec: 60
    webhook: '{{HOOKS_URL}}/order-created'
    headers:
      - name: authorization
        value_from_env: HOOKS_TOKEN
      - name: x-from
        value: hasura
      - name: Content-Type
        value: application/json
    cleanup_config:
      batch_size: 10000
      clear_older_than: 168
      paused: true
      schedule: 0 0 * * *
      timeout: 60
  - name: order_status
    definition:
      enable_manual: true
      update:
        columns:
          - status
          - total
    retry_conf:
      interval_sec: 10
      num_retries: 0
      timeout_sec: 120
    webhook_from_env: STATUS_URL
  - name: order_gone
    definition:
      delete:
        columns: '*'
        payload:
          - id
      enable_manual: false
    retry_conf:
      interval_sec: 10
      num_retries: 0
      timeout_sec: 60
    webhook: https://example.com/gone
    request_transform:
      body:
        action: transform
        template: |-
          {
            "id": {{$body.event.data.old.id}}
          }
      method: POST
      template_engine: Kriti
      version: 2
  - name: by_hand
    definition:
      enable_manual: true
    retry_conf:
      interval_sec: 10
      num_retries: 0
      timeout_sec: 60
    webhook: https://example.com/hand
`
  )
}
