import type { ButtonHTMLAttributes, ReactNode } from "react"

type Look = "primary" | "plain" | "quiet" | "danger"

const looks: Readonly<Record<Look, string>> = {
  primary: "bg-accent text-accent-ink border-transparent hover:opacity-90",
  plain: "bg-surface text-ink border-line-strong hover:bg-raised",
  quiet: "bg-transparent text-muted border-transparent hover:bg-raised hover:text-ink",
  danger: "bg-surface text-bad border-line-strong hover:bg-bad-soft"
}

const shape = "inline-flex h-9 shrink-0 items-center justify-center gap-1.5 rounded-[7px] border px-3 font-medium " +
  "whitespace-nowrap transition-colors disabled:opacity-55"

/** The classes of a button, for links that look like one. */
export const buttonClass = (look: Look = "plain") => `${shape} ${looks[look]}`

interface Props extends ButtonHTMLAttributes<HTMLButtonElement> {
  readonly look?: Look
  readonly busy?: boolean
  readonly children: ReactNode
}

export const Button = ({ busy = false, className = "", disabled, look = "plain", type = "button", ...rest }: Props) => (
  <button
    {...rest}
    type={type}
    disabled={disabled === true || busy}
    aria-busy={busy || undefined}
    className={`${buttonClass(look)} ${className}`}
  />
)
