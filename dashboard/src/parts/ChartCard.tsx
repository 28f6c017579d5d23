import { lazy, Suspense } from "react"
import type { Series } from "./Chart.tsx"

// uPlot is loaded with the first chart.
const Chart = lazy(() => import("./Chart.tsx"))

interface Props {
  readonly title: string
  readonly label: string
  readonly kind: "bars" | "lines"
  readonly times: ReadonlyArray<number>
  readonly series: ReadonlyArray<Series>
  readonly format: (value: number) => string
}

const swatches: Readonly<Record<string, string>> = {
  "good-fill": "bg-good-fill",
  "warn-fill": "bg-warn-fill",
  "bad-fill": "bg-bad-fill",
  accent: "bg-accent"
}

/** A chart with its heading and what its colours mean. */
export const ChartCard = ({ title, ...chart }: Props) => (
  <figure className="card min-w-0 p-4">
    <figcaption className="mb-2 flex flex-wrap items-center justify-between gap-x-4 gap-y-1">
      <span className="font-medium">{title}</span>
      <span className="flex gap-3 text-[0.9rem] text-muted">
        {chart.series.map(({ colour, label }) => (
          <span key={label} className="inline-flex items-center gap-1.5">
            <span aria-hidden className={`size-2.5 rounded-xs ${swatches[colour]}`} />
            {label}
          </span>
        ))}
      </span>
    </figcaption>
    <Suspense fallback={<div className="skeleton h-[170px]" />}>
      <Chart {...chart} />
    </Suspense>
  </figure>
)
