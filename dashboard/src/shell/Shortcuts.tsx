import { Keyboard } from "lucide-react"
import { useEffect, useState } from "react"
import { Modal } from "../parts/Modal.tsx"
import { onKey } from "./Keys.ts"

const keys = [
  ["/", "Search"],
  ["j, k", "Next, previous row"],
  ["Enter", "Open the row"],
  ["Escape", "Close"],
  ["?", "This list"]
] as const

/** The list of keys, by `?` or its button. */
export const Shortcuts = () => {
  const [open, setOpen] = useState(false)
  useEffect(() => onKey({ "?": () => setOpen(true) }), [])
  return (
    <>
      <button
        type="button"
        aria-label="Keyboard shortcuts"
        title="Keyboard shortcuts (?)"
        onClick={() => setOpen(true)}
        className="hidden size-9 place-items-center rounded-md text-muted hover:bg-raised hover:text-ink sm:grid"
      >
        <Keyboard size={17} aria-hidden />
      </button>
      <Modal open={open} onClose={() => setOpen(false)} title="Keyboard shortcuts">
        <dl className="grid grid-cols-[6rem_1fr] gap-y-2.5">
          {keys.map(([key, what]) => (
            <div key={key} className="contents">
              <dt>
                <kbd className="rounded border border-line-strong bg-raised px-1.5 py-0.5 font-mono text-[0.9rem]">
                  {key}
                </kbd>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
      </Modal>
    </>
  )
}
