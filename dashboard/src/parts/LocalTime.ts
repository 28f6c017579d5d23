/** The local time that a `datetime-local` field takes, of one in UTC; empty where there is none. */
export const localTime = (iso: string | undefined): string => {
  const date = iso === undefined ? undefined : new Date(iso)
  if (date === undefined || Number.isNaN(date.getTime())) return ""
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}

/** The other way round. */
export const utcTime = (local: string): string | undefined => local === "" ? undefined : new Date(local).toISOString()
