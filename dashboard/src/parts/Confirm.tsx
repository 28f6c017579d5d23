import { AlertDialog } from "@base-ui/react/alert-dialog"
import type { ReactNode } from "react"
import { Button } from "./Button.tsx"

interface Props {
  readonly open: boolean
  readonly title: string
  readonly children: ReactNode
  readonly action: string
  readonly busy?: boolean
  readonly onConfirm: () => void
  readonly onClose: () => void
}

/** Asks before something that cannot be undone. */
export const Confirm = ({ action, busy = false, children, onClose, onConfirm, open, title }: Props) => (
  <AlertDialog.Root
    open={open}
    onOpenChange={(next) => !next && onClose()}
  >
    <AlertDialog.Portal>
      <AlertDialog.Backdrop className="fixed inset-0 z-30 bg-black/40" />
      <AlertDialog.Popup className="fixed top-1/2 left-1/2 z-40 grid w-[min(28rem,calc(100vw-2rem))] -translate-x-1/2 -translate-y-1/2 gap-4 rounded-xl border border-line bg-surface p-5 shadow-high">
        <AlertDialog.Title className="text-[1.07rem] font-semibold">{title}</AlertDialog.Title>
        <AlertDialog.Description render={<div />} className="text-muted">{children}</AlertDialog.Description>
        <div className="flex justify-end gap-2">
          <AlertDialog.Close render={<Button>Cancel</Button>} />
          <Button look="danger" busy={busy} onClick={onConfirm}>{action}</Button>
        </div>
      </AlertDialog.Popup>
    </AlertDialog.Portal>
  </AlertDialog.Root>
)
