import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { connect } from "node:net"
import type { ServiceProcess } from "../support/ServiceProcess.ts"

/** What came back; status 0 when the connection ended without an answer. */
export interface Reply {
  readonly status: number
  readonly head: string
  readonly text: string
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly json: any
}

const patienceMs = 20_000

const portOf = ({ url }: ServiceProcess) => Number(new URL(url).port)

/** Sends these bytes on a connection of their own, and reads until the service closes it or says no more. */
export const exchange = (service: ServiceProcess, bytes: string | Buffer, quietMs = patienceMs) =>
  Effect.callback<string>((resume) => {
    const chunks: Array<Buffer> = []
    const socket = connect(portOf(service), "127.0.0.1", () => socket.write(bytes))
    const done = () => {
      socket.destroy()
      resume(Effect.succeed(Buffer.concat(chunks).toString("utf8")))
    }
    socket.setTimeout(quietMs, done)
    socket.on("data", (chunk) => chunks.push(Buffer.from(chunk)))
    socket.on("error", done)
    socket.on("close", done)
    return Effect.sync(() => socket.destroy())
  })

/** How many answers there are in what came back. */
export const answersIn = (text: string): ReadonlyArray<number> =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1])).filter((status) => status !== 100)

const dechunked = (text: string): string => {
  let rest = text
  let whole = ""
  while (true) {
    const [, size = "0"] = /^([0-9a-f]+)\r\n/i.exec(rest) ?? []
    const length = Number.parseInt(size, 16)
    if (length === 0) return whole
    const bytes = Buffer.from(rest.slice(size.length + 2))
    whole += bytes.subarray(0, length).toString()
    rest = bytes.subarray(length + 2).toString()
  }
}

const replyOf = (answer: string): Reply => {
  const [head = "", ...bodies] = answer.split("\r\n\r\n")
  const body = bodies.join("\r\n\r\n")
  const text = /^transfer-encoding: chunked/im.test(head) ? dechunked(body) : body
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  return { status: answersIn(answer)[0] ?? 0, head, text, json }
}

/** One request with exactly these headers beside `host`, and the body's length. A value goes out as JSON. */
export const ask = (
  service: ServiceProcess,
  method: string,
  path: string,
  options: {
    readonly headers?: Readonly<Record<string, string>>
    readonly body?: unknown
    readonly quietMs?: number
  } = {}
): Effect.Effect<Reply> => {
  const { body, headers } = options
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body)
  const lines = Object.entries({
    host: `localhost:${portOf(service)}`,
    connection: "close",
    ...(text !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
    ...headers
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  const bytes = Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${text ?? ""}`)
  return Effect.map(exchange(service, bytes, options.quietMs), replyOf)
}

/** An operation of the service's own document. */
export interface Operation {
  readonly method: string
  /** With its prefix and `{parameters}`. */
  readonly path: string
  readonly query: ReadonlyArray<string>
  readonly headers: ReadonlyArray<string>
  readonly hasBody: boolean
}

interface Documented {
  readonly parameters?: ReadonlyArray<{ readonly in: string; readonly name: string }>
  readonly requestBody?: unknown
}

/** Every operation that `/openapi.json` describes, under `/api` or `/v1`. */
export const operationsOf = Effect.fnUntraced(function*(service: ServiceProcess, prefix: "/api" | "/v1") {
  const { json } = yield* ask(service, "GET", "/openapi.json")
  const { paths, servers } = json as {
    readonly paths: Record<string, Record<string, Documented>>
    readonly servers?: ReadonlyArray<{ readonly url: string }>
  }
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { parameters = [], requestBody }]): ReadonlyArray<Operation> =>
      ["get", "post", "patch", "delete", "put"].includes(method)
        ? [{
          method: method.toUpperCase(),
          path,
          query: parameters.filter((parameter) => parameter.in === "query").map(({ name }) => name),
          headers: parameters.filter((parameter) => parameter.in === "header").map(({ name }) => name),
          hasBody: requestBody !== undefined
        }]
        : []
    )
  )
  const own = operations.filter(({ path }) => path.startsWith(`${prefix}/`))
  if (own.length < 20) return yield* Effect.die(new Error(`${own.length} operations, ${JSON.stringify(servers)}`))
  return own
})

/** Whether it can change something. */
export const changes = ({ method, path }: Operation): boolean => method !== "GET" && !path.endsWith("/preview")

/** Its path with these values in place of its parameters. */
export const fill = ({ path }: Operation, value: (name: string) => string): string =>
  path.replaceAll(/\{(\w+)\}/g, (_, name: string) => value(name))

/** Tables that the service writes to by itself, and that of the keys which requests are known by. */
const ownBusiness = "leader,runners,cursors,incarnation,idempotency"

/** All that a request could have changed: the rows of the service and of the watched tables, and the catalog's names. */
export const stateOf = Effect.fnUntraced(function*(admin: PgClient.PgClient) {
  const tables = yield* admin<{ name: string }>`
    SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('truss', 'public') AND c.relkind = 'r'
      AND NOT c.relname = ANY (string_to_array(${ownBusiness}, ',')) ORDER BY 1`
  const state: Record<string, string> = {}
  for (const { name } of tables) {
    const [row] = yield* admin.unsafe<{ all: string }>(
      `SELECT coalesce(json_agg(to_jsonb(t) - 'last_used_at' ORDER BY t::text), '[]')::text AS all FROM ${name} t`
    )
    state[name] = row!.all
  }
  const catalog = yield* admin<{ name: string }>`
    SELECT 'function ' || oid::regprocedure::text || md5(prosrc) AS name FROM pg_proc
      WHERE pronamespace IN ('truss'::regnamespace, 'public'::regnamespace)
    UNION ALL SELECT 'relation ' || oid::regclass::text FROM pg_class
      WHERE relnamespace IN ('truss'::regnamespace, 'public'::regnamespace)
    UNION ALL SELECT 'trigger ' || tgname || tgrelid::regclass::text FROM pg_trigger
        UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE NOT starts_with(nspname, 'pg_')
    ORDER BY 1`
  state["catalog"] = JSON.stringify(catalog)
  return state
})
