import { Effect } from "effect"
import { readdir, readFile } from "node:fs/promises"

interface Usage {
  readonly parent: number
  /** Of the process, and of those of its children that are gone. */
  readonly ticks: number
}

// CLK_TCK is 100 on every Linux that Node runs on.
const ticksPerSecond = 100

const usageOf = async (pid: number | string): Promise<Usage | undefined> => {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined)
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number)
  if (fields === undefined) return undefined
  const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + (fields[field] ?? 0), 0)
  return { parent: fields[1] ?? 0, ticks }
}

/** CPU seconds that a process and its children have used so far; undefined where there is no `/proc`. */
export const cpuSeconds = (pid: number): Effect.Effect<number | undefined> =>
  Effect.promise(async () => {
    const own = await usageOf(pid)
    if (own === undefined) return undefined
    const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name))
    const all = await Promise.all(pids.map(usageOf))
    const children = all.filter((usage) => usage?.parent === pid)
    return children.reduce((sum, usage) => sum + (usage?.ticks ?? 0), own.ticks) / ticksPerSecond
  })

const memory = (pid: number, field: "VmHWM" | "VmRSS"): Effect.Effect<number | undefined> =>
  Effect.promise(async () => {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "")
    const kilobytes = new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]
    return kilobytes === undefined ? undefined : Number(kilobytes) / 1024
  })

/** The most memory that a process ever held, in MB; undefined where there is no `/proc`. */
export const peakMemory = (pid: number) => memory(pid, "VmHWM")

/** The memory that a process holds now, in MB; undefined where there is no `/proc`. */
export const currentMemory = (pid: number) => memory(pid, "VmRSS")
