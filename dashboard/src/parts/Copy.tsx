import { Check, Copy as CopyIcon } from "lucide-react"
import { useEffect, useState } from "react"
import { toasts } from "./Toasts.tsx"

/** Copies a text; says so where the eye is. */
export const Copy = ({ label, text }: { readonly text: string; readonly label: string }) => {
  const [copied, setCopied] = useState(false)
  useEffect(() => {
    if (!copied) return
    const timer = setTimeout(() => setCopied(false), 1_500)
    return () => clearTimeout(timer)
  }, [copied])
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => setCopied(true),
      () => toasts.add({ title: "This browser does not let the page copy", type: "bad" })
    )
  return (
    <button
      type="button"
      onClick={copy}
      aria-label={copied ? "Copied" : label}
      title={label}
      className="inline-grid size-6 shrink-0 place-items-center rounded text-muted hover:bg-raised hover:text-ink"
    >
      {copied ? <Check size={14} aria-hidden className="text-good" /> : <CopyIcon size={14} aria-hidden />}
    </button>
  )
}
