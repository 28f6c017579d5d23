import { useQuery } from "@tanstack/react-query"
import { useEffect, useRef, useState } from "react"
import { percent, plural } from "../parts/Numbers.ts"
import { type Stats, statsQuery } from "./Queries.ts"

const height = 24
const columns = 30

/** Two minutes a column: what succeeded, and what did not on top of it. */
const columnsOf = ({ buckets }: Stats) => {
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
        {bars.map(({ bad, good }, n) => {
          const [low, high] = [scale(good), scale(bad)]
          return (
            <g key={n}>
              {good + bad === 0 && <rect x={n * 4} y={height - 1} width="3" height="1" className="fill-line-strong" />}
              <rect x={n * 4} y={height - low} width="3" height={low} className="fill-good-fill" />
              <rect x={n * 4} y={Math.max(0, height - low - high)} width="3" height={high} className="fill-bad-fill" />
            </g>
          )
        })}
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
        ? <span className="text-[0.93rem] text-muted">{plural(0, "attempt")} known</span>
        : <div className="skeleton h-6 w-28" />}
    </div>
  )
}
