import { useQuery } from "@tanstack/react-query"
import { useEffect, useRef, useState } from "react"
import { percent } from "../parts/Numbers.ts"
import { type Stats, statsQuery } from "./Queries.ts"

const height = 24
const columns = 30

interface Bar {
  readonly good: number
  readonly bad: number
}

/** Two minutes a column: what succeeded, and what did not on top of it. */
const columnsOf = ({ buckets }: Stats): ReadonlyArray<Bar> => {
  const size = Math.ceil(buckets.length / columns)
  return Array.from({ length: Math.ceil(buckets.length / size) }, (_, n) => {
    const part = buckets.slice(n * size, (n + 1) * size)
    return {
      good: part.reduce((sum, bucket) => sum + bucket.success, 0),
      bad: part.reduce((sum, bucket) => sum + bucket.retrying + bucket.failed, 0)
    }
  })
}

const Bars = ({ stats }: { readonly stats: Stats }) => {
  const bars = columnsOf(stats)
  const highest = Math.max(1, ...bars.map(({ bad, good }) => good + bad))
  const { failed, retrying, success } = stats.totals
  const scale = (n: number) => n === 0 ? 0 : Math.max(2, n / highest * height)
  // A path a colour: a list of hundreds of webhooks would be thousands of bars.
  const draw = (bar: (of: Bar) => readonly [from: number, high: number]) =>
    bars.map((of, n) => {
      const [from, high] = bar(of)
      return high === 0 ? "" : `M${n * 4} ${height - from}h3v${-Math.min(high, height - from)}h-3z`
    }).join("")
  const label = success + retrying + failed === 0
    ? "No attempts in the last hour"
    : `Attempts in the last hour: ${success} succeeded, ${retrying} to be retried, ${failed} failed`
  return (
    <div className="flex items-center gap-2.5" title={label}>
      <svg
        role="img"
        aria-label={label}
        viewBox={`0 0 ${bars.length * 4} ${height}`}
        preserveAspectRatio="none"
        className="h-6 w-28 shrink-0"
      >
        <path className="fill-line-strong" d={draw(({ bad, good }) => good + bad === 0 ? [0, 1] : [0, 0])} />
        <path className="fill-good-fill" d={draw(({ good }) => [0, scale(good)])} />
        <path className="fill-bad-fill" d={draw(({ bad, good }) => [scale(good), scale(bad)])} />
      </svg>
      <span aria-hidden className="text-[0.93rem] text-muted tabular-nums">
        {percent(success, success + retrying + failed)}
      </span>
    </div>
  )
}

/** A webhook's last hour; asked for when it comes into view. */
export const Sparkline = ({ id }: { readonly id: string }) => {
  const place = useRef<HTMLDivElement>(null)
  const [seen, setSeen] = useState(false)
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => setSeen(entry?.isIntersecting === true), {
      rootMargin: "200px"
    })
    observer.observe(place.current!)
    return () => observer.disconnect()
  }, [])
  const { data, isError } = useQuery({ ...statsQuery(id, "1h"), enabled: seen })
  return (
    <div ref={place} className="h-6">
      {data !== undefined ? <Bars stats={data} /> : isError
        ? <span className="text-[0.93rem] text-muted">not known</span>
        : <div className="skeleton h-6 w-28" />}
    </div>
  )
}
