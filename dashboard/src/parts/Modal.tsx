import { Dialog } from "@base-ui/react/dialog"
import { X } from "lucide-react"
import type { ReactNode } from "react"

interface Props {
  readonly open: boolean
  readonly onClose: () => void
  readonly title: ReactNode
  readonly children: ReactNode
  /** `side`: a panel at the right, the whole screen on a phone. */
  readonly place?: "middle" | "side"
}

const places = {
  middle: "fixed top-1/2 left-1/2 max-h-[90dvh] w-[min(34rem,calc(100vw-2rem))] -translate-x-1/2 -translate-y-1/2 " +
    "rounded-xl",
  side: "fixed inset-y-0 right-0 w-[min(56rem,100vw)] border-y-0 border-r-0"
}

/** A dialog: keeps the focus within, closes by Escape and gives the focus back. */
export const Modal = ({ children, onClose, open, place = "middle", title }: Props) => (
  <Dialog.Root
    open={open}
    onOpenChange={(next) => !next && onClose()}
  >
    <Dialog.Portal>
      <Dialog.Backdrop className="fixed inset-0 z-30 bg-black/40 transition-opacity data-ending-style:opacity-0 data-starting-style:opacity-0" />
      <Dialog.Popup
        className={`z-40 flex flex-col border border-line bg-surface shadow-high outline-none ${places[place]}`}
      >
        <header className="flex items-center justify-between gap-4 border-b border-line px-5 py-3">
          <Dialog.Title className="min-w-0 text-[1.07rem] font-semibold">{title}</Dialog.Title>
          <Dialog.Close
            aria-label="Close"
            className="-mr-2 grid size-8 place-items-center rounded-md text-muted hover:bg-raised hover:text-ink"
          >
            <X size={18} aria-hidden />
          </Dialog.Close>
        </header>
        <div className="min-h-0 flex-1 overflow-y-auto overscroll-contain p-5" tabIndex={-1}>{children}</div>
      </Dialog.Popup>
    </Dialog.Portal>
  </Dialog.Root>
)
