/**
 * Where a webhook delivers to whose receiver is a function of a program that embeds the service: the function's name, as
 * a URL that no request can be sent to.
 */
const scheme = "in-process:"

/** The URL of the function that is registered by this name. */
export const inProcessUrl = (name: string): string => scheme + encodeURIComponent(name.toWellFormed())

export const isInProcess = (url: string): boolean => url.startsWith(scheme)

/** In SQL: whether the webhook `w` waits for a process that has its function. */
export const lacksSubscriber = `(w.subscriber_missing AND starts_with(w.url, '${scheme}'))`
