import { OpenApi } from "effect/http-api"
import { DashboardApi, ManagementApi } from "./api/Api.ts"
import { defaultLimit } from "./api/Parameters.ts"
import { SessionApi } from "./api/Session.ts"

type Paths = OpenApi.OpenAPISpecPaths
type Operation = OpenApi.OpenAPISpecOperation

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
  window: { type: "string", enum: ["1h", "24h", "7d"], default: "1h" },
  from: { type: "string", format: "date-time" },
  to: { type: "string", format: "date-time" }
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
const ifNoneMatch = header("If-None-Match", "The `ETag` of the settings that are known: 304 if they still hold")
const etag = { description: "Of the webhook's settings", schema: { type: "string" } }

const idempotencyKey = header(
  "Idempotency-Key",
  "1 to 255 printable ASCII characters: the same key with the same path and body gets the first answer again for 24 " +
    "hours, with `Idempotency-Replayed: true` and without a secret that is shown once"
)

const keyProblem = (description: string) => ({
  description,
  content: {
    "application/problem+json": {
      schema: {
        type: "object",
        required: ["type", "title", "status", "detail"],
        properties: {
          type: { type: "string" },
          title: { type: "string" },
          status: { type: "integer" },
          detail: { type: "string" }
        }
      }
    }
  }
})

const idempotent = (operation: Operation, method: string, path: string): Operation =>
  method !== "post" || path.endsWith("/preview")
    ? operation
    : {
      ...operation,
      parameters: [...operation.parameters, idempotencyKey] as never,
      responses: {
        "409": keyProblem("The first request with this Idempotency-Key still runs"),
        "422": keyProblem("The Idempotency-Key was used for another request"),
        ...operation.responses
      } as never
    }

const ofWebhook = /\/webhooks\/\{id\}$/

const conditional = (operation: Operation, method: string, path: string): Operation => {
  if (!ofWebhook.test(path)) return operation
  const responses: Record<string, object> = { ...operation.responses }
  if (responses["200"] !== undefined) responses["200"] = { ...responses["200"], headers: { ETag: etag } }
  if (method === "get") responses["304"] = { description: "The settings are those of If-None-Match" }
  return {
    ...operation,
    parameters: [...operation.parameters, ifMatch, ...(method === "get" ? [ifNoneMatch] : [])] as never,
    responses: responses as never
  }
}

const mapOperations = (paths: Paths, change: (operation: Operation) => Operation): Paths =>
  Object.fromEntries(
    Object.entries(paths).map(([path, item]) => [
      path,
      Object.fromEntries(
        Object.entries(item).map(([method, operation]) => [
          method,
          change(idempotent(conditional(operation as Operation, method, path), method, path))
        ])
      )
    ])
  )

const typed = (operation: Operation): Operation => ({
  ...operation,
  parameters: operation.parameters.map((parameter) =>
    parameter.in === "query" && parameter.name in queryTypes
      ? { ...parameter, schema: queryTypes[parameter.name]! }
      : parameter
  ),
  ...(operation.requestBody?.content["application/json"]?.schema["$ref"] === "#/components/schemas/NoOptions" && {
    requestBody: { ...operation.requestBody, required: false as true }
  })
})

const withKey = (operation: Operation): Operation => ({ ...typed(operation), security: [...anyKey] })

const dashboardTag = (name: string) => `${name} (dashboard)`

const withOrWithoutKey = (operation: Operation): Operation => ({
  ...typed(operation),
  operationId: `api.${operation.operationId}`,
  tags: [dashboardTag(operation.tags[0])],
  security: [{}, ...anyKey, ...anySession]
})

const setCookie = { "Set-Cookie": { description: "The cookie `truss_session`", schema: { type: "string" } } }

const sessionSecurity: Record<string, ReadonlyArray<OpenApi.OpenAPISecurityRequirement>> = {
  get: [{}, ...anyKey, ...anySession],
  post: [{}],
  delete: [{}, { session: [] }]
}

const ofSession = (operation: Operation, method: string): Operation => {
  const responses: Record<string, object> = { ...operation.responses }
  if (responses["204"] !== undefined) responses["204"] = { ...responses["204"], headers: setCookie }
  return {
    ...operation,
    operationId: `api.${operation.operationId}`,
    security: [...sessionSecurity[method]!],
    responses: responses as never
  }
}

/** Only under `/api`, and for whoever comes. */
const session = OpenApi.fromApi(SessionApi)
const sessionPaths = Object.fromEntries(
  Object.entries(session.paths).map(([path, item]) => [
    path,
    Object.fromEntries(
      Object.entries(item).map(([method, operation]) => [method, ofSession(operation as Operation, method)])
    )
  ])
)

/** Effect names the schema of a problem after what it encodes. */
const named = (spec: Record<string, unknown>): Record<string, unknown> =>
  JSON.parse(JSON.stringify(spec).replaceAll(/\b([A-Z]\w*)Encoded(?=")/g, "$1Problem"))

/** The API as `/openapi.json` and `/docs` describe it: both prefixes in one document. */
export const DescribedApi = ManagementApi.annotateMerge(OpenApi.annotations({
  transform: (spec) =>
    named({
      ...spec,
      tags: [
        ...spec["tags"],
        ...spec["tags"].map((tag: OpenApi.OpenAPISpecTag) => ({
          name: dashboardTag(tag.name),
          description: "The same under `/api`, for sessions, too: open on loopback unless `TRUSS_AUTH` is `required`."
        })),
        ...session.tags
      ],
      paths: {
        ...mapOperations(spec["paths"], withKey),
        ...mapOperations(OpenApi.fromApi(DashboardApi).paths, withOrWithoutKey),
        ...sessionPaths
      },
      components: {
        ...spec["components"],
        schemas: { ...session.components.schemas, ...spec["components"].schemas },
        securitySchemes
      }
    })
}))
