import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { HttpServerRequest } from "effect/http"
import { isGeneratedKey } from "../../src/domain/ApiKey.ts"
import { parseTags } from "../../src/domain/EntityTag.ts"
import { EndpointUrl, isWebhookId, Secret } from "../../src/domain/Webhook.ts"
import { WebhookHeaders } from "../../src/domain/WebhookHeaders.ts"
import { apiKeyOf, cookieOf } from "../../src/http/Credentials.ts"
import { isJson } from "../../src/http/RequestBody.ts"

const long = 300_000
const of = (text: string) => text.repeat(Math.ceil(long / text.length))
const request = (headers: Record<string, string>) => ({ headers }) as unknown as HttpServerRequest.HttpServerRequest

/** What every pattern that meets text of others is given, at its start, in its middle and before its end. */
const runs = [" ", "\t", "a", "0", "-", ".", ",", ";", "\"", "=", "a.", "\"\",", "; ", "é", "[", "%", "127."].map(of)

const readers: Record<string, (text: string) => unknown> = {
  parseTags,
  isJson,
  isWebhookId,
  isGeneratedKey,
  apiKeyOf: (text) => apiKeyOf(request({ authorization: text })),
  cookieOf: (text) => cookieOf(request({ cookie: text }), "truss_session"),
  url: Schema.is(EndpointUrl),
  secret: Schema.is(Secret),
  headers: (text) => Schema.is(WebhookHeaders)({ [text]: text })
}

const beginnings: Record<string, ReadonlyArray<string>> = {
  parseTags: ["", "\"a\",", "\"a\"", "W/", "\""],
  isJson: [
    "",
    "application/json",
    "application/json;",
    "application/json; charset=",
    "application/json; charset=utf-8"
  ],
  apiKeyOf: ["", "bearer", "bearer "],
  url: ["", "http://", "http://a/", "http://127."]
}

describe("a text of 300,000 characters", () => {
  for (const [name, read] of Object.entries(readers)) {
    it(`is understood by ${name} in a time that grows with its length and no faster`, { timeout: 60_000 }, () => {
      for (const beginning of beginnings[name] ?? [""]) {
        for (const run of runs) {
          const began = performance.now()
          read(`${beginning}${run}!`)
          read(`${beginning}${run}\n`)
          assert.isBelow(performance.now() - began, 2_000, JSON.stringify(`${beginning}${run}`.slice(0, 40)))
        }
      }
    })
  }
})
