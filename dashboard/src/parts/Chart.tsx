import { useEffect, useRef } from "react"
import uPlot from "uplot"
import { useTheme } from "../shell/Theme.ts"

/** A line or a kind of bar; `colour` is a token of `styles.css`. */
export interface Series {
  readonly label: string
  readonly colour: string
  readonly values: ReadonlyArray<number | null>
}

interface Props {
  /** What a person who does not see it should know. */
  readonly label: string
  readonly kind: "bars" | "lines"
  /** Seconds since 1970. */
  readonly times: ReadonlyArray<number>
  readonly series: ReadonlyArray<Series>
  readonly format: (value: number) => string
  /** Told which place of `times` the pointer is at. */
  readonly onPoint: (at: number | undefined) => void
}

const clock = new Intl.DateTimeFormat(undefined, { hourCycle: "h23", hour: "2-digit", minute: "2-digit" })
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" })

/** The time of day, and at midnight which day begins. */
const timeText = (seconds: number): string => {
  const date = new Date(seconds * 1_000)
  return date.getHours() + date.getMinutes() === 0 ? day.format(date) : clock.format(date)
}

const height = 150

/** Bars stand on each other: each series is drawn with those below it, the highest first. */
const stacked = (series: ReadonlyArray<Series>): ReadonlyArray<Series> =>
  series.map((one, n) => ({
    ...one,
    // Where it adds nothing, nothing of it is drawn: its edge would show behind what stands before it.
    values: one.values.map((own, at) =>
      own === 0 ? null : series.slice(0, n + 1).reduce((sum, { values }) => sum + (values[at] ?? 0), 0)
    )
  })).toReversed()

/** A value between gaps makes no line, so it is a point. */
const alone: uPlot.Series.Points.Filter = (plot, series) => {
  const values = plot.data[series] ?? []
  const isThere = (at: number) => typeof values[at] === "number"
  return [...values.keys()].filter((at) => isThere(at) && !isThere(at - 1) && !isThere(at + 1))
}

const draw = (element: HTMLElement, { format, kind, onPoint, series, times }: Props) => {
  const style = getComputedStyle(document.documentElement)
  const colour = (token: string) => style.getPropertyValue(`--${token}`).trim()
  const font = "12px system-ui, sans-serif"
  const axis = { stroke: colour("muted"), font, ticks: { show: false } }
  const drawn = kind === "bars" ? stacked(series) : series
  // The last bucket is as wide as the others: what happens just now would be cut off.
  const bucket = (times[1] ?? 0) - (times[0] ?? 0)
  const options: uPlot.Options = {
    width: element.clientWidth,
    height,
    legend: { show: false },
    hooks: { setCursor: [({ cursor }) => onPoint(cursor.idx ?? undefined)] },
    cursor: { drag: { x: false, y: false }, points: { show: kind === "lines" } },
    scales: {
      x: { time: true, range: (_plot, from, to) => [from, to + bucket] },
      y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.1 : 1] }
    },
    axes: [
      { ...axis, size: 28, grid: { show: false }, values: (_plot, splits) => splits.map(timeText) },
      {
        ...axis,
        size: 58,
        grid: { stroke: colour("line"), width: 1 },
        values: (_plot, splits) => splits.map((value) => format(value))
      }
    ],
    series: [
      {},
      ...drawn.map(({ colour: token, label }): uPlot.Series => ({
        label,
        stroke: colour(token),
        width: kind === "bars" ? 0 : 1.6,
        points: kind === "bars" ? { show: false } : { show: true, size: 5, fill: colour(token), filter: alone },
        spanGaps: false,
        ...(kind === "bars" && { fill: colour(token), paths: uPlot.paths.bars!({ size: [0.75, 28], align: 1 }) })
      }))
    ]
  }
  return new uPlot(options, [[...times], ...drawn.map(({ values }) => [...values])] as uPlot.AlignedData, element)
}

const Chart = (props: Props) => {
  const place = useRef<HTMLDivElement>(null)
  const theme = useTheme()
  useEffect(() => {
    const element = place.current!
    const plot = draw(element, props)
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      plot.destroy()
    }
    // oxlint-disable-next-line react-hooks/exhaustive-deps
  }, [props.times, props.series, props.kind, theme])
  return <div ref={place} role="img" aria-label={props.label} className="h-[150px] min-w-0 overflow-hidden" />
}

export default Chart
