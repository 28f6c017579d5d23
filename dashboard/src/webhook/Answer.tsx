import type { LogEntry } from "./Deliveries.ts"
import { explanationOf } from "./Result.tsx"

/** What came back: the body's first 1024 bytes, or why there is none. */
export const Answer = ({ entry }: { readonly entry: Pick<LogEntry, "error" | "status_code" | "response_body"> }) => {
  const explanation = explanationOf(entry)
  return (
    <div className="grid gap-2">
      {explanation !== undefined && <p>{explanation}</p>}
      {entry.response_body !== null && entry.response_body !== "" && (
        <pre
          tabIndex={0}
          role="region"
          aria-label="Answer"
          className="max-h-60 overflow-auto rounded-lg border border-line p-3 font-mono text-[0.89rem] break-words whitespace-pre-wrap"
        >
          {entry.response_body}
        </pre>
      )}
      {entry.response_body === "" && <p className="text-muted">The answer's body was empty.</p>}
      {entry.response_body === null && explanation === undefined && <p className="text-muted">No body was kept.</p>}
    </div>
  )
}
