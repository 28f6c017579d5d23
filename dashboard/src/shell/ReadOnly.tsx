import { Lock } from "lucide-react"
import type { ReactNode } from "react"
import { Page } from "../parts/Page.tsx"
import { Empty } from "../parts/States.tsx"
import { useMayChange } from "./Session.ts"

/** What only those see who may change things. */
export const ForWriters = ({ children }: { readonly children: ReactNode }) => useMayChange() ? children : null

/** A page that is for changing things; says so to who may only look. */
export const WritersPage = ({ children, title }: { readonly title: string; readonly children: ReactNode }) =>
  useMayChange() ? children : (
    <Page title={title}>
      <div className="card">
        <Empty title="You may only look" icon={<Lock size={28} />}>
          You are signed in with a key of the scope{" "}
          <code className="font-mono">read</code>. To change things sign in with one of the scope{" "}
          <code className="font-mono">write</code>.
        </Empty>
      </div>
    </Page>
  )
