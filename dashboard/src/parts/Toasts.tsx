import { Toast } from "@base-ui/react/toast"
import { X } from "lucide-react"

/** Tells what came of something: `toasts.add({ title, description, type })`; what is `bad` has a mark. */
export const toasts = Toast.createToastManager()

/** A failure in a toast. */
export const tellFailure = (title: string) => (error: unknown): void => {
  const description = error instanceof Error ? error.message : String(error)
  toasts.add({ title, description, type: "bad", timeout: 10_000 })
}

const List = () => {
  const { toasts: shown } = Toast.useToastManager()
  return shown.map((toast) => (
    <Toast.Root
      key={toast.id}
      toast={toast}
      swipeDirection="right"
      className={`mt-2 flex rounded-lg border bg-surface p-3 shadow-high transition-opacity data-ending-style:opacity-0 data-limited:hidden data-starting-style:opacity-0 ${
        toast.type === "bad" ? "border-bad-fill" : "border-line-strong"
      }`}
    >
      <Toast.Content className="min-w-0 flex-1">
        <Toast.Title className="font-medium" />
        <Toast.Description className="text-muted" />
      </Toast.Content>
      <Toast.Close aria-label="Dismiss" className="grid size-6 place-items-center rounded text-muted hover:bg-raised">
        <X size={14} aria-hidden />
      </Toast.Close>
    </Toast.Root>
  ))
}

export const Toasts = () => (
  <Toast.Provider toastManager={toasts} timeout={5_000}>
    <Toast.Portal>
      <Toast.Viewport className="fixed right-4 bottom-4 z-50 w-[min(24rem,calc(100vw-2rem))]">
        <List />
      </Toast.Viewport>
    </Toast.Portal>
  </Toast.Provider>
)
