import { useQuery, useQueryClient } from "@tanstack/react-query"
import { TriangleAlert } from "lucide-react"
import { useEffect, useRef } from "react"
import { type Health, healthQuery, isWell } from "./Health.ts"

const words = (health: Health): readonly [string, string] => {
  if (!health.reachable) return ["The service does not answer.", "What you see is as it was; this page keeps trying."]
  if (health.database !== null) {
    return ["The database is away.", `Deliveries wait and nothing is lost. It says: ${health.database}`]
  }
  return ["The service does not deliver just now.", `Its listener says: ${health.listener}`]
}

/** Says at the top of every page when it is us. */
export const Banner = () => {
  const { data: health } = useQuery(healthQuery)
  const queries = useQueryClient()
  const wasWell = useRef(true)
  const well = health === undefined || isWell(health)
  useEffect(() => {
    if (well && !wasWell.current) void queries.invalidateQueries()
    wasWell.current = well
  }, [well, queries])
  const [what, more] = health === undefined || well ? [] : words(health)
  return (
    <div role="status">
      {what !== undefined && (
        <div className="flex items-start gap-2.5 border-b border-line bg-warn-soft px-4 py-2.5 text-warn sm:px-8">
          <TriangleAlert size={17} aria-hidden className="mt-0.5 shrink-0" />
          <p className="min-w-0 break-words">
            <strong className="font-semibold">{what}</strong> {more}
          </p>
        </div>
      )}
    </div>
  )
}
