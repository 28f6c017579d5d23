import { Validator } from "@seriousme/openapi-schema-validator"
import addFormats from "ajv-formats"
import Ajv, { type ValidateFunction } from "ajv/dist/2020.js"
import { Effect } from "effect"
import { request } from "node:http"

/** One request, and the status that it must get. */
export interface Call {
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string | number | boolean>>
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON, or as it is when it is a string. */
  readonly body?: unknown
  /** One status, or several where what is asked for decides. */
  readonly status: number
  /** Reads no further than this, for answers that do not end. */
  readonly until?: (text: string) => boolean
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly json: any
}

interface Media {
  readonly schema: object
  readonly example?: unknown
  readonly examples?: Readonly<Record<string, { readonly $ref: string }>>
}

interface Parameter {
  readonly name: string
  readonly in: "path" | "query" | "header" | "cookie"
  readonly required?: boolean
  readonly schema: object
  readonly example?: unknown
}

interface Response {
  readonly description: string
  readonly headers?: Readonly<Record<string, { readonly $ref: string }>>
  readonly content?: Readonly<Record<string, Media>>
}

/** An operation of the document, with where it stands. */
export interface Operation {
  readonly operationId: string
  readonly method: string
  readonly path: string
  readonly parameters: ReadonlyArray<Parameter>
  readonly requestBody?: { readonly required?: boolean; readonly content: Readonly<Record<string, Media>> }
  readonly responses: Readonly<Record<string, Response>>
  readonly security: ReadonlyArray<Readonly<Record<string, ReadonlyArray<string>>>>
}

export interface Document {
  readonly openapi: string
  readonly info: { readonly version: string }
  readonly paths: Readonly<Record<string, Readonly<Record<string, Omit<Operation, "method" | "path">>>>>
  readonly components: {
    readonly schemas: Readonly<Record<string, Readonly<Record<string, unknown>>>>
    readonly examples: Readonly<Record<string, { readonly value: unknown }>>
    readonly headers: Readonly<Record<string, { readonly required: boolean; readonly schema: object }>>
    readonly securitySchemes: Readonly<Record<string, unknown>>
  }
}

/** Headers of answers that mean something to a client of the API: none goes out that the document does not name. */
const meaningful = [
  "etag",
  "location",
  "retry-after",
  "www-authenticate",
  "idempotency-replayed",
  "set-cookie",
  "allow"
]

const pointer = (...path: ReadonlyArray<string>) =>
  `openapi#/${path.map((part) => encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"))).join("/")}`

const send = (url: string, method: string, { body, headers, until }: Call) =>
  Effect.callback<Answer>((resume) => {
    const bytes = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body)
    const outgoing = request(url, {
      method,
      headers: {
        ...(bytes !== undefined && { "content-type": "application/json", "content-length": Buffer.byteLength(bytes) }),
        ...headers
      }
    }, (incoming) => {
      let text = ""
      const done = () => {
        const json = (incoming.headers["content-type"] ?? "").includes("json") && text !== ""
          ? JSON.parse(text)
          : undefined
        resume(Effect.succeed({
          status: incoming.statusCode!,
          headers: Object.fromEntries(Object.entries(incoming.headers).map(([name, value]) => [name, String(value)])),
          text,
          json
        }))
      }
      incoming.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk
        if (until?.(text) === true) {
          done()
          outgoing.destroy()
        }
      })
      incoming.on("end", done).on("error", () => {})
    })
    outgoing.on("error", (error) => resume(Effect.die(new Error(`${method} ${url}: ${error.message}`))))
    outgoing.end(bytes)
    return Effect.sync(() => outgoing.destroy())
  })

/**
 * An API described by a document: every call through it is held against the document, request and answer, by a validator
 * that is not ours. What does not fit is a defect that says which call it was.
 */
export const describedApi = (document: Document) => {
  const ajv = new Ajv.default({ strict: false, allErrors: true })
  addFormats.default(ajv)
  ajv.addSchema(document, "openapi")
  const compiled = new Map<string, ValidateFunction>()
  const validate = (schema: string, value: unknown): string | undefined => {
    const check = compiled.get(schema) ?? ajv.compile({ $ref: schema })
    compiled.set(schema, check)
    return check(value) ? undefined : ajv.errorsText(check.errors)
  }

  const operations: ReadonlyArray<Operation> = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ ...operation, method, path }))
  )
  const seen = new Map<string, Set<number>>(operations.map(({ operationId }) => [operationId, new Set()]))

  const faultsOfRequest = (operation: Operation, call: Call): ReadonlyArray<string> => {
    const faults: Array<string> = []
    const { method, parameters, path, requestBody } = operation
    const given = (
      place: Parameter["in"],
      names: Readonly<Record<string, unknown>> | undefined,
      ignore = (_: string) => false
    ) => {
      const known = parameters.map((parameter, index) => ({ ...parameter, index })).filter((one) => one.in === place)
      const of = (name: string) =>
        known.find((one) => place === "header" ? one.name.toLowerCase() === name.toLowerCase() : one.name === name)
      for (const [name, value] of Object.entries(names ?? {})) {
        const parameter = of(name)
        if (parameter === undefined) {
          if (!ignore(name)) faults.push(`the ${place} parameter ${name} is not in the document`)
          continue
        }
        const fault = validate(pointer("paths", path, method, "parameters", String(parameter.index), "schema"), value)
        if (fault !== undefined) faults.push(`the ${place} parameter ${name}: ${fault}`)
      }
      for (const { name, required } of known) {
        if (required === true && names?.[name] === undefined) faults.push(`the ${place} parameter ${name} is required`)
      }
    }
    given("path", call.params)
    given("query", call.query)
    given(
      "header",
      call.headers,
      (name) => /^(?:apikey|x-api-key|authorization|host|content-type|origin|cookie)$/i.test(name)
    )
    if (call.body === undefined && requestBody?.required === true) faults.push("a body is required")
    if (call.body !== undefined) {
      const fault = requestBody === undefined
        ? "no body is in the document"
        : validate(pointer("paths", path, method, "requestBody", "content", "application/json", "schema"), call.body)
      if (fault !== undefined) faults.push(`the body: ${fault}`)
    }
    return faults
  }

  const faultsOfAnswer = ({ method, path, responses }: Operation, answer: Answer): ReadonlyArray<string> => {
    const status = String(answer.status)
    const response = responses[status]
    if (response === undefined) return [`status ${status} is not in the document`]
    const faults: Array<string> = []
    for (const [name, { $ref }] of Object.entries(response.headers ?? {})) {
      const value = answer.headers[name.toLowerCase()]
      const header = document.components.headers[$ref.split("/").at(-1)!]!
      if (value === undefined && header.required) faults.push(`the header ${name} is missing`)
      const isNumber = (header.schema as { type?: string }).type === "integer"
      const fault = value === undefined
        ? undefined
        : validate(`openapi${$ref}/schema`, isNumber ? Number(value) : value)
      if (fault !== undefined) faults.push(`the header ${name}: ${fault}`)
    }
    const documented = Object.keys(response.headers ?? {}).map((name) => name.toLowerCase())
    for (const name of meaningful) {
      if (answer.headers[name] !== undefined && !documented.includes(name)) {
        faults.push(`the header ${name} is not in the document`)
      }
    }
    const type = answer.headers["content-type"]?.split(";")[0]
    if (response.content === undefined) {
      if (answer.text !== "") faults.push("no body is in the document")
      return faults
    }
    if (type === undefined || response.content[type] === undefined) {
      return [...faults, `the type ${type} is not in the document`]
    }
    const fault = validate(
      pointer("paths", path, method, "responses", status, "content", type, "schema"),
      type.includes("json") ? answer.json : answer.text
    )
    return fault === undefined ? faults : [...faults, `the body: ${fault}\n${answer.text.slice(0, 500)}`]
  }

  /** Asks, and dies where the request (if it succeeds) or the answer is not as the document says. */
  const call = Effect.fnUntraced(function*(baseUrl: string, operation: Operation, asked: Call) {
    const path = operation.path.replaceAll(
      /\{(\w+)\}/g,
      (_, name) => encodeURIComponent(asked.params?.[name] ?? `{${name}}`)
    )
    const query = new URLSearchParams(
      Object.entries(asked.query ?? {}).map(([name, value]) => [name, String(value)])
    ).toString()
    const answer = yield* send(
      `${baseUrl}${path}${query === "" ? "" : `?${query}`}`,
      operation.method.toUpperCase(),
      asked
    )
    seen.get(operation.operationId)!.add(answer.status)
    const faults = [
      ...(answer.status === asked.status
        ? []
        : [`answered ${answer.status} and not ${asked.status}: ${answer.text.slice(0, 500)}`]),
      ...(answer.status < 400 ? faultsOfRequest(operation, asked) : []),
      ...faultsOfAnswer(operation, answer)
    ]
    if (faults.length > 0) {
      return yield* Effect.die(
        new Error(
          `${operation.method.toUpperCase()} ${operation.path} (${operation.operationId}): ${faults.join("; ")}`
        )
      )
    }
    return answer
  })

  /** The examples of the document that do not fit the schemas that they are of. */
  const wrongExamples = (): ReadonlyArray<string> => {
    const faults: Array<string> = []
    const check = (where: string, schema: string, value: unknown) => {
      const fault = validate(schema, value)
      if (fault !== undefined) faults.push(`${where}: ${fault}`)
    }
    const media = (where: string, at: ReadonlyArray<string>, content: Readonly<Record<string, Media>> = {}) => {
      for (const [type, { example, examples }] of Object.entries(content)) {
        const schema = pointer(...at, "content", type, "schema")
        const values = Object.values(examples ?? {}).map(({ $ref }) =>
          document.components.examples[$ref.split("/").at(-1)!]?.value
        )
        for (const value of example === undefined ? values : [example, ...values]) check(where, schema, value)
        if (example === undefined && values.length === 0) faults.push(`${where}: has no example`)
      }
    }
    for (const { method, parameters, path, requestBody, responses } of operations) {
      const at = ["paths", path, method]
      const where = `${method.toUpperCase()} ${path}`
      parameters.forEach(({ example, in: place, name }, index) => {
        if (place === "header") return
        if (example === undefined) faults.push(`${where}: the parameter ${name} has no example`)
        check(`${where}, ${name}`, pointer(...at, "parameters", String(index), "schema"), example)
      })
      media(`${where}, the body`, [...at, "requestBody"], requestBody?.content)
      for (const [status, { content }] of Object.entries(responses)) {
        media(`${where}, ${status}`, [...at, "responses", status], content)
      }
    }
    return faults
  }

  return {
    operations,
    call,
    validate,
    wrongExamples,
    /** The statuses that an operation has answered with. */
    seen: (operationId: string): ReadonlySet<number> => seen.get(operationId)!,
    /** What the OpenAPI schema says against the document. */
    faults: Effect.promise(async () => {
      const { errors, valid } = await new Validator().validate(structuredClone(document) as never)
      return valid ? undefined : JSON.stringify(errors)
    })
  }
}

export type DescribedApi = ReturnType<typeof describedApi>
