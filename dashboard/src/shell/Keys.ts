/** Whether keys are somebody's words rather than commands. */
const isTyping = (target: EventTarget | null) =>
  target instanceof HTMLElement && (target.isContentEditable || /^(?:INPUT|TEXTAREA|SELECT)$/.test(target.tagName))

/** Calls the function of a key that is pressed outside of fields and dialogs; answers with what ends that. */
export const onKey = (keys: Readonly<Record<string, () => void>>): () => void => {
  const listen = (event: KeyboardEvent) => {
    const act = keys[event.key]
    if (act === undefined || event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey) return
    if (isTyping(event.target) || document.querySelector("[role=dialog], [role=alertdialog], [role=menu]") !== null) {
      return
    }
    event.preventDefault()
    act()
  }
  addEventListener("keydown", listen)
  return () => removeEventListener("keydown", listen)
}

/** Moves the focus among the elements that match, as `j` and `k` do. */
export const moveFocus = (selector: string, by: 1 | -1): void => {
  const all = [...document.querySelectorAll<HTMLElement>(selector)]
  const at = all.findIndex((element) => element.contains(document.activeElement))
  all[Math.min(all.length - 1, Math.max(0, at === -1 ? 0 : at + by))]?.focus()
}
