import { FindMyWay, type HttpMethod } from "effect/http"
import { HttpApi } from "effect/http-api"
import { DashboardApi, ManagementApi } from "./api/Api.ts"
import { SessionApi } from "./api/Session.ts"

const methods = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const satisfies ReadonlyArray<HttpMethod.HttpMethod>

const router = FindMyWay.make<true>()

const reflect = { onGroup: () => {} }
const onEndpoint = ({ endpoint }: { readonly endpoint: { readonly method: string; readonly path: string } }) =>
  router.on(endpoint.method, endpoint.path as FindMyWay.PathInput, true)
HttpApi.reflect(DashboardApi, { ...reflect, onEndpoint })
HttpApi.reflect(ManagementApi, { ...reflect, onEndpoint })
HttpApi.reflect(SessionApi, { ...reflect, onEndpoint })

/** The paths outside the API that answer GET. */
export const systemPaths = ["/", "/openapi.json", "/docs", "/metrics", "/health/live", "/health/ready"] as const
for (const path of systemPaths) router.on("GET", path, true)

/** The methods that a path answers to, for `Allow`; empty for a path that nobody knows. */
export const allowedMethods = (url: string): ReadonlyArray<string> =>
  methods.filter((method) => router.find(method, url) !== undefined).flatMap((method) =>
    method === "GET" ? ["GET", "HEAD"] : [method]
  )
