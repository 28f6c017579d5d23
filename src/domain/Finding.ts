/** How a check of `doctor` went: `note` is worth knowing and no fault, `skipped` could not or need not be looked at. */
export type FindingStatus = "ok" | "fail" | "note" | "skipped"

/** One line of `doctor`. */
export interface Finding {
  /** What was checked: `connection`, `clock`, … */
  readonly check: string
  readonly status: FindingStatus
  /** What was found. */
  readonly detail: string
  /** What to do about it; null where there is nothing to do. */
  readonly todo: string | null
}

export const ok = (check: string, detail: string): Finding => ({ check, status: "ok", detail, todo: null })
export const note = (check: string, detail: string, todo: string | null = null): Finding => ({
  check,
  status: "note",
  detail,
  todo
})
export const skipped = (check: string, detail: string): Finding => ({ check, status: "skipped", detail, todo: null })
export const fail = (check: string, detail: string, todo: string): Finding => ({ check, status: "fail", detail, todo })

/** `90 seconds`, `5 minutes`, `3 hours`, `2 days`: rounded down, for people. */
export const spoken = (seconds: number): string => {
  const [length, unit] = seconds < 120
    ? [1, "second"] as const
    : seconds < 7_200
    ? [60, "minute"] as const
    : seconds < 172_800
    ? [3_600, "hour"] as const
    : [86_400, "day"] as const
  const count = Math.floor(seconds / length)
  return `${count} ${unit}${count === 1 ? "" : "s"}`
}
