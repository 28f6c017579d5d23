import { CircleAlert, Plug } from "lucide-react"
import type { ReactNode } from "react"
import { Problem, reasonOf } from "../api/Problem.ts"
import { Button } from "./Button.tsx"

/** What is shown where there is nothing: why, and what to do. */
export const Empty = (
  { action, children, icon, title }: {
    readonly title: string
    readonly children?: ReactNode
    readonly action?: ReactNode
    readonly icon?: ReactNode
  }
) => (
  <div className="grid justify-items-center gap-2 px-6 py-14 text-center">
    {icon !== undefined && <div className="mb-1 text-muted" aria-hidden>{icon}</div>}
    <h2 className="text-[1.07rem] font-semibold">{title}</h2>
    {children !== undefined && <div className="max-w-[34rem] text-muted">{children}</div>}
    {action !== undefined && <div className="mt-3">{action}</div>}
  </div>
)

/** What is shown where something could not be had, with the reason and a way to try again. */
export const Failed = ({ error, onRetry }: { readonly error: unknown; readonly onRetry?: () => void }) => {
  const offline = error instanceof Problem && (error.status === 0 || error.status === 503)
  const title = error instanceof Problem ? error.title : "Something went wrong on this page"
  return (
    <div role="alert">
      <Empty
        title={title}
        icon={offline ? <Plug size={28} /> : <CircleAlert size={28} />}
        {...(onRetry !== undefined && { action: <Button onClick={onRetry}>Try again</Button> })}
      >
        {reasonOf(error)}
      </Empty>
    </div>
  )
}

/** Lines in the place of what is being loaded. */
export const Loading = ({ lines = 6, what }: { readonly lines?: number; readonly what: string }) => (
  <div role="status" className="grid gap-3 p-5">
    <span className="sr-only">Loading {what}</span>
    {Array.from({ length: lines }, (_, n) => <div key={n} aria-hidden className="skeleton h-6" />)}
  </div>
)
