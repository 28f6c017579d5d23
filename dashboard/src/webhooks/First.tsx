import { Link } from "@tanstack/react-router"
import { Plus, Webhook } from "lucide-react"
import { buttonClass } from "../parts/Button.tsx"
import { Empty } from "../parts/States.tsx"
import { ForWriters } from "../shell/ReadOnly.tsx"

const steps = [
  ["Choose a table", "and the changes that matter: inserts, updates of some columns, rows that match a filter."],
  ["Give an address", "that takes a POST. Each delivery is signed, retried, and kept in the log."],
  ["Send a test", "and see the answer before the first change happens."]
] as const

/** What teaches the first webhook. */
export const First = () => (
  <Empty
    title="No webhooks yet"
    icon={<Webhook size={30} />}
    action={
      <ForWriters>
        <Link to="/webhooks/new" className={buttonClass("primary")}>
          <Plus size={16} aria-hidden /> Create the first webhook
        </Link>
      </ForWriters>
    }
  >
    <p>A webhook tells another program about every change of a table, within milliseconds of its commit.</p>
    <ol className="mt-5 grid gap-3 text-left">
      {steps.map(([what, more], n) => (
        <li key={what} className="flex gap-3">
          <span className="grid size-6 shrink-0 place-items-center rounded-full bg-accent-soft font-medium text-accent">
            {n + 1}
          </span>
          <span>
            <strong className="font-medium text-ink">{what}</strong> {more}
          </span>
        </li>
      ))}
    </ol>
  </Empty>
)
