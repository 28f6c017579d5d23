import { HttpApi, OpenApi } from "effect/http-api"
import { DashboardApi, ManagementApi } from "./api/Api.ts"
import { defaultLimit } from "./api/Parameters.ts"
import { IdempotencyKeyReused, InternalError, StillRunning, UriTooLong } from "./api/Problems.ts"
import { SessionApi } from "./api/Session.ts"
import { exampleOfParameter, examples, streamExample } from "./OpenApiExamples.ts"
import { systemOperations, systemTag } from "./OpenApiSystem.ts"
import { isReadOnly } from "./ReadOnlyEndpoints.ts"

type Paths = OpenApi.OpenAPISpecPaths
type Operation = OpenApi.OpenAPISpecOperation
type Schemas = Record<string, object>
/** An answer, as far as it is changed here. */
type Answer = {
  readonly description: string
  readonly headers?: Record<string, object>
  readonly content?: Record<string, { readonly schema: object }>
}
type Answers = Record<string, Answer>

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })

const anyKey: ReadonlyArray<OpenApi.OpenAPISecurityRequirement> = [{ apikey: [] }, { "x-api-key": [] }, { bearer: [] }]

const securitySchemes: Record<string, OpenApi.OpenAPISecurityScheme> = {
  apikey: { type: "apiKey", name: "apikey", in: "header", description: "An API key, `truss_sk_…`" },
  "x-api-key": { type: "apiKey", name: "x-api-key", in: "header", description: "An API key, `truss_sk_…`" },
  bearer: { type: "http", scheme: "bearer", description: "An API key, `truss_sk_…`" },
  session: { type: "apiKey", name: "truss_session", in: "cookie", description: "What `POST /api/session` sets" },
  kratos: { type: "apiKey", name: "ory_kratos_session", in: "cookie", description: "A session of Ory Kratos" }
}

const anySession: ReadonlyArray<OpenApi.OpenAPISecurityRequirement> = [{ session: [] }, { kratos: [] }]

/** What the strings of a query stand for. */
const queryTypes: Record<string, object> = {
  limit: { type: "integer", minimum: 1, maximum: 500, default: defaultLimit },
  active: { type: "boolean" },
  partitions: { type: "boolean", default: false },
  status_code: { type: "integer", minimum: 100, maximum: 599 },
  window: { type: "string", enum: ["1h", "24h", "7d"], default: "1h" }
}

/** What the API's definition leaves out, so that callers of the typed client need not name it. */
const header = (name: string, description: string) => ({
  name,
  in: "header" as const,
  required: false,
  description,
  schema: { type: "string" }
})

const ifMatch = header("If-Match", "The `ETag` that the webhook must still have, or else 412; `*` holds always")
const ifNoneMatch = (unmet: string) =>
  header("If-None-Match", `The \`ETag\` of the settings that are known: ${unmet} if they still hold`)
const lastEventId = header("Last-Event-ID", "The id of the entry to go on behind; wins over `last_event_id`")

const idempotencyKey = {
  ...header(
    "Idempotency-Key",
    "1 to 255 printable ASCII characters: the same key with the same path and body gets the first answer again for " +
      "24 hours, with `Idempotency-Replayed: true` and without a secret that is shown once"
  ),
  schema: { type: "string", pattern: "^[\\x20-\\x7e]{1,255}$" }
}

const answerHeader = (description: string, required: boolean, schema: object) => ({ description, required, schema })

/** Of answers, by name. */
const answerHeaders = {
  ETag: answerHeader("Of the webhook's settings", true, { type: "string" }),
  "Idempotency-Replayed": answerHeader("This is the answer to the first request with this Idempotency-Key", false, {
    type: "string",
    const: "true"
  }),
  "Set-Cookie": answerHeader("The cookie `truss_session`", true, { type: "string" }),
  "Retry-After": answerHeader("When to ask again, in seconds", true, { type: "integer" }),
  "WWW-Authenticate": answerHeader("How to show who asks", true, { type: "string" })
}

const isSession = (path: string) => path === "/api/session"

const isIdempotent = (method: string, path: string) =>
  method === "post" && !path.endsWith("/preview") && !isSession(path)

const isWebhook = (path: string) => path.endsWith("/webhooks/{id}")

/** Answers that carry a webhook's tag. */
const isTagged = (method: string, path: string, status: string) =>
  isWebhook(path) && ["200", "304"].includes(status) || method === "post" && path.endsWith("/webhooks") &&
    status === "201"

const withProblem = (answers: Answers, status: string, name: string, description: string): Answers => {
  const now = answers[status]?.content?.["application/problem+json"]?.schema
  const schema = now === undefined ? ref(name) : { anyOf: [now, ref(name)] }
  return {
    ...answers,
    [status]: {
      description: now === undefined ? description : `${answers[status]!.description}; or ${description}`,
      content: { "application/problem+json": { schema } }
    }
  }
}

/** What is answered before an endpoint is asked, or for all of them. */
const withCommonProblems = (answers: Answers, method: string, path: string): Answers => {
  let all = withProblem(answers, "414", "UriTooLongProblem", "Path and query are over 8192 characters")
  all = withProblem(all, "500", "InternalErrorProblem", "A fault of ours")
  if (!isIdempotent(method, path)) return all
  all = withProblem(all, "409", "StillRunningProblem", "The first request with this Idempotency-Key still runs")
  return withProblem(
    all,
    "422",
    "IdempotencyKeyReusedProblem",
    "The Idempotency-Key was used for another request"
  )
}

/** Answers that are given again; the others say that nothing was done, or come before the key is looked at. */
const isKept = (status: string) => /^2|^4(?:00|04|15|22)$/.test(status)

const withHeaders = (answers: Answers, method: string, path: string): Answers =>
  Object.fromEntries(
    Object.entries(answers).map(([status, answer]) => {
      const names: ReadonlyArray<keyof typeof answerHeaders> = [
        ...(isTagged(method, path, status) ? ["ETag" as const] : []),
        ...(isIdempotent(method, path) && isKept(status) ? ["Idempotency-Replayed" as const] : []),
        ...(status === "409" || status === "503" ? ["Retry-After" as const] : []),
        ...(status === "401" ? ["WWW-Authenticate" as const] : []),
        ...(isSession(path) && status === "204" ? ["Set-Cookie" as const] : [])
      ]
      const headers = Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
      return [status, names.length === 0 ? answer : { ...answer, headers }]
    })
  )

const unionOf = (schema: object): ReadonlyArray<object> =>
  "anyOf" in schema ? (schema.anyOf as ReadonlyArray<object>).flatMap(unionOf) : [schema]

const nameOf = (schema: object) => "$ref" in schema ? String(schema.$ref).split("/").at(-1)! : undefined

/** One named example for each alternative. */
const withExamples = <A extends { readonly schema: object }>(media: A): A => {
  const names = unionOf(media.schema).map(nameOf).filter((name) => name !== undefined && name in examples)
  if (names.length === 0) return media
  return {
    ...media,
    examples: Object.fromEntries(names.map((name) => [name, { $ref: `#/components/examples/${name}` }]))
  }
}

const mapContent = <A extends { readonly content?: Record<string, { readonly schema: object }> }>(body: A): A =>
  body.content === undefined
    ? body
    : {
      ...body,
      content: Object.fromEntries(Object.entries(body.content).map(([type, media]) => [type, withExamples(media)]))
    }

/** OpenAPI 3.1 has no word for the events of a stream: the body is a text, `x-events` has each event's `data`. */
const eventStream = {
  schema: { type: "string" },
  example: streamExample,
  "x-events": {
    entry: ref("LogEntry"),
    reset: {
      type: "object",
      properties: { reason: { type: "string", enum: ["unknown_event_id"] } },
      required: ["reason"],
      additionalProperties: false
    },
    overflow: {
      type: "object",
      properties: { last_event_id: { type: "string" } },
      required: ["last_event_id"],
      additionalProperties: false
    }
  }
}

const headersOf = (method: string, path: string): ReadonlyArray<object> => [
  ...(isIdempotent(method, path) ? [idempotencyKey] : []),
  ...(isWebhook(path) ? [ifMatch, ifNoneMatch(method === "get" ? "304" : "412")] : []),
  ...(path.endsWith("/logs/stream") ? [lastEventId] : [])
]

const readsByPost = ({ operationId }: Operation) => isReadOnly({ identifier: operationId.split(".").at(-1)! })

const described = (operation: Operation, method: string, path: string): Operation => {
  let answers = withCommonProblems(operation.responses as Answers, method, path)
  if (isWebhook(path) && method === "get") {
    answers = { ...answers, "304": { description: "The settings are those of If-None-Match" } }
  }
  // A key of scope `read` may read everything.
  if (path.startsWith("/v1/") && (method === "get" || readsByPost(operation))) delete answers["403"]
  if (path.endsWith("/logs/stream")) {
    answers = {
      ...answers,
      "200": { description: "The log as it is written", content: { "text/event-stream": eventStream } }
    }
  }
  const parameters = operation.parameters.filter((parameter) => parameter.in !== "header").map((parameter) => ({
    ...parameter,
    ...(parameter.in === "query" && parameter.name in queryTypes && { schema: queryTypes[parameter.name]! }),
    example: exampleOfParameter(parameter.name, path)
  }))
  const responses = Object.fromEntries(
    Object.entries(withHeaders(answers, method, path)).map(([status, answer]) => [status, mapContent(answer)])
  )
  return {
    ...operation,
    parameters: [...parameters, ...headersOf(method, path)] as never,
    responses: responses as never,
    ...(operation.requestBody && { requestBody: mapContent(operation.requestBody) })
  }
}

const withKey = (operation: Operation): Operation => ({ ...operation, security: [...anyKey] })

const dashboardTag = (name: string) => `${name} (dashboard)`

const withOrWithoutKey = (operation: Operation): Operation => ({
  ...operation,
  operationId: `api.${operation.operationId}`,
  tags: [dashboardTag(operation.tags[0])],
  security: [{}, ...anyKey, ...anySession]
})

const sessionSecurity: Record<string, ReadonlyArray<OpenApi.OpenAPISecurityRequirement>> = {
  get: [{}, ...anyKey, ...anySession],
  post: [{}],
  delete: [{}, { session: [] }]
}

/** Only under `/api`, and for whoever comes. */
const ofSession = (operation: Operation, method: string): Operation => ({
  ...operation,
  operationId: `api.${operation.operationId}`,
  security: [...sessionSecurity[method]!]
})

const mapOperations = (paths: Paths, change: (operation: Operation, method: string) => Operation): Paths =>
  Object.fromEntries(
    Object.entries(paths).map(([path, item]) => [
      path,
      Object.fromEntries(
        Object.entries(item).map((
          [method, operation]
        ) => [method, change(described(operation as Operation, method, path), method)])
      )
    ])
  )

const isProblem = (schema: object) => JSON.stringify(schema).includes("\"urn:truss:problem:")

/** Effect names the schema of a problem after what it encodes, and one that it meets twice `Name_1`. */
const nameFor = (name: string, schemas: Schemas) =>
  name.endsWith("Encoded") && isProblem(schemas[name]!)
    ? name.replace(/Encoded$/, "Problem")
    : name.replace(/_\d+$/, "")

/** The members that a problem always has; and no bounds that are only those of a JavaScript number. */
const tidied = (schema: object): object => {
  const text = JSON.stringify(schema).replaceAll(`"minimum":${Number.MIN_SAFE_INTEGER},`, "").replaceAll(
    `,"minimum":${Number.MIN_SAFE_INTEGER}`,
    ""
  ).replaceAll(`,"maximum":${Number.MAX_SAFE_INTEGER}`, "")
  const clean = JSON.parse(text)
  return isProblem(schema) && Array.isArray(clean.required)
    ? { ...clean, required: [...new Set(["type", "title", "status", ...clean.required])] }
    : clean
}

const renamed = <A>(value: A, schemas: Schemas): A =>
  JSON.parse(
    JSON.stringify(value).replaceAll(
      /"#\/components\/schemas\/([^"]+)"/g,
      (_, name: string) => `"#/components/schemas/${nameFor(name, schemas)}"`
    )
  )

/** Schemas that something refers to, from the paths on. */
const reachable = (from: unknown, schemas: Schemas, found = new Set<string>()): Set<string> => {
  for (const [, name] of JSON.stringify(from).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
    if (found.has(name!)) continue
    found.add(name!)
    reachable(schemas[name!], schemas, found)
  }
  return found
}

const document = (spec: Record<string, unknown> & { readonly tags: ReadonlyArray<OpenApi.OpenAPISpecTag> }) => {
  const session = OpenApi.fromApi(SessionApi)
  const generated: Schemas = { ...session.components.schemas, ...(spec["components"] as { schemas: Schemas }).schemas }
  const schemas: Schemas = Object.fromEntries(
    Object.entries(generated).map(([name, schema]) => [
      nameFor(name, generated),
      renamed(tidied(schema), generated)
    ])
  )
  const paths = {
    ...mapOperations(renamed(spec["paths"] as Paths, generated), withKey),
    ...mapOperations(renamed(OpenApi.fromApi(DashboardApi).paths, generated), withOrWithoutKey),
    ...mapOperations(renamed(session.paths, generated), ofSession),
    ...systemOperations
  }
  const used = reachable(paths, schemas)
  return {
    ...spec,
    tags: [
      ...spec.tags,
      ...spec.tags.map((tag) => ({
        name: dashboardTag(tag.name),
        description: "The same under `/api`, for sessions, too: open on loopback unless `TRUSS_AUTH` is `required`."
      })),
      ...session.tags,
      systemTag
    ],
    paths,
    components: {
      schemas: Object.fromEntries(
        Object.entries(schemas).filter(([name]) => used.has(name)).sort(([a], [b]) => a < b ? -1 : 1)
      ),
      examples: Object.fromEntries(Object.entries(examples).map(([name, value]) => [name, { value }])),
      headers: answerHeaders,
      securitySchemes
    }
  }
}

/** The API as `/openapi.json` and `/docs` describe it: both prefixes in one document. */
export const DescribedApi = ManagementApi
  .annotate(HttpApi.AdditionalSchemas, [
    UriTooLong,
    InternalError,
    StillRunning,
    IdempotencyKeyReused
  ])
  .annotateMerge(OpenApi.annotations({ transform: (spec) => document(spec as never) }))
