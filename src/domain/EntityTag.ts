/** A list of entity tags as `If-Match` and `If-None-Match` carry it: `*`, or tags, of which some may be weak. */
export type TagList = "*" | ReadonlyArray<{ readonly weak: boolean; readonly tag: string }>

/** What a request asks of the state that it finds; RFC 9110, section 13.1. */
export interface Conditions {
  readonly ifMatch?: TagList | undefined
  readonly ifNoneMatch?: TagList | undefined
}

/** The strong tag of a webhook's settings: another one whenever they are, whatever its deliveries come to. */
export const webhookTag = (webhook: { readonly id: string; readonly version: string }): string =>
  `"${webhook.id}.${webhook.version}"`

// Blanks go before a tag or after one, never both around none: one way to match, whatever is sent.
const element = /^[ \t]*(?:(W\/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*)?(?:,|$)/

/** The tags of a header, or `undefined` when it is neither `*` nor a list of tags. Empty elements are passed over. */
export const parseTags = (header: string): TagList | undefined => {
  if (header.trim() === "*") return "*"
  const tags: Array<{ weak: boolean; tag: string }> = []
  for (let rest = header; rest !== "";) {
    const match = element.exec(rest)
    if (match === null) return undefined
    if (match[2] !== undefined) tags.push({ weak: match[1] !== undefined, tag: match[2] })
    rest = rest.slice(match[0].length)
  }
  return tags.length === 0 ? undefined : tags
}

/** Whether one of the tags is this one, and both are strong. */
const matchesStrongly = (list: TagList, tag: string) =>
  list === "*" || list.some((entry) => !entry.weak && entry.tag === tag)

/** Whether one of the tags is this one, weak or not. */
export const matchesWeakly = (list: TagList, tag: string): boolean =>
  list === "*" || list.some((entry) => entry.tag === tag)

/** Whether what is there, with this tag, may be changed. */
export const mayChange = ({ ifMatch, ifNoneMatch }: Conditions, tag: string): boolean =>
  (ifMatch === undefined || matchesStrongly(ifMatch, tag)) &&
  (ifNoneMatch === undefined || !matchesWeakly(ifNoneMatch, tag))
