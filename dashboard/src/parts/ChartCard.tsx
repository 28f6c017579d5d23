import { lazy, Suspense, useState } from "react"
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

const moment = new Intl.DateTimeFormat(undefined, {
  hourCycle: "h23",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit"
})

/** A chart with its heading and what its colours mean; under the pointer, their values then. */
export const ChartCard = ({ title, ...chart }: Props) => {
  const [at, setAt] = useState<number>()
  const time = at === undefined ? undefined : chart.times[at]
  return (
    <figure className="card min-w-0 p-4">
      <figcaption className="mb-2 flex flex-wrap items-center justify-between gap-x-4 gap-y-1">
        <span>
          <span className="font-medium">{title}</span>
          {time !== undefined && <span className="ml-2 text-muted">{moment.format(time * 1_000)}</span>}
        </span>
        <span className="flex gap-3 text-[0.9rem] text-muted">
          {chart.series.map(({ colour, label, values }) => {
            const value = at === undefined ? undefined : values[at]
            return (
              <span key={label} className="inline-flex items-center gap-1.5 tabular-nums">
                <span aria-hidden className={`size-2.5 rounded-xs ${swatches[colour]}`} />
                {label}
                {typeof value === "number" && <strong className="font-medium text-ink">{chart.format(value)}</strong>}
              </span>
            )
          })}
        </span>
      </figcaption>
      <Suspense fallback={<div className="skeleton h-[150px]" />}>
        <Chart {...chart} onPoint={setAt} />
      </Suspense>
    </figure>
  )
}
