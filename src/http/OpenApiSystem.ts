const nullableText = { anyOf: [{ type: "string" }, { type: "null" }] }

const state = (properties: Record<string, object>) => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  additionalProperties: false
})

const json = (description: string, schema: object, example: unknown) => ({
  description,
  content: { "application/json": { schema, example } }
})

const readiness = (status: "ready" | "unavailable") =>
  state({
    status: { type: "string", const: status },
    database: nullableText,
    listener: nullableText,
    mode: { type: "string", enum: ["notify", "poll", "starting", "standby", "runner"] }
  })

const get = (operationId: string, summary: string, responses: Record<string, object>) => ({
  get: { operationId, summary, tags: ["Operations"], parameters: [], security: [], responses }
})

export const systemTag = { name: "Operations", description: "For those who run the service. They need no key." }

/** The routes outside the API that are for programs, as OpenAPI paths; `/` and `/docs` are pages for people. */
export const systemOperations = {
  "/health/live": get("system.live", "Whether the process answers", {
    "200": json("It does", state({ status: { type: "string", const: "ok" } }), { status: "ok" })
  }),
  "/health/ready": get("system.ready", "Whether the service does its work", {
    "200": json("It does", readiness("ready"), { status: "ready", database: null, listener: null, mode: "notify" }),
    "503": {
      ...json("The database or the listener is down, and why", readiness("unavailable"), {
        status: "unavailable",
        database: "connection refused",
        listener: null,
        mode: "notify"
      }),
      headers: { "Retry-After": { $ref: "#/components/headers/Retry-After" } }
    }
  }),
  "/metrics": get("system.metrics", "Metrics for Prometheus", {
    "200": {
      description: "The text format, version 0.0.4",
      content: {
        "text/plain": {
          schema: { type: "string" },
          example: "# TYPE truss_backlog_events gauge\ntruss_backlog_events 0\n"
        }
      }
    }
  }),
  "/openapi.json": get("system.openapi", "This document", {
    "200": json("OpenAPI 3.1", { type: "object" }, { openapi: "3.1.0" })
  })
}
