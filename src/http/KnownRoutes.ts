import { FindMyWay, type HttpMethod } from "effect/http"
import { HttpApi } from "effect/http-api"
import { DashboardApi, ManagementApi } from "./api/Api.ts"
import { SessionApi } from "./api/Session.ts"

const methods = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const satisfies ReadonlyArray<HttpMethod.HttpMethod>

const router = FindMyWay.make<string>()

const reflect = { onGroup: () => {} }
const onEndpoint = ({ endpoint }: { readonly endpoint: { readonly method: string; readonly path: string } }) =>
  router.on(endpoint.method, endpoint.path as FindMyWay.PathInput, endpoint.path)
HttpApi.reflect(DashboardApi, { ...reflect, onEndpoint })
HttpApi.reflect(ManagementApi, { ...reflect, onEndpoint })
HttpApi.reflect(SessionApi, { ...reflect, onEndpoint })

/** The paths outside the API that answer GET. */
export const systemPaths = ["/", "/openapi.json", "/docs", "/metrics", "/health/live", "/health/ready"] as const
for (const path of systemPaths) router.on("GET", path, path)

/** The methods that a path answers to, for `Allow`; empty for a path that nobody knows. */
export const allowedMethods = (url: string): ReadonlyArray<string> =>
  methods.filter((method) => router.find(method, url) !== undefined).flatMap((method) =>
    method === "GET" ? ["GET", "HEAD"] : [method]
  )

/** The route that a request goes to, as `/v1/webhooks/:id`. */
export const routeOf = (method: string, url: string): string | undefined =>
  router.find((method === "HEAD" ? "GET" : method) as HttpMethod.HttpMethod, url)?.handler
