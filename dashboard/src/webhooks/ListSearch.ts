/** The filters of the list as its address carries them. */
export interface ListSearch {
  readonly q?: string
  readonly table?: string
  readonly active?: boolean
  readonly attention?: true
}

const text = (value: unknown): string | undefined =>
  typeof value === "string" || typeof value === "number" ? String(value) || undefined : undefined

export const parseListSearch = (search: Readonly<Record<string, unknown>>): ListSearch => {
  const q = text(search["q"])
  const table = text(search["table"])
  const active = search["active"]
  return {
    ...(q !== undefined && { q }),
    ...(table !== undefined && { table }),
    ...(typeof active === "boolean" && { active }),
    ...(search["attention"] === true && { attention: true })
  }
}
