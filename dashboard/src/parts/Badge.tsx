import type { ReactNode } from "react"

export type Tone = "good" | "warn" | "bad" | "plain"

const tones: Readonly<Record<Tone, string>> = {
  good: "bg-good-soft text-good",
  warn: "bg-warn-soft text-warn",
  bad: "bg-bad-soft text-bad",
  plain: "bg-raised text-muted"
}

const dots: Readonly<Record<Tone, string>> = {
  good: "bg-good-fill",
  warn: "bg-warn-fill",
  bad: "bg-bad-fill",
  plain: "bg-line-strong"
}

/** A word in a colour; the word alone says it all. */
export const Badge = ({ children, tone }: { readonly tone: Tone; readonly children: ReactNode }) => (
  <span
    className={`inline-flex items-center rounded-[5px] px-1.5 py-px text-[0.86rem] font-medium whitespace-nowrap ${
      tones[tone]
    }`}
  >
    {children}
  </span>
)

export const Dot = ({ tone }: { readonly tone: Tone }) => (
  <span aria-hidden className={`inline-block size-2 shrink-0 rounded-full ${dots[tone]}`} />
)
