import { type ReactNode, useId } from "react"

/** A part of the settings under its heading. */
export const Section = ({ action, children, title }: {
  readonly title: string
  readonly action?: ReactNode
  readonly children: ReactNode
}) => {
  const id = useId()
  return (
    <section aria-labelledby={id} className="card min-w-0 overflow-clip">
      <div className="flex min-h-13 flex-wrap items-center justify-between gap-3 border-b border-line px-4 py-2">
        <h2 id={id} className="text-[1.07rem] font-semibold">{title}</h2>
        {action}
      </div>
      {children}
    </section>
  )
}
