import { Effect } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { matchesWeakly, parseTags } from "../domain/EntityTag.ts"
import { answerNoRoute } from "./Answers.ts"
import { type DashboardFile, type DashboardFiles, dashboardFiles, type Encoding } from "./DashboardFiles.ts"

/** The paths of the dashboard's pages, `/webhooks` with `/webhooks/*`; what follows is for the page itself. */
export const dashboardPages = ["/", "/webhooks/*", "/events/*", "/settings/*"] as const

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
  "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const safety = {
  "content-security-policy": policy,
  "cross-origin-opener-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff"
}

const notBuilt = HttpServerResponse.text(
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>Truss Webhooks</title>` +
    `<h1>The dashboard is not built</h1><p>The service runs, and its API is described at <a href="/docs">/docs</a>. ` +
    `For the dashboard run <code>npm run dashboard:build</code> in the project's folder, and start the service again.`,
  { status: 503, contentType: "text/html; charset=utf-8", headers: safety }
)

/** The best encoding that the client takes and the file has; RFC 9110, section 12.5.3. */
const encodingFor = ({ headers }: HttpServerRequest.HttpServerRequest, file: DashboardFile): Encoding => {
  const refused = /^(?:.*;)?\s*q=0(?:\.0*)?\s*$/
  const taken = new Map(
    (headers["accept-encoding"] ?? "").toLowerCase().split(",").map((entry) => {
      const [name = "", ...parameters] = entry.split(";")
      return [name.trim(), !parameters.some((parameter) => refused.test(parameter))] as const
    })
  )
  const takes = (encoding: Encoding) => taken.get(encoding) ?? taken.get("*") ?? false
  return (["br", "gzip"] as const).find((encoding) => file.bytes.has(encoding) && takes(encoding)) ?? "identity"
}

const fileAnswer = (file: DashboardFile, status: number) =>
  Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
    const encoding = encodingFor(request, file)
    const headers = {
      ...safety,
      "cache-control": file.immutable ? "public, max-age=31536000, immutable" : "no-cache",
      etag: file.tag(encoding),
      vary: "accept-encoding"
    }
    const known = parseTags(request.headers["if-none-match"] ?? "")
    if (known !== undefined && matchesWeakly(known, file.tag(encoding))) {
      return HttpServerResponse.empty({ status: 304, headers })
    }
    return HttpServerResponse.uint8Array(file.bytes.get(encoding)!, {
      status,
      contentType: file.contentType,
      headers: encoding === "identity" ? headers : { ...headers, "content-encoding": encoding }
    })
  })

const page = (files: DashboardFiles, status = 200) => {
  const index = files.get("/index.html")
  return index === undefined ? Effect.succeed(notBuilt) : fileAnswer(index, status)
}

/** A person who lost the way gets the dashboard's page about it, a program the problem. */
const elsewhere = (files: DashboardFiles) =>
  Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    (request) =>
      request.headers["accept"]?.includes("text/html") === true && files.has("/index.html")
        ? page(files, 404)
        : answerNoRoute
  )

/** The dashboard at `/`: its pages and the files that they load. */
export const layerDashboardRoutes = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const files = yield* dashboardFiles()
  for (const path of dashboardPages) yield* router.add("GET", path, page(files))
  for (const [name, file] of files) {
    if (name !== "/index.html") yield* router.add("GET", name as HttpRouter.PathInput, fileAnswer(file, 200))
  }
}))

/** What nothing else takes; for a server that is ours alone. */
export const layerElsewhere = HttpRouter.use(Effect.fnUntraced(function*(router) {
  yield* router.add("GET", "/:page/*", elsewhere(yield* dashboardFiles()))
}))
