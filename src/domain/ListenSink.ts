/**
 * Where the temporary webhook of `truss-webhooks listen` delivers to: nowhere. An attempt at it is done at once, and
 * whoever follows the webhook's log takes what was handed over from there. RFC 6761: no such name ever resolves.
 */
export const listenSinkUrl = "http://listen.truss.invalid/"

/** What the log says of an event that was handed over. */
export const handedOverStatus = 202

export const isListenSink = (url: string): boolean => url.startsWith(listenSinkUrl)
