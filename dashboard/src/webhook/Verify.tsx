import { useState } from "react"
import { Copy } from "../parts/Copy.tsx"
import { Segments } from "../parts/Segments.tsx"
import type { Webhook } from "../webhooks/Queries.ts"
import { type SnippetLanguage, snippets } from "./Snippets.ts"

const languages = snippets.map(([id, name]) => [id, name] as const)

/** How the receiver knows that a delivery is genuine. */
export const Verify = ({ webhook }: { readonly webhook: Webhook }) => {
  const [language, setLanguage] = useState<SnippetLanguage>("node")
  const code = snippets.find(([id]) => id === language)![2]
  if (!webhook.has_secret) return null
  return (
    <details className="card overflow-clip">
      <summary className="cursor-pointer px-4 py-3 text-[1.07rem] font-semibold">Verify the signature</summary>
      <div className="grid gap-3 border-t border-line p-4">
        <p className="text-muted">
          <code className="font-mono text-ink">X-Truss-Signature</code>{" "}
          is the HMAC-SHA256 of the body, by this webhook's secret. After a rotation{" "}
          <code className="font-mono text-ink">X-Truss-Signature-Previous</code>{" "}
          is that by the one before. Libraries of Standard Webhooks check{" "}
          <code className="font-mono text-ink">webhook-signature</code>, which covers the time, too.
        </p>
        <div className="flex items-center justify-between gap-3">
          <Segments label="Language" options={languages} value={language} onChange={setLanguage} />
          <Copy text={code} label="Copy the code" />
        </div>
        <pre
          tabIndex={0}
          role="region"
          aria-label="Code"
          className="overflow-x-auto rounded-lg border border-line bg-canvas p-3 font-mono text-[0.89rem] leading-relaxed [tab-size:4]"
        >
          {code}
        </pre>
      </div>
    </details>
  )
}
