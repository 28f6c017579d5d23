import type { ReactNode } from "react"

/** A part of the form with its heading. */
export const Section = ({ children, title }: { readonly title: string; readonly children: ReactNode }) => (
  <section className="card grid gap-5 p-5">
    <h2 className="text-[1.07rem] font-semibold">{title}</h2>
    {children}
  </section>
)
