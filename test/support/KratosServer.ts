import { Context, Effect, Layer } from "effect"
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"

/** A session as Ory Kratos shows it to whom it belongs. */
export const kratosSession = (
  more?: Readonly<Record<string, unknown>>,
  identity?: Readonly<Record<string, unknown>>
) => ({
  id: "0a1b2c3d-0000-4000-8000-000000000001",
  active: true,
  expires_at: "2999-01-01T00:00:00Z",
  authenticated_at: "2025-01-01T00:00:00Z",
  authenticator_assurance_level: "aal1",
  identity: {
    id: "9f37e1b0-1111-4222-8333-444455556666",
    schema_id: "default",
    state: "active",
    traits: { email: "ada@example.com" },
    ...identity
  },
  ...more
})

const json = (response: ServerResponse, status: number, body: unknown) =>
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))

const problem = (code: number, id: string) => ({ error: { code, id, status: "x", message: "no" } })

/**
 * What Kratos answers to `GET /sessions/whoami`, by the value of its cookie: a status and a body, `hang`, `drop`, or what
 * to do with the response. Any other value is nobody's session.
 */
export type KratosAnswer =
  | readonly [status: number, body: unknown]
  | "hang"
  | "drop"
  | ((response: ServerResponse) => void)

/** A server that answers as Kratos's public API does, and what it was asked. */
export class KratosServer extends Context.Service<KratosServer, {
  readonly url: string
  readonly answers: Map<string, KratosAnswer>
  readonly asked: Array<{ readonly method: string; readonly path: string; readonly headers: IncomingHttpHeaders }>
  /** How often it was asked for the cookie's value. */
  readonly times: (value: string) => number
}>()("truss/test/KratosServer") {
  static readonly layer = Layer.effect(
    KratosServer,
    Effect.gen(function*() {
      const answers = new Map<string, KratosAnswer>()
      const asked: Array<{ method: string; path: string; headers: IncomingHttpHeaders }> = []
      const valueOf = (headers: IncomingHttpHeaders) =>
        /ory_kratos_session=([^;]*)/.exec(headers.cookie ?? "")?.[1] ?? ""
      const server = createServer((request, response) => {
        const { headers, method, url } = request
        asked.push({ method: method ?? "", path: url ?? "", headers })
        if (url !== "/base/sessions/whoami") return json(response, 404, problem(404, "not_found"))
        const answer = answers.get(valueOf(headers)) ?? [401, problem(401, "session_inactive")]
        if (answer === "hang") return
        if (answer === "drop") return request.socket.destroy()
        return typeof answer === "function" ? answer(response) : json(response, answer[0], answer[1])
      })
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () =>
          Effect.sync(() => {
            server.close()
            server.closeAllConnections()
          })
      )
      return {
        url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/base`,
        answers,
        asked,
        times: (value) => asked.filter(({ headers }) => valueOf(headers) === value).length
      }
    })
  )
}
