import { Schema } from "effect"

/** RFC 9110, section 5.6.2: a field name is a token. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** RFC 9110, section 5.5: visible characters, spaces and tabs inside; no control character, not even of Latin-1. */
const fieldValue = /^[\x21-\x7e\xa0-\xff](?:[\t\x20-\x7e\xa0-\xff]*[\x21-\x7e\xa0-\xff])?$|^$/

/** Headers that frame the request, or that say what the delivery is. */
const reserved =
  /^(?:host|content-.*|transfer-encoding|connection|keep-alive|upgrade|te|trailer|expect|proxy-connection|x-truss-.*|webhook-.*)$/i

/** Whether the service sets this header itself, so that a webhook may not. */
export const isReservedHeader = (name: string): boolean => reserved.test(name)

/** What a stored header value is shown as, and what keeps it when written back. */
export const maskedValue = "***"

/** Headers that a webhook adds to its deliveries. At most 32 of them, names of up to 256 and values of up to 4096 characters. */
export const WebhookHeaders = Schema.Record(Schema.String, Schema.String).check(Schema.makeFilter((headers) => {
  const faults: Array<{ path: ReadonlyArray<PropertyKey>; issue: string }> = []
  const seen = new Set<string>()
  for (const [name, value] of Object.entries(headers)) {
    const fault = (issue: string) => faults.push({ path: [name], issue })
    // Not every runtime sends a header of that name: as a member of an object it is no member.
    if (!token.test(name) || name.length > 256 || name === "__proto__") fault("is not a valid header name")
    else if (reserved.test(name)) fault("is set by Truss Webhooks itself")
    else if (seen.has(name.toLowerCase())) fault("is there twice (header names ignore case)")
    if (!fieldValue.test(value) || value.length > 4096) {
      fault("must be at most 4096 visible Latin-1 characters, without line breaks or spaces around")
    }
    seen.add(name.toLowerCase())
  }
  if (seen.size > 32) faults.push({ path: [], issue: "at most 32 headers" })
  return faults
}, { toJsonSchema: () => ({ maxProperties: 32 }) }))
export type WebhookHeaders = typeof WebhookHeaders.Type
