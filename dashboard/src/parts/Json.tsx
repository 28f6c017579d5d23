import { Fragment, memo } from "react"
import { type JsonNode, nodeOf } from "../api/Json.ts"

const Key = ({ name }: { readonly name: string }) => <span className="json-key">{JSON.stringify(name)}</span>

const Node = ({ indent, node }: { readonly node: JsonNode; readonly indent: number }) => {
  if (node.kind !== "object" && node.kind !== "array") return <span className={`json-${node.kind}`}>{node.text}</span>
  const parts = node.kind === "object" ? node.members : node.items.map((item) => [undefined, item] as const)
  const [open, close] = node.kind === "object" ? "{}" : "[]"
  if (parts.length === 0) return <>{open}{close}</>
  return (
    <>
      {open}
      {parts.map(([name, value], n) => (
        <Fragment key={n}>
          {`\n${"  ".repeat(indent + 1)}`}
          {name !== undefined && (
            <>
              <Key name={name} />:
            </>
          )}
          <Node node={value} indent={indent + 1} />
          {n < parts.length - 1 && ","}
        </Fragment>
      ))}
      {`\n${"  ".repeat(indent)}`}
      {close}
    </>
  )
}

/** A large document is shown as it is: a tree of a hundred thousand parts would freeze the page. */
const largest = 200_000

/** JSON, set out in lines; every character of a value is the one that was sent. */
export const Json = memo(({ label, text }: { readonly text: string; readonly label: string }) => (
  <pre
    tabIndex={0}
    role="region"
    aria-label={label}
    className="max-h-[32rem] overflow-auto font-mono text-[0.89rem] leading-relaxed break-words whitespace-pre-wrap"
  >
    {text.length > largest ? text : <Node node={nodeOf(text)} indent={0} />}
  </pre>
))
