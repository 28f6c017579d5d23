import { type JsonNode, memberOf, nodeOf } from "../api/Json.ts"
import { Json } from "../parts/Json.tsx"

const membersOf = (node: JsonNode | undefined) => node?.kind === "object" ? node.members : []

const Value = ({ node }: { readonly node: JsonNode | undefined }) =>
  node === undefined
    ? <span className="text-muted">–</span>
    : <span className="font-mono text-[0.89rem] break-all whitespace-pre-wrap">{node.text}</span>

/** The old and the new row, a line a column, with what differs marked. */
const Rows = ({ after, before }: { readonly before: JsonNode; readonly after: JsonNode }) => {
  const names = [...new Set([...membersOf(after), ...membersOf(before)].map(([name]) => name))]
  return (
    <div
      className="overflow-x-auto rounded-lg border border-line"
      tabIndex={0}
      role="region"
      aria-label="Old and new row"
    >
      <table className="w-full min-w-[20rem] table-fixed border-collapse text-left">
        <thead>
          <tr className="border-b border-line text-[0.9rem] text-muted">
            <th scope="col" className="w-[28%] px-3 sm:w-[22%] py-1.5 font-normal">Column</th>
            <th scope="col" className="px-3 py-1.5 font-normal">Before</th>
            <th scope="col" className="px-3 py-1.5 font-normal">After</th>
          </tr>
        </thead>
        <tbody>
          {names.map((name) => {
            const [old, fresh] = [memberOf(before, name), memberOf(after, name)]
            const changed = old?.text !== fresh?.text
            return (
              <tr
                key={name}
                className="border-t border-line align-top first:border-t-0"
                data-changed={changed || undefined}
              >
                <th scope="row" className="px-3 py-1.5 font-mono text-[0.89rem] font-normal wrap-anywhere">
                  {name}
                  {changed && <span className="block font-sans font-medium text-accent">changed</span>}
                </th>
                <td className={`px-3 py-1.5 ${changed ? "bg-bad-soft" : ""}`}>
                  <Value node={old} />
                </td>
                <td className={`px-3 py-1.5 ${changed ? "bg-good-soft" : ""}`}>
                  <Value node={fresh} />
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}

/** What was sent: the two rows of an update beside each other, and the bytes. */
export const Changes = ({ payload }: { readonly payload: string }) => {
  const body = nodeOf(payload)
  const [before, after] = [memberOf(body, "old_row"), memberOf(body, "row")]
  if (before?.kind !== "object" || after?.kind !== "object") {
    return (
      <div className="rounded-lg border border-line p-3">
        <Json text={payload} label="Payload" />
      </div>
    )
  }
  return (
    <>
      <Rows before={before} after={after} />
      <details className="rounded-lg border border-line">
        <summary className="cursor-pointer px-3 py-1.5 text-muted">As JSON</summary>
        <div className="border-t border-line p-3">
          <Json text={payload} label="Payload" />
        </div>
      </details>
    </>
  )
}
