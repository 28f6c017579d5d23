import { Effect, Schema } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { type Conditions, matchesWeakly, mayChange, parseTags, webhookTag } from "../domain/EntityTag.ts"
import type { Fault } from "../domain/Errors.ts"
import { Webhook } from "../domain/Webhook.ts"
import type { VersionedWebhook } from "../services/Webhooks.ts"
import { PreconditionFailed } from "./api/Problems.ts"
import { badRequest } from "./Faults.ts"

/** The conditions of a request. Fails with 400 where a header is not one that can be understood. */
export const conditionsOf = ({ headers }: HttpServerRequest.HttpServerRequest) =>
  Effect.suspend(() => {
    const faults: Array<Fault> = []
    const read = (name: string) => {
      const header = headers[name]
      const tags = header === undefined ? undefined : parseTags(header)
      if (header !== undefined && tags === undefined) {
        faults.push({ path: name, message: "must be * or entity tags, in double quotes and separated by commas" })
      }
      return tags
    }
    const conditions: Conditions = { ifMatch: read("if-match"), ifNoneMatch: read("if-none-match") }
    return faults.length === 0 ? Effect.succeed(conditions) : Effect.fail(badRequest(faults))
  })

const encode = Schema.encodeSync(Webhook)

/** The answer with a webhook and its `ETag`. */
export const tagged = (webhook: VersionedWebhook, status = 200): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.jsonUnsafe(encode(webhook), { status, headers: { etag: webhookTag(webhook) } })

/** The answer to a GET: the webhook, 304 when the client has it, 412 when it is not what the client wants. */
export const ifWanted = (webhook: VersionedWebhook, { ifMatch, ifNoneMatch }: Conditions) => {
  const tag = webhookTag(webhook)
  if (!mayChange({ ifMatch }, tag)) {
    return Effect.fail(new PreconditionFailed({ detail: "The webhook is not what If-Match says" }))
  }
  return Effect.succeed(
    ifNoneMatch !== undefined && matchesWeakly(ifNoneMatch, tag)
      ? HttpServerResponse.empty({ status: 304, headers: { etag: tag } })
      : tagged(webhook)
  )
}
