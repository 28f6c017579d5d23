import type { HttpApiEndpoint } from "effect/http-api"
import { parseKeepingPayloads, type WithPayloads } from "./Json.ts"
import { Problem } from "./Problem.ts"
import { type Endpoint, type EndpointName, type GroupName, routes } from "./Routes.ts"

/** The values of a schema, as the definition means them; nothing where there is none. */
type Plain<S> = [S] extends [never] ? undefined : S extends { readonly Type: infer T } ? T : undefined

type Given<Name extends string, Value> = [Value] extends [undefined] ? { readonly [K in Name]?: undefined }
  : { readonly [K in Name]: Value }
type Optional<Name extends string, Value> = [Value] extends [undefined] ? { readonly [K in Name]?: undefined }
  : { readonly [K in Name]?: Value }

type Ask<E> =
  & Given<"params", Plain<HttpApiEndpoint.Params<E>>>
  & Optional<"query", Plain<HttpApiEndpoint.Query<E>>>
  & Optional<"body", Plain<HttpApiEndpoint.Payload<E>>>
  & { readonly ifMatch?: string | undefined; readonly signal?: AbortSignal }

/** What an endpoint answers with; payloads are the text that the database wrote. */
export type Answer<G extends GroupName, N extends EndpointName<G>> = WithPayloads<
  Plain<HttpApiEndpoint.Success<Endpoint<G, N>>>
>

/** The path of a route with its parameters filled in, below `/api`. */
export const pathOf = (route: string, params: object = {}, query: object = {}): string => {
  const filled = Object.entries(params).reduce(
    (path, [name, value]) => path.replace(`:${name}`, encodeURIComponent(String(value))),
    route.slice(route.indexOf("/"))
  )
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== "")
  const text = new URLSearchParams(
    pairs.map(([name, value]) => [name, value instanceof Date ? value.toISOString() : String(value)])
  ).toString()
  return `/api${filled}${text === "" ? "" : `?${text}`}`
}

interface Request {
  readonly params?: object | undefined
  readonly query?: object | undefined
  readonly body?: unknown
  readonly ifMatch?: string | undefined
  readonly signal?: AbortSignal
}

/** One request. Rejects with a `Problem`, also when nobody answers. */
export const send = async (route: string, { body, ifMatch, params, query, signal }: Request): Promise<Response> => {
  const method = route.slice(0, route.indexOf(" "))
  const headers = {
    accept: "application/json",
    ...(body !== undefined && { "content-type": "application/json" }),
    ...(ifMatch !== undefined && { "if-match": ifMatch })
  }
  const response = await fetch(pathOf(route, params, query), {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal !== undefined && { signal })
  }).catch((error: unknown) => {
    if (signal?.aborted === true) throw error
    throw Problem.offline()
  })
  if (!response.ok) throw await Problem.of(response)
  return response
}

/** Calls an endpoint of the API by its name in the definition. */
export const call = async <G extends GroupName, N extends EndpointName<G> & string>(
  group: G,
  name: N,
  ask: Ask<Endpoint<G, N>>
): Promise<Answer<G, N>> => (await callTagged(group, name, ask)).value

/** As `call`, with the answer's entity tag, for `ifMatch`. */
export const callTagged = async <G extends GroupName, N extends EndpointName<G> & string>(
  group: G,
  name: N,
  ask: Ask<Endpoint<G, N>>
): Promise<{ readonly value: Answer<G, N>; readonly tag: string | undefined }> => {
  const route: string = (routes[group] as Readonly<Record<string, string>>)[name]!
  const response = await send(route, ask as Request)
  const text = await response.text()
  return {
    value: (text === "" ? undefined : parseKeepingPayloads(text)) as Answer<G, N>,
    tag: response.headers.get("etag") ?? undefined
  }
}
