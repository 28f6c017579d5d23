import { type ReactNode, useEffect } from "react"

interface Props {
  /** In the title of the window, and the heading unless `heading` is given. */
  readonly title: string
  readonly heading?: ReactNode
  readonly actions?: ReactNode
  readonly children: ReactNode
}

/** A page: its heading with its actions, and what it is about. */
export const Page = ({ actions, children, heading, title }: Props) => {
  useEffect(() => {
    document.title = `${title} · Truss Webhooks`
  }, [title])
  return (
    <div className="mx-auto grid w-full max-w-[80rem] gap-5 px-4 py-5 sm:px-8 sm:py-7">
      <div className="flex flex-wrap items-center justify-between gap-3">
        {heading ?? <h1 className="text-[1.5rem] leading-tight font-semibold tracking-tight">{title}</h1>}
        {actions !== undefined && <div className="flex flex-wrap items-center gap-2">{actions}</div>}
      </div>
      {children}
    </div>
  )
}
